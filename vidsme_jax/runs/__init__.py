"""Ask a model about clips: from a request to a finished run directory."""
