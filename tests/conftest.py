"""One thread per kernel, and hypothesis without a clock: tests share two cores with one another."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NUMBA_NUM_THREADS", "1")

settings.register_profile("inr_codec", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("inr_codec")


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Kernels are compiled before several workers begin: each of them would compile all."""
    if getattr(session.config.option, "numprocesses", None) and not hasattr(session.config, "workerinput"):
        script = str(Path(__file__).parent / "support" / "warm.py")
        halves = [subprocess.Popen([sys.executable, "-W", "ignore", script, half]) for half in "01"]
        for half in halves:
            half.wait()
