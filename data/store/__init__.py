"""Prepared clips on disk."""
