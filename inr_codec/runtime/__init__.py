"""This process: its threads and its compiled kernels."""
