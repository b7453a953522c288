"""The command line."""

from inr_codec.cli.parser import main, script

__all__ = ["main", "script"]
