"""PyCrCNN's server: `executer` computes, `main` serves."""
