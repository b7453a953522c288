"""What an encoded array says of its loss, in attributes that every reader sees."""

import json

import numpy as np
import zarr
from samples import field

from inr_codec import INRSerializer, io
from inr_codec.cli.parser import main
from inr_codec.stores.attributes import describe
from inr_codec.stores.description import record


def test_the_command_line_records_recipe_and_figures(tmp_path):
    """Algorithm, version, settings and the worst error of all chunks are attributes, and a decoded copy keeps them."""
    values = field((20, 24, 40), "u2", 0.1)
    np.save(tmp_path / "a.npy", values)
    assert (
        main(["encode", str(tmp_path / "a.npy"), str(tmp_path / "a.zarr"), "--max-error", "99", "--effort", "fast"])
        == 0
    )
    array = zarr.open(tmp_path / "a.zarr", mode="r")
    told = {name.removeprefix("lossy_compression_"): value for name, value in array.attrs.items()}
    worst = np.abs(array[:].astype(int) - values).max()
    assert told["max_error"] == worst <= 99
    assert told["algorithm"] == "inr_codec" and told["implementation"].startswith("inr_codec version ")
    assert json.loads(told["recipe"]) == {"max_error": 99.0, "effort": "fast"}
    assert 20 < told["least_psnr"] < 100
    assert main(["decode", str(tmp_path / "a.zarr"), str(tmp_path / "b.zarr")]) == 0
    kept = zarr.open(tmp_path / "b.zarr", mode="r").attrs
    ours = {name for name in array.attrs if name.startswith("lossy_")}
    assert ours <= set(io.PROVENANCE) & set(kept)
    assert kept["lossy_compression_max_error"] == worst


def test_a_lossless_array_says_so(tmp_path):
    """Without loss there is no PSNR, and the largest error is 0, over all chunks."""
    array = zarr.create_array(
        str(tmp_path / "a.zarr"),
        shape=(16, 20, 24),
        chunks=(8, 20, 24),
        dtype="u2",
        serializer=INRSerializer(lossless=True),
        compressors=None,
    )
    array[:] = field((16, 20, 24), "u2", 0.1)
    record(array)
    assert array.attrs["lossy_compression_max_error"] == 0.0
    assert "lossy_compression_least_psnr" not in array.attrs


def test_what_was_not_measured_is_left_out():
    """One chunk without figures is enough; the worst of the others is no promise."""
    assert describe({}, [(40.0, 1.0), (30.0, 3.0)])["lossy_compression_max_error"] == 3.0
    assert describe({}, [(40.0, 1.0), (30.0, 3.0)])["lossy_compression_least_psnr"] == 30.0
    told = describe({"ratio": 9}, [(40.0, None), (None, None)])
    assert set(told) == {f"lossy_compression_{name}" for name in ("algorithm", "implementation", "reader", "recipe")}
