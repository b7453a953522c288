"""What a network is, without saying who computes it: shapes, starts, positions."""
