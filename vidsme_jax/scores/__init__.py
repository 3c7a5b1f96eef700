"""Turn next-token distributions into named numbers: nothing fitted, nothing read."""
