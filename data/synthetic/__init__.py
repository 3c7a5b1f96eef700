"""Clips that are drawn, not filmed."""
