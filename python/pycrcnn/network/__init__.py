"""PyCrCNN's client and server by their old names."""
