"""`python -m inr_codec`: the command line."""

from inr_codec.cli import script

if __name__ == "__main__":
    script()
