"""Convolutional neural networks on encrypted images."""
