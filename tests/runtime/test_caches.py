"""What a process remembers: one limit in bytes for all of it, one call that forgets it."""

import numpy as np
import pytest
from samples import FAST, field

from inr_codec import INRCodec, clear_caches, decode
from inr_codec.errors import ConfigError
from inr_codec.runtime.caches import cached_bytes, remembered


@remembered(len)
def zeros(name: str, n: int, told: tuple[int, ...] = ()) -> bytes:
    """n bytes, different objects from call to call."""
    return bytes(bytearray(n))


def test_results_are_remembered_within_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same object comes back until others need its bytes; the one used longest ago goes first."""
    clear_caches()
    monkeypatch.setenv("INR_CODEC_CACHE", "250")
    first, second = zeros("a", 100), zeros("b", 100)
    assert zeros("a", 100) is first and zeros("b", 100) is second and cached_bytes() == 200
    assert zeros("a", 100) is first
    zeros("c", 100)
    assert zeros("a", 100) is first and zeros("b", 100) is not second
    assert zeros("d", 251) is not zeros("d", 251)
    assert cached_bytes() <= 250


@pytest.mark.parametrize("options", [{"layers": "network"}, {}, {"max_error": 3.0}], ids=str)
def test_planes_of_a_chunk_unpack_it_once_and_clear_caches_forgets(options: dict[str, object]) -> None:
    """A second plane adds nothing to what is remembered; after clear_caches nothing is, and planes are the same."""
    target = {} if "max_error" in options else {"ratio": 10}
    fast = {"effort": "fast"} if "max_error" in options else FAST
    data = INRCodec(**target, **options, **fast).encode(field(noise=0.2))  # type: ignore[arg-type]
    clear_caches()
    planes = [decode(data, selection=np.s_[3])]
    known = cached_bytes()
    planes.append(decode(data, selection=np.s_[3]))
    assert 0 < known == cached_bytes()
    clear_caches()
    assert cached_bytes() == 0
    planes.append(decode(data, selection=np.s_[3]))
    assert all(np.array_equal(plane, planes[0]) for plane in planes)


@pytest.mark.parametrize("text", ["", "-1", "1e6", "²", "all"])
def test_a_limit_that_is_no_number_is_told(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One ConfigError that names the variable."""
    clear_caches()
    monkeypatch.setenv("INR_CODEC_CACHE", text)
    with pytest.raises(ConfigError, match="INR_CODEC_CACHE"):
        zeros("e", 1)
