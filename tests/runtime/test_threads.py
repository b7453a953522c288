"""Work on several threads: where it runs, what comes back, and that nesting it cannot lock up."""

import threading

import pytest

from inr_codec.runtime.threads import begin, parallel_map


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
