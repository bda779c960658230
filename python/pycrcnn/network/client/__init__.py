"""PyCrCNN's client of a remote server."""
