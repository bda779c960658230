"""Matrices of numbers, plaintexts and ciphertexts."""
