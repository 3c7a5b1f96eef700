"""A grid of scores with as few passes over the clips as it needs."""
