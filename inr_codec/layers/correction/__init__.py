"""The correction layer (FORMAT.md, section 10): every voxel within a bound, or exact."""
