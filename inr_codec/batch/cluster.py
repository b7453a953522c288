"""Tasks on a Dask cluster: an existing one by address or client, or one that is started on this machine."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from math import ceil
from typing import Any
from uuid import uuid4

from inr_codec.batch.run import Results, Task
from inr_codec.errors import ConfigError, IncompleteArray
from inr_codec.runtime import threads

AHEAD = 2
"""Tasks submitted for each that can run: the next one waits beside its worker already."""
HOPELESS = 3
"""So many tasks that fail before any has succeeded end the run."""


class Cluster:
    """Runs tasks on the workers of a client, at most AHEAD for each thread of theirs at a time.

    With `gpus` a task asks for the resource GPU, of which a worker has one.
    """

    def __init__(self, client: Any, *, gpus: bool = False, threads: int | None = None) -> None:
        self.client, self.gpu = client, gpus
        self.threads = threads or _threads_of(client)

    def run(self, task: Task, target: str, plan_id: str, work: Iterable[list[int]], at_a_time: int) -> Results:
        """Every batch with what became of it, in the order in which they end.

        A batch whose workers died several times, or that raised, is cut in two until it is a single job, which then
        has failed. IncompleteArray where the scheduler goes away.
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
        """How many tasks can run at a time."""
        workers = self.client.scheduler_info(n_workers=-1)["workers"].values()
        slots = sum(worker["resources"].get("GPU", 0) if self.gpu else worker["nthreads"] for worker in workers)
        return max(int(slots), 1)


def _gone(client: Any) -> IncompleteArray:
    return IncompleteArray(
        f"expected the scheduler at {client.scheduler.address if client.scheduler else '?'} to stay, but it is gone: "
        "run the same command again, nothing that is written is lost"
    )


def _threads_of(client: Any) -> int:
    """Threads that a task may use: those of a worker's cores that are left to each of its threads."""
    found = client.run(_share_of_worker)
    return min(found.values(), default=1)


def _share_of_worker(dask_worker: Any) -> int:
    return max(1, threads() // int(dask_worker.state.nthreads))


@contextmanager
def connected(scheduler: str, *, workers: int | None = None, gpus: int = 0) -> Iterator[Cluster]:
    """The cluster at an address, or with "local" one of `workers` processes, or of one process for each of `gpus`."""
    from distributed import Client

    if scheduler != "local":
        try:
            client = Client(scheduler, timeout="20s", set_as_default=False)
        except OSError as error:
            raise ConfigError(f"expected a Dask scheduler at {scheduler!r}, got {error}: check the address") from error
        with client:
            _check_workers(client, gpus)
            yield Cluster(client, gpus=gpus > 0)
        return
    with local_cluster(workers=workers, gpus=gpus) as cluster, Client(cluster, set_as_default=False) as client:
        client.wait_for_workers(gpus or workers or 1)
        yield Cluster(client, gpus=gpus > 0)


def _check_workers(client: Any, gpus: int) -> None:
    """A resource that no worker has would leave tasks pending for ever: say so instead."""
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    if gpus and not any(worker["resources"].get("GPU") for worker in workers):
        raise ConfigError(
            f"expected workers with the resource GPU, got {len(workers)} without: start them with "
            "dask worker ADDRESS --nthreads 1 --resources GPU=1, one for each CUDA_VISIBLE_DEVICES"
        )


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
    """Dask's own choice of a port unless another driver has it."""
    import socket

    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", 8787))
        except OSError:
            return ":0"
    return ":8787"


def processes(scheduler: str | None, workers: int | None, gpus: int) -> int:
    """Processes that share the memory of this machine."""
    return ceil(gpus or workers or 1) if scheduler == "local" else 1
