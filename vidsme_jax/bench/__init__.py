"""What scoring costs: measured beside PyTorch, or asked of the compiler."""
