"""Tests are a package, so that a child process finds by name what a test hands to it."""
