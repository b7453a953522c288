"""Volumes from and to files, always as arrays with the slowest axis first, (z, y, x), with what belongs to them.

`table` is the one list of formats, `record` what belongs to a volume, and each format has a module of its own.
docs/FORMATS.md says what goes where.
"""

from inr_codec.io.finished import finished
from inr_codec.io.format import Volume
from inr_codec.io.record import Record
from inr_codec.io.volumes import ATTRIBUTES, PROVENANCE, SUFFIXES, create, load

__all__ = ["ATTRIBUTES", "PROVENANCE", "SUFFIXES", "Record", "Volume", "create", "finished", "load"]
