"""Fitting many networks as batches: which networks share one, how much memory that takes, restarts.

Networks of like widths, from one chunk or from many, share a batch. The voxels that a network learns from depend only
on its task, so its neighbours in the batch change its result by the order of floating-point sums at most.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence

import torch

from inr_codec.engines.restarts import BestState, segments
from inr_codec.engines.task import FitOutcome, FitTask
from inr_codec.engines.torch_engine.cuda_graph import Repeat, Step
from inr_codec.engines.torch_engine.minibatch import Kind, NetworkBatch, batch_of, bytes_of
from inr_codec.networks.shape import NetworkShape

HOST_MEMORY = 256 << 20
"""Bytes that a batch may take where the device's memory is the host's."""
DEVICE_SHARE = 0.5
"""Share of the free memory of a CUDA device that a batch may take."""


def memory(where: torch.device) -> int:
    """Bytes that a batch may take on a device."""
    if where.type == "cuda":
        return int(torch.cuda.mem_get_info(where)[0] * DEVICE_SHARE)
    return HOST_MEMORY


def fit_together(
    tasks: Sequence[FitTask],
    step: Step,
    padded: Callable[[NetworkShape], NetworkShape],
    where: torch.device,
    cancelled: Callable[[], bool],
) -> list[FitOutcome]:
    """Fit every task by repeating `step`; outcomes in the order of the tasks. `padded` gives the widths of a batch."""
    best = [BestState(task) for task in tasks]
    groups: dict[Kind, list[int]] = defaultdict(list)
    for k, task in enumerate(tasks):
        groups[Kind(padded(task.shape), task.w0, task.schedule, batch_of(task))].append(k)
    for kind, members in groups.items():
        waiting = members
        while waiting:
            diverged: list[int] = []
            for part in portions(tasks, waiting, kind, memory(where)):
                diverged += _fit_part(tasks, best, part, kind, step, where, cancelled)
            waiting = [k for k in diverged if best[k].restart()]
    return [state.outcome() for state in best]


def portions(tasks: Sequence[FitTask], members: Sequence[int], kind: Kind, allowed: int) -> list[list[int]]:
    """Members cut into parts that take at most `allowed` bytes of memory each (one network at least)."""
    parts: list[list[int]] = []
    room = 0
    for k in members:
        need = bytes_of(tasks[k], kind)
        if not parts or need > room:
            parts.append([])
            room = allowed
        parts[-1].append(k)
        room -= need
    return parts


def _fit_part(
    tasks: Sequence[FitTask],
    best: list[BestState],
    members: list[int],
    kind: Kind,
    step: Step,
    where: torch.device,
    cancelled: Callable[[], bool],
) -> list[int]:
    """Run the whole schedule for some tasks; return those that diverged."""
    rates = [kind.schedule.rate * 0.5 ** best[k].restarts for k in members]
    batch = NetworkBatch([tasks[k] for k in members], rates, kind, where)
    repeat = Repeat(step, batch)
    healthy = dict.fromkeys(members, True)
    for count in segments(kind.schedule.steps):
        if cancelled():
            raise KeyboardInterrupt
        repeat(count)
        for k, loss, parameters in zip(members, *batch.fetch(count), strict=True):
            healthy[k] = healthy[k] and best[k].update(float(loss), parameters)
        if not any(healthy.values()):
            break
    return [k for k in members if not healthy[k]]
