"""Tasks on a Dask cluster: an existing one by address or client, or one that is started on this machine."""

import os
import socket
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any
from uuid import uuid4

from inr_codec.batch.run import Results
from inr_codec.batch.tasks import PlanReplaced, Task, whole
from inr_codec.errors import ConfigError, IncompleteArray
from inr_codec.runtime.limits import host_memory
from inr_codec.runtime.threads import threads

AHEAD = 2
"""Tasks in flight for each that can run: one runs, the next already waits at its worker."""
WAIT = 600.0
"""Seconds without any worker after which a run on an existing cluster ends: queues take their time."""
PATIENCE = 300.0
"""The same for workers of this machine, which are started again whenever they have ended."""
STARTING = 120
"""Seconds that a process of this machine may take to start."""
DEAD = 10.0
"""Seconds after which a worker that its nanny has not started again is replaced together with the nanny."""
TICK, PAUSE = 1.0, 0.02
"""Seconds between two looks at the workers, and at the tasks while none has ended."""
HOPELESS = 3
"""The run ends when so many tasks have failed before any has succeeded."""


class Cluster:
    """The workers of a Dask client, with at most AHEAD tasks in flight for each of their threads.

    gpus: each task asks for one unit of the resource GPU, and each worker has one. keeper: starts the workers of this
    machine again, where they are ours.
    """

    def __init__(
        self, client: Any, *, gpus: bool = False, memory: float | None = None, keeper: "Keeper | None" = None
    ) -> None:
        self.client, self.gpu, self.keeper = client, gpus, keeper
        known = client.run(_means_of_worker, on_error="ignore")
        hosts = Counter(host for host, _, _ in known.values())
        self.threads = min((count for _, count, _ in known.values()), default=1)
        share = min((least / hosts[host] for host, _, least in known.values()), default=host_memory())
        self.memory = memory or share / 2
        self._looked = self._busy = time.monotonic()

    def run(self, task: Task, target: str, plan_id: str, work: Iterable[list[int]], at_a_time: int) -> Results:
        """Every batch with what became of it, in the order in which they end.

        A batch that raises, or whose workers die several times, is cut in two, down to single jobs; a single job then
        counts as failed. Raises IncompleteArray where the scheduler goes away, and where there have been no workers
        for WAIT seconds (PATIENCE on this machine).
        """
        from distributed import as_completed

        run, waiting = uuid4().hex[:8], iter(work)
        numbers_of: dict[str, list[int]] = {}
        running = as_completed(loop=self.client.loop)
        failures, self._busy = Failures(), time.monotonic()

        def submit(numbers: list[int]) -> None:
            key = f"inr_codec-{task.__name__}-{run}-{numbers[0]}-{len(numbers)}"
            numbers_of[key] = numbers
            resources = {"GPU": 1} if self.gpu else None
            arguments = (task, target, plan_id, numbers, at_a_time)
            running.add(self.client.submit(whole, *arguments, key=key, pure=False, resources=resources))

        try:
            for numbers in islice(waiting, AHEAD * self.slots):
                submit(numbers)
            while running.count():
                for future in self._ended(running):
                    numbers = numbers_of.pop(future.key)
                    if future.status == "finished":
                        failures.succeeded = True
                        yield numbers, future.result()
                    elif future.status == "error":
                        error = failures.count(future.exception())
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

    def _ended(self, running: Any) -> list[Any]:
        """Futures that have ended; none after a pause, in which workers are looked after."""
        ended: list[Any] = running.next_batch(block=False)
        if ended:
            self._busy = time.monotonic()
        else:
            time.sleep(PAUSE)
            if time.monotonic() - self._looked > TICK:
                self._look_after()
        return ended

    def _look_after(self) -> None:
        """Start workers again; IncompleteArray where there have been none for too long."""
        self._looked = time.monotonic()
        if self.keeper is not None:
            self.keeper.look_after()
        if self.client.nthreads():
            self._busy = time.monotonic()
        patience = WAIT if self.keeper is None else PATIENCE
        if time.monotonic() - self._busy > patience:
            raise IncompleteArray(
                f"expected workers, there have been none for {patience:.0f} s: start some and run the same command "
                "again, nothing that is written is lost"
            )

    @property
    def slots(self) -> int:
        """Tasks that run at a time: one for each worker thread, or for each GPU worker."""
        known = self.client.nthreads().values()
        return max(1, len(known) if self.gpu else sum(known))


