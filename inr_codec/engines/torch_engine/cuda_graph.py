"""A step made many times: a plain loop, or on CUDA a captured graph that is replayed without Python."""

from collections.abc import Callable

import torch

from inr_codec.engines.torch_engine.minibatch import NetworkBatch

UNROLLED = 16
"""Steps in one captured graph; replaying costs the host some microseconds a graph."""

Step = Callable[[NetworkBatch], None]


class Repeat:
    """`step(batch)`, made as often as asked for.

    A step may only write to `batch.changing()` and to memory that it allocates, and may not read back to the host.
    """

    def __init__(self, step: Step, batch: NetworkBatch) -> None:
        self.step = step
        self.batch = batch
        self.device = torch.cuda.device_of(batch.parameters)  # type: ignore[no-untyped-call]
        self.graphs: list[tuple[int, torch.cuda.CUDAGraph]] = []
        if batch.where.type == "cuda":
            self.capture()

    def capture(self) -> None:
        """Capture UNROLLED steps, and one; kernels are compiled and tried on a twin of the batch before."""
        with self.device:
            self._capture()

    def _capture(self) -> None:
        aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            twin = self.batch.like()
            for _ in range(3):
                self.step(twin)
        torch.cuda.current_stream().wait_stream(aside)
        pool = torch.cuda.graph_pool_handle()
        for count in (UNROLLED, 1):
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
                for _ in range(count):
                    self.step(self.batch)
            self.graphs.append((count, graph))

    def __call__(self, steps: int) -> None:
        """Make `steps` steps."""
        with self.device:
            for count, graph in self.graphs:
                while steps >= count:
                    graph.replay()
                    steps -= count
            for _ in range(steps):
                self.step(self.batch)
