"""Fitting networks to blocks: one seam, several engines.

`fused` runs numba kernels, one network per thread, and is the default on a CPU; `torch` runs anywhere torch does.
"""

from collections.abc import Sequence

from inr_codec.errors import ConfigError
from inr_codec.fit.task import FitOutcome, FitTask, Schedule
from inr_codec.runtime import cancelled, parallel_map

__all__ = ["FitOutcome", "FitTask", "Schedule", "fit_blocks"]


def fit_blocks(tasks: Sequence[FitTask], engine: str = "fused") -> list[FitOutcome]:
    """Fit every task; outcomes in the order of the tasks. The same for an engine, whatever the number of threads."""
    if engine == "fused":
        from inr_codec.fit import fused

        return parallel_map(lambda task: fused.run(task, cancelled), tasks)
    if engine == "torch":
        from inr_codec.fit import torch_engine

        return torch_engine.run_all(tasks, cancelled)
    raise ConfigError(f"expected engine 'fused' or 'torch', got {engine!r}: choose one of them")
