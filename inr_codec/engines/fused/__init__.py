"""The default engine: fitting and evaluating in numba kernels, tile by tile."""
