"""The layers that ports are composed of."""
