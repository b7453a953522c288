"""The filter layer (FORMAT.md, section 7): a tiny network that looks at local differences."""
