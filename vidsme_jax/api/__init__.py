"""What a user calls from Python: one function a command."""
