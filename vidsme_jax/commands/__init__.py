"""What the command line does, one module a command: models and data meet the core here."""
