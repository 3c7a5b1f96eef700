"""Random clips with captions, drawn by code."""
