"""Change weights on known members."""
