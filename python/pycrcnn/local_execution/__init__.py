"""Client and server in one process."""
