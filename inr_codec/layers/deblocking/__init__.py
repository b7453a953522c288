"""The deblocking layer (FORMAT.md, section 5): a filter across the seams between blocks."""
