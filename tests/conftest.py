"""One thread per kernel, and hypothesis without a clock: tests share two cores with one another."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NUMBA_NUM_THREADS", "1")

from hypothesis import HealthCheck, settings

settings.register_profile("inr_codec", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("inr_codec")


def pytest_make_parametrize_id(val):
    """Names of cases that are the same in every process: no addresses of objects."""
    return type(val).__name__ if " at 0x" in repr(val) else None
