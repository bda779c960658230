"""Layers without weights."""
