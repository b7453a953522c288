"""One thread per kernel, and hypothesis without a clock: tests share two cores with one another."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NUMBA_NUM_THREADS", "1")

from hypothesis import HealthCheck, settings

settings.register_profile("inr_codec", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("inr_codec")
