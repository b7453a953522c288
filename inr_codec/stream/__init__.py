"""The frame of a stream, and bytes in and out."""
