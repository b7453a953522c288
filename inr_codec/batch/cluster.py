"""Tasks on a Dask cluster: an existing one by address or client, or one that is started on this machine."""

import os
import socket
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any
from uuid import uuid4

from inr_codec.batch.run import Results, host_memory
from inr_codec.batch.tasks import Task, whole
from inr_codec.errors import ConfigError, IncompleteArray
from inr_codec.runtime.threads import threads

AHEAD = 2
"""Tasks in flight for each that can run: one runs, the next already waits at its worker."""
WAIT = 600
"""Seconds to wait for the first worker of a cluster."""
HOPELESS = 3
"""The run ends when so many tasks have failed before any has succeeded."""


class Cluster:
    """The workers of a Dask client, with at most AHEAD tasks in flight for each of their threads.

    gpus: each task asks for one unit of the resource GPU, and each worker has one.
    """

    def __init__(self, client: Any, *, gpus: bool = False, memory: float | None = None) -> None:
        self.client, self.gpu = client, gpus
        known = client.run(_means_of_worker)
        hosts = Counter(host for host, _, _ in known.values())
        self.threads = min((count for _, count, _ in known.values()), default=1)
        share = min((least / hosts[host] for host, _, least in known.values()), default=host_memory())
        self.memory = memory or share / 2

    def run(self, task: Task, target: str, plan_id: str, work: Iterable[list[int]], at_a_time: int) -> Results:
        """Every batch with what became of it, in the order in which they end.

        A batch that raises, or whose workers die several times, is cut in two, down to single jobs; a single job then
        counts as failed. Raises IncompleteArray where the scheduler goes away.
        """
        from distributed import as_completed

        run, waiting = uuid4().hex[:8], iter(work)
        numbers_of: dict[str, list[int]] = {}
        running = as_completed(loop=self.client.loop)
        succeeded, failures = False, 0

        def submit(numbers: list[int]) -> None:
            key = f"inr_codec-{task.__name__}-{run}-{numbers[0]}-{len(numbers)}"
            numbers_of[key] = numbers
            running.add(
                self.client.submit(
                    whole,
                    task,
                    target,
                    plan_id,
                    numbers,
                    at_a_time,
                    key=key,
                    pure=False,
                    resources={"GPU": 1} if self.gpu else None,
                )
            )

        try:
            for numbers in islice(waiting, AHEAD * self.slots):
                submit(numbers)
            for future in running:
                numbers = numbers_of.pop(future.key)
                if future.status == "finished":
                    succeeded = True
                    yield numbers, future.result()
                elif future.status == "error":
                    failures += 1
                    error = future.exception()
                    if not succeeded and failures >= HOPELESS:
                        raise error
                    if len(numbers) > 1:
                        half = len(numbers) // 2
                        submit(numbers[:half])
                        submit(numbers[half:])
                    else:
                        yield numbers, error
                else:
                    raise _gone(self.client)
                future.release()
                for following in islice(waiting, max(AHEAD * self.slots - len(numbers_of), 0)):
                    submit(following)
        except OSError as error:  # distributed's CommClosedError is one
            raise _gone(self.client) from error
        finally:
            running.clear()

    @property
    def slots(self) -> int:
        """Tasks that run at a time: one for each worker thread, or for each GPU worker."""
        known = self.client.nthreads().values()
        return max(1, len(known) if self.gpu else sum(known))


def _gone(client: Any) -> IncompleteArray:
    return IncompleteArray(
        f"expected the scheduler at {client.scheduler.address if client.scheduler else '?'} to stay, but it is gone: "
        "run the same command again, nothing that is written is lost"
    )


