"""Encoded layers from PyTorch networks."""
