"""Large arrays: planned, encoded by many processes (on a Dask cluster or without one), restartable, accounted for."""

from inr_codec.batch.api import alone, encode, encode_array, finish, make_plan, measure, prepare
from inr_codec.batch.plan import Plan
from inr_codec.batch.run import Here

__all__ = ["Here", "Plan", "alone", "encode", "encode_array", "finish", "make_plan", "measure", "prepare"]
