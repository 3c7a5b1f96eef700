"""Show a result as page, Markdown, figures, CSV and terminal text."""
