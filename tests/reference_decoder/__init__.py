"""A second decoder, written from FORMAT.md alone: plain Python and numpy, no code of the package."""
