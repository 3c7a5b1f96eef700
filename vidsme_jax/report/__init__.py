"""A result as page, Markdown, figures, CSV and terminal text; measures nothing new."""
