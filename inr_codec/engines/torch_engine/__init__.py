"""The engine in torch: many networks as one batch, on any device."""
