"""Fits of several threads are joined: one call when all wait, nobody waits for ever, errors stay with their owner."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from inr_codec.engines.joint_calls import Crowd, fit_joined


@pytest.mark.parametrize(("chunks", "threads"), [(1, 4), (4, 4), (9, 3), (3, 8)])
def test_calls_of_all_threads_become_one(chunks: int, threads: int) -> None:
    """Each thread gets its own results, and a call holds the tasks of every thread that still has a chunk."""
    for _ in range(2):  # the second crowd meets as the first did: a crowd leaves nobody behind
        calls: list[list[Any]] = []

        def engine(tasks: Any, calls: list[list[Any]] = calls) -> Any:
            calls.append(list(tasks))
            return [2 * task for task in tasks]

        crowd = Crowd(chunks, threads)

        def encode(k: int, crowd: Crowd = crowd, engine: Any = engine) -> list[Any]:
            with crowd.turn():
                return [*fit_joined([k, k + 100], engine), *fit_joined([k + 1000], engine)]

        with ThreadPoolExecutor(threads) as pool:
            results = list(pool.map(encode, range(chunks)))
        assert results == [[2 * k, 2 * k + 200, 2 * k + 2000] for k in range(chunks)]
        assert sorted(task for call in calls for task in call) == sorted(
            [t for k in range(chunks) for t in (k, k + 100, k + 1000)]
        )
        assert len(calls) == 2 * -(-chunks // threads)


def test_an_error_stays_with_its_chunk() -> None:
    """Where a joined fit fails, its calls are fitted one by one: only the guilty one raises."""

    def engine(tasks: Any) -> Any:
        if 1 in tasks:
            raise RuntimeError("diverged")
        return list(tasks)

    crowd = Crowd(3, 3)

    def encode(k: int) -> Any:
        with crowd.turn():
            return fit_joined([k], engine)

    with ThreadPoolExecutor(3) as pool:
        futures = [pool.submit(encode, k) for k in range(3)]
    assert [futures[0].result(), futures[2].result()] == [[0], [2]]
    with pytest.raises(RuntimeError, match="diverged"):
        futures[1].result()


def test_a_chunk_without_networks_holds_nobody_up() -> None:
    """A thread that never fits leaves, and those that wait for it go on."""
    crowd, gate = Crowd(2, 2), threading.Event()

    def idle() -> None:
        with crowd.turn():
            gate.wait()

    def fit() -> Any:
        with crowd.turn():
            gate.set()
            return fit_joined([7], list)

    with ThreadPoolExecutor(2) as pool:
        pool.submit(idle)
        assert pool.submit(fit).result(timeout=60) == [7]


def test_strangers_are_served_at_once() -> None:
    """A thread outside of a crowd waits for nobody."""
    crowd = Crowd(1, 1)
    assert fit_joined([1, 2], list) == [1, 2]
    with crowd.turn():
        assert fit_joined([3], list) == [3]