def _means_of_worker(dask_worker: Any) -> tuple[str, int, float]:
    """Host of a worker, threads and bytes of memory for each task that it runs at a time."""
    tasks = max(1, int(dask_worker.state.nthreads))
    limit = getattr(dask_worker.memory_manager, "memory_limit", None)
    host = socket.gethostname()
    # a limit is the worker's own, without one the host's memory is shared by all its workers
    return (
        (host if limit is None else dask_worker.address),
        max(1, threads() // tasks),
        (limit or host_memory()) / tasks,
    )


@contextmanager
def connected(
    scheduler: str, *, workers: int | None = None, gpus: int = 0, memory: float | None = None
) -> Iterator[Cluster]:
    """The cluster at an address; for "local" a new one of `workers` processes, or of one process for each GPU.

    Raises ConfigError where distributed is not installed, or nobody answers.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise ConfigError(
            f"expected the module distributed for --scheduler, got {error}: install it with: pip install "
            "'dask[distributed]'"
        ) from error

    if scheduler != "local":
        try:
            client = Client(scheduler, timeout="20s", set_as_default=False)
        except OSError as error:
            raise ConfigError(f"expected a Dask scheduler at {scheduler!r}, got {error}: check the address") from error
        with client:
            _check_workers(client, gpus)
            yield Cluster(client, gpus=gpus > 0, memory=memory)
        return
    with local_cluster(workers=workers, gpus=gpus) as cluster, Client(cluster, set_as_default=False) as client:
        client.wait_for_workers(gpus or workers or 1)
        yield Cluster(client, gpus=gpus > 0, memory=memory)


def _check_workers(client: Any, gpus: int) -> None:
    """Wait for a first worker; ConfigError where none has the GPU that is asked for, as tasks would wait for ever."""
    client.wait_for_workers(1, timeout=WAIT)
    if gpus and not client.run_on_scheduler(_gpus_of_scheduler):
        raise ConfigError(
            "expected workers with the resource GPU, got none: start them with dask worker ADDRESS --nthreads 1 "
            "--resources GPU=1, one for each CUDA_VISIBLE_DEVICES"
        )


def _gpus_of_scheduler(dask_scheduler: Any) -> int:
    return sum(bool(worker.resources.get("GPU")) for worker in dask_scheduler.workers.values())


@contextmanager
def local_cluster(*, workers: int | None = None, gpus: int = 0) -> Iterator[Any]:
    """Processes of this machine that share its cores: `workers` of them, or one for each of the first `gpus` GPUs.

    GPU workers have the resource GPU: 1 and see one device. dask-cuda starts them where it is installed.
    """
    from distributed import LocalCluster, Nanny, Scheduler, SpecCluster

    count = gpus or workers or threads()
    share = {"INR_CODEC_THREADS": str(max(1, threads() // count)), "OMP_NUM_THREADS": "1"}
    if not gpus:
        cluster: Any = LocalCluster(
            n_workers=count, threads_per_worker=1, memory_limit=None, env=share, dashboard_address=_dashboard()
        )
    else:
        devices = (os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(gpus)))).split(",")
        if len(devices) < gpus:
            raise ConfigError(f"expected {gpus} GPUs, got CUDA_VISIBLE_DEVICES={','.join(devices)!r}: ask for fewer")
        share |= {"INR_CODEC_ENGINE": os.environ.get("INR_CODEC_ENGINE", "torch")}
        try:
            from dask_cuda import LocalCUDACluster

            cluster = LocalCUDACluster(
                CUDA_VISIBLE_DEVICES=devices[:gpus], threads_per_worker=1, resources={"GPU": 1}, env=share
            )
        except ImportError:
            spec = {
                f"gpu-{device}": {
                    "cls": Nanny,
                    "options": {
                        "nthreads": 1,
                        "memory_limit": None,
                        "resources": {"GPU": 1},
                        "env": share | {"CUDA_VISIBLE_DEVICES": device},
                    },
                }
                for device in devices[:gpus]
            }
            options = {"dashboard": True, "dashboard_address": _dashboard(), "host": "127.0.0.1"}
            cluster = SpecCluster(workers=spec, scheduler={"cls": Scheduler, "options": options})
    with cluster:
        yield cluster


def _dashboard() -> str:
    """Address of the dashboard: Dask's usual port, or any free one where that is taken."""
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", 8787))
        except OSError:
            return ":0"
    return ":8787"
