"""Finding encryption parameters: errors and noise, layer by layer."""
