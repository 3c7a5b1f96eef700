"""From words to token ids around a video."""
