"""Work on several threads: where it runs, what comes back, and that nesting it cannot lock up."""

import threading

import psutil
import pytest

from inr_codec.errors import ConfigError
from inr_codec.runtime.limits import encoding_bytes, memory
from inr_codec.runtime.threads import begin, few_already, one_of_few, parallel_map


@pytest.mark.parametrize("count", ["1", "2", "5"])
def test_results_come_in_order_however_deep(count: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Maps and begun work inside one another give what loops give, with fewer threads than there is work."""
    monkeypatch.setenv("INR_CODEC_THREADS", count)
    waiting = [begin(lambda k=k: sum(parallel_map(lambda x: begin(lambda: x * k)(), range(9)))) for k in range(8)]
    assert [wait() for wait in waiting] == [36 * k for k in range(8)]


def test_begun_work_runs_beside_its_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends while the caller does something else; with one thread it waits until it is called for."""
    monkeypatch.setenv("INR_CODEC_THREADS", "2")
    done = threading.Event()
    wait = begin(done.set)
    assert done.wait(30)
    wait()
    monkeypatch.setenv("INR_CODEC_THREADS", "1")
    later = threading.Event()
    wait = begin(later.set)
    assert not later.is_set()
    wait()
    assert later.is_set()


def test_an_error_is_raised_where_the_result_is_called_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not before, and as often as it is called for."""
    monkeypatch.setenv("INR_CODEC_THREADS", "2")
    wait = begin(lambda: 1 // 0)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            wait()


@pytest.mark.parametrize(("threads", "chunks", "together"), [("4", 2.5, 2), ("4", 0.1, 1), ("2", 9, 2)])
def test_as_many_chunks_are_encoded_at_a_time_as_threads_and_memory_allow(
    threads: str, chunks: float, together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of four callers only so many come in; each that leaves lets another one in, a single one however large."""
    monkeypatch.setenv("INR_CODEC_THREADS", threads)
    monkeypatch.setenv("INR_CODEC_MEMORY", str(int(chunks * encoding_bytes(10**6))))
    came, leave = threading.Semaphore(0), threading.Semaphore(0)

    def caller() -> None:
        with one_of_few(10**6):
            came.release()
            leave.acquire()

    callers = [threading.Thread(target=caller) for _ in range(4)]
    for each in callers:
        each.start()
    for _ in range(together):
        assert came.acquire(timeout=30)
    assert not came.acquire(timeout=0.5)
    with few_already(), one_of_few(10**9):
        pass
    for _ in range(4 - together):
        leave.release()
        assert came.acquire(timeout=30)
    leave.release(together)
    for each in callers:
        each.join(30)


def test_memory_is_half_of_the_machines_unless_it_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """As psutil tells it; what is no number is refused by name."""
    monkeypatch.delenv("INR_CODEC_MEMORY", raising=False)
    assert memory() == pytest.approx(psutil.virtual_memory().total / 2, rel=0.01)
    monkeypatch.setenv("INR_CODEC_MEMORY", "3GB")
    with pytest.raises(ConfigError, match="INR_CODEC_MEMORY"):
        memory()
