"""PyCrCNN's second generation: one interface for all schemes."""
