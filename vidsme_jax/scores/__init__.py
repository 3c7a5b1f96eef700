"""Turn next-token distributions into named numbers, without fitting or reading files."""
