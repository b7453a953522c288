"""triton_engine."""
