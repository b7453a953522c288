"""Numbers as bits: a range coder, mixing of its probabilities, integers."""
