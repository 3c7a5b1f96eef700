"""Manifests, frames, preprocessing and batches: from files to arrays on the host."""
