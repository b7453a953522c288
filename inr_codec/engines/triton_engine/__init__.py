"""The engine in Triton: fused kernels for a GPU."""
