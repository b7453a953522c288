"""torch_engine."""
