"""deblocking."""
