"""Whole arrays, chunk by chunk, on many workers."""
