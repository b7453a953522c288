"""Where errors count more: rules, arrays, and what they do to a chunk through all layers."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import FAST, field
from skimage.filters import threshold_otsu

from inr_codec import INRCodec, INRSerializer
from inr_codec.chunk.view import View
from inr_codec.chunk.voxel_weights import REGION, otsu_threshold, voxel_weights
from inr_codec.errors import ConfigError
from inr_codec.layers.residual.packet_tree import mallat_tree, subbands_of_tree
from inr_codec.layers.residual.quantise import spread_weights


@given(st.integers(0, 2**32 - 1), st.sampled_from(["u1", "i2", "u2", "f4"]))
def test_otsu_agrees_with_scikit_image(seed: int, dtype: str) -> None:
    """The threshold parts the classes as well as scikit-image's does (greatest variance between them)."""
    rng = np.random.default_rng(seed)
    values = np.concatenate([rng.normal(60, 9, 300), rng.normal(rng.uniform(80, 120), 5, 100)]).astype(dtype)

    def between(threshold: float) -> float:
        high = values.astype(float) >= threshold
        return float(high.mean() * (1 - high.mean()) * (values[high].mean() - values[~high].mean()) ** 2)

    assert between(otsu_threshold(values)) > 0.99 * between(threshold_otsu(values, nbins=256) + 1e-6)


def test_weights_are_one_on_average_over_what_counts() -> None:
    """Masked voxels weigh nothing, the others 1 on average, and a region REGION times the rest."""
    chunk = field((8, 16, 16), np.uint16)
    valid = np.ones(chunk.shape, np.bool_)
    valid[0] = False
    threshold = float(np.median(chunk))
    weights = voxel_weights(chunk, threshold, View(chunk.shape, chunk.dtype), valid)
    assert weights is not None
    assert not weights[0].any()
    assert weights[valid].mean() == pytest.approx(1, rel=1e-6)
    inside = weights[valid & (chunk >= threshold)]
    assert inside == pytest.approx(REGION * weights[valid & (chunk < threshold)].max(), rel=1e-6)


def test_weights_that_are_all_equal_change_nothing() -> None:
    """No voxel in the region, all of them in it, and an array of one number give the plain stream."""
    chunk = field()
    plain = INRCodec(ratio=20, **FAST).encode(chunk)
    for weights in (1e9, -1e9, np.full(chunk.shape, 3)):
        assert INRCodec(ratio=20, weights=weights, **FAST).encode(chunk) == plain


@pytest.mark.parametrize("options", [{"layers": "network", "steps": 1000}, {}], ids=["network", "auto"])
def test_fidelity_moves_into_the_region(options: dict[str, Any]) -> None:
    """At equal bytes the squared error falls inside the weighted half of a chunk and rises outside."""
    chunk = field((16, 32, 32), noise=0.2)
    weights = np.ones(chunk.shape)
    weights[:, :, :16] = 30
    errors = {}
    for name, given_weights in (("plain", None), ("weighted", weights)):
        codec = INRCodec(ratio=24, weights=given_weights, **{**FAST, **options})
        data = codec.encode(chunk)
        assert len(data) <= chunk.nbytes / 24
        square = (codec.decode(data) - chunk) ** 2
        errors[name] = (square[:, :, :16].mean(), square[:, :, 16:].mean())
    assert errors["weighted"][0] < 0.8 * errors["plain"][0]
    assert errors["weighted"][1] > errors["plain"][1]


def test_weights_spread_over_coefficients_keep_their_mean() -> None:
    """Constant weights stay constant in every band; a bright half is bright in the coefficients of that half."""
    shape = (8, 16, 16)
    steps, bands = subbands_of_tree(shape, mallat_tree(shape))
    assert spread_weights(np.full(shape, 2.0, np.float32), steps) == pytest.approx(2.0)
    half = np.ones(shape, np.float32)
    half[:, :, :8] = 5
    spread = spread_weights(half, steps)
    for band in bands:
        inside = spread[tuple(slice(o, o + n) for o, n in zip(band.offset, band.size, strict=True))]
        if band.size[2] >= 8:
            assert inside[..., 0] == pytest.approx(5)
            assert inside[..., -1] == pytest.approx(1)


@pytest.mark.parametrize("kind", [INRCodec, INRSerializer])
def test_an_array_of_weights_stays_out_of_the_metadata(kind: Any) -> None:
    """The config is plain JSON that says "array"; a codec made from it decodes, and says what it lacks to encode."""
    chunk = field()
    codec = kind(ratio=20, weights=np.ones(chunk.shape), **FAST)
    options = json.loads(json.dumps(codec.config.to_dict()))
    assert options["weights"] == "array"
    again = INRCodec(**options)
    data = INRCodec(ratio=20, weights=np.arange(chunk.size).reshape(chunk.shape), **FAST).encode(chunk)
    assert again.decode(data).shape == chunk.shape
    with pytest.raises(ConfigError, match="give INRCodec"):
        again.encode(chunk)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ("background", "'foreground'"),
        (True, "'foreground'"),
        (float("nan"), "'foreground'"),
        (np.ones(3), "shape"),
        (np.full((16, 32, 32), -1), "at least 0"),
        (np.zeros((16, 32, 32)), "above 0"),
        (np.full((16, 32, 32), np.inf), "finite"),
        (np.full((16, 32, 32), "x"), "numbers"),
    ],
    ids=str,
)
def test_weights_that_make_no_sense_are_refused(weights: Any, message: str) -> None:
    """Each wrong value raises a ConfigError that says what was expected."""
    with pytest.raises(ConfigError, match=message):
        INRCodec(ratio=20, weights=weights, **FAST).encode(field())