@dataclass
class Failures:
    """Tasks that have failed, and whether any has not."""

    failed: int = 0
    succeeded: bool = False

    def count(self, error: Exception) -> Exception:
        """Count one, which is given back; raised where it means that nothing more can come of the run."""
        from distributed.scheduler import KilledWorker

        self.failed += 1
        if isinstance(error, PlanReplaced):
            raise error
        if not self.succeeded and self.failed >= HOPELESS:
            if isinstance(error, KilledWorker):
                raise IncompleteArray(
                    f"expected workers to survive their tasks, the first {self.failed} were killed with them: give "
                    "them more memory (or --memory less) and run the same command again"
                ) from error
            raise error
        return error


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
    with local_cluster(workers=workers, gpus=gpus) as keeper, Client(keeper.cluster, set_as_default=False) as client:
        keeper.wait(client, gpus or workers or 1)
        yield Cluster(client, gpus=gpus > 0, memory=memory, keeper=keeper)


class Keeper:
    """The workers of a cluster of this machine: those that have ended are started again.

    Dask alone gives a worker up that has been away for `distributed.deploy.lost-worker-timeout`, and one that ends
    while it starts.
    """

    def __init__(self, cluster: Any, count: int) -> None:
        self.cluster, self.count = cluster, count
        self._dead: dict[Any, float] = {}

    def look_after(self) -> None:
        """Replace what has ended. Called every second or so."""
        from distributed.core import Status

        now, workers = time.monotonic(), self.cluster.workers
        for name, nanny in list(workers.items()):
            if nanny.is_alive():
                self._dead.pop(name, None)
            elif nanny.status in (Status.closed, Status.failed):
                workers.pop(name, None)
            elif now - self._dead.setdefault(name, now) > DEAD:
                self._dead.pop(name)
                workers.pop(name, None)
                self.cluster.loop.add_callback(nanny.close)
        if len(workers) < self.count:
            self.cluster.scale(self.count)

    def wait(self, client: Any, count: int) -> None:
        """Wait for workers to come; IncompleteArray where there is none after PATIENCE seconds."""
        end = time.monotonic() + PATIENCE
        while (came := len(client.nthreads())) < count and time.monotonic() < end:
            self.look_after()
            time.sleep(TICK / 4)
        if not came:
            raise IncompleteArray(
                f"expected workers on this machine, none has started in {PATIENCE:.0f} s: see what they say, and run "
                "the same command again"
            )


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
def local_cluster(*, workers: int | None = None, gpus: int = 0) -> Iterator[Keeper]:
    """Processes of this machine that share its cores: `workers` of them, or one for each of the first `gpus` GPUs.

    GPU workers have the resource GPU: 1 and see one device. dask-cuda starts them where it is installed.
    """
    import dask
    from distributed import LocalCluster

    count = gpus or workers or threads()
    share = {"INR_CODEC_THREADS": str(max(1, threads() // count)), "OMP_NUM_THREADS": "1"}
    # the keeper decides when a worker is lost
    with dask.config.set({"distributed.deploy.lost-worker-timeout": "1 day"}):
        if gpus:
            cluster = _gpu_cluster(gpus, share)
        else:
            cluster = LocalCluster(
                n_workers=0,
                threads_per_worker=1,
                memory_limit=None,
                env=share,
                dashboard_address=_dashboard(),
                death_timeout=STARTING,
            )
        with cluster:
            cluster.scale(count)
            yield Keeper(cluster, count)


def _gpu_cluster(gpus: int, share: dict[str, str]) -> Any:
    from distributed import Nanny, Scheduler, SpecCluster

    devices = (os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(gpus)))).split(",")
    if len(devices) < gpus:
        raise ConfigError(f"expected {gpus} GPUs, got CUDA_VISIBLE_DEVICES={','.join(devices)!r}: ask for fewer")
    share = share | {"INR_CODEC_ENGINE": os.environ.get("INR_CODEC_ENGINE", "torch")}
    try:
        from dask_cuda import LocalCUDACluster

        return LocalCUDACluster(
            CUDA_VISIBLE_DEVICES=devices[:gpus], threads_per_worker=1, resources={"GPU": 1}, env=share
        )
    except ImportError:
        options: dict[str, Any] = {"nthreads": 1, "memory_limit": None, "resources": {"GPU": 1}}
        options |= {"death_timeout": STARTING}
        scheduler = {"dashboard": True, "dashboard_address": _dashboard(), "host": "127.0.0.1"}
        cluster = SpecCluster(workers={}, scheduler={"cls": Scheduler, "options": scheduler})
        for device in devices[:gpus]:
            env = share | {"CUDA_VISIBLE_DEVICES": device}
            cluster.worker_spec[f"gpu-{device}"] = {"cls": Nanny, "options": options | {"env": env}}
        return cluster


def _dashboard() -> str:
    """Address of the dashboard: Dask's usual port, or any free one where that is taken."""
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", 8787))
        except OSError:
            return ":0"
    return ":8787"
