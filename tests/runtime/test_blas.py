"""BLAS on one thread: while the package encodes, and no longer."""

import threading

import numpy as np
import pytest
from samples import field
from threadpoolctl import ThreadpoolController

from inr_codec import INRCodec
from inr_codec.runtime.blas import one_blas_thread


def blas_threads() -> list[int]:
    """Of every BLAS library of the process."""
    np.ones((2, 2)) @ np.ones((2, 2))
    return [library.num_threads for library in ThreadpoolController().select(user_api="blas").lib_controllers]


def fail(caller: threading.Thread, inside: threading.Event) -> None:
    """Leave with an error after another caller has come in."""
    with one_blas_thread():
        caller.start()
        assert inside.wait(30)
        raise ZeroDivisionError


def test_blas_has_one_thread_as_long_as_anybody_is_inside() -> None:
    """Of two callers the first leaves by an error: one thread until the last has left, then the user's number again."""
    with ThreadpoolController().limit(limits=2, user_api="blas"):
        before = blas_threads()
        assert before
        inside, leave = threading.Event(), threading.Event()

        def other() -> None:
            with one_blas_thread():
                inside.set()
                leave.wait(30)

        caller = threading.Thread(target=other)
        with pytest.raises(ZeroDivisionError):
            fail(caller, inside)
        assert set(blas_threads()) == {1}
        leave.set()
        caller.join()
        assert blas_threads() == before


@pytest.mark.slow
@pytest.mark.parametrize("ours", ["1", "2"])
def test_bytes_do_not_depend_on_the_threads_of_blas(ours: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A chunk with a filter has the same stream whatever BLAS was set to, which is left as it was."""
    monkeypatch.setenv("INR_CODEC_THREADS", ours)
    codec, values, streams = INRCodec(ratio=100, effort="fast", steps=300), field((32, 64, 64), "u2", noise=0.02), []
    for theirs in (1, 2):
        with ThreadpoolController().limit(limits=theirs, user_api="blas"):
            before = blas_threads()
            streams.append(codec.encode(values))
            assert blas_threads() == before
    assert streams[0] == streams[1]
