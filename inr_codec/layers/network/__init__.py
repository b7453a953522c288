"""The network layer (FORMAT.md, section 4): blocks of a chunk as small networks."""
