"""Measurements of inr_codec: run them as modules from the root of the checkout, `python -m benchmarks.run`."""
