"""Change a model's weights by training on known members."""
