"""This process: its threads, its compiled kernels, what it remembers."""
