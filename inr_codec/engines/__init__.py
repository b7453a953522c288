"""Fitting networks to blocks: one call, several engines.

`fused` runs numba kernels, one network per thread, and is the default; `torch` runs anywhere torch does, many networks
as one batch; `triton` runs fused kernels on a GPU.
"""

import logging
from collections.abc import Sequence

from inr_codec.engines.joint_calls import fit_joined
from inr_codec.engines.task import FitOutcome, FitTask, Schedule
from inr_codec.errors import ConfigError
from inr_codec.runtime.threads import cancelled, parallel_map
from inr_codec.runtime.threads import engine as engine_of_process

__all__ = ["FitOutcome", "FitTask", "Schedule", "fit_blocks"]

LOG = logging.getLogger(__name__)
"""Tells, at level DEBUG, how long networks are fitted (`iterations` of a record: those of each)."""


def fit_blocks(tasks: Sequence[FitTask], engine: str | None = None) -> list[FitOutcome]:
    """Fit every task; outcomes in the order of the tasks. The same for an engine, whatever the number of threads.

    engine: None takes the one that `INR_CODEC_ENGINE` names. Raises ConfigError for a name that none has.
    """
    engine = engine or engine_of_process()
    iterations = [task.schedule.steps for task in tasks]
    LOG.debug("fitting %d networks with %s", len(tasks), engine, extra={"iterations": iterations})
    if engine == "fused":
        from inr_codec.engines.fused import fit as fused

        return parallel_map(lambda task: fused.run(task, cancelled), tasks)
    if engine == "torch":
        from inr_codec.engines.torch_engine import fit as torch_engine

        return fit_joined(tasks, torch_engine.run_all)
    if engine == "triton":
        try:
            from inr_codec.engines.triton_engine import fit as triton_engine
        except ImportError as error:
            raise ConfigError(f"expected triton to be installed, got {str(error)!r}: pip install triton") from None

        return fit_joined(tasks, triton_engine.run_all)
    raise ConfigError(f"expected engine 'fused', 'torch' or 'triton', got {engine!r}: choose one of them")
