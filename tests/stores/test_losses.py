"""Sources that are lossy already: they are named, the record says so, and nothing is said of any other."""

import json
import re
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from places import ROOT
from samples import field

from inr_codec import GenerationLoss, INRCodec, INRSerializer, batch
from inr_codec.cli.parser import main
from inr_codec.stores.losses import of_source

VALUES = field((8, 16, 16), "u2")
FAST = ["--effort", "fast", "--ratio", "10"]

pytestmark = pytest.mark.filterwarnings("ignore::zarr.errors.ZarrUserWarning", "ignore::FutureWarning")


def encode(*arguments: object) -> None:
    """Run `inr-codec encode`, which must succeed."""
    assert main(["encode", *map(str, arguments)]) == 0


def test_a_second_generation_is_named_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line at the command line, a warning from Python, and the number of generations with what came before."""
    np.save(tmp_path / "v.npy", VALUES)
    encode(tmp_path / "v.npy", tmp_path / "a.zarr", *FAST)
    assert main(["decode", str(tmp_path / "a.zarr"), str(tmp_path / "back.zarr")]) == 0
    assert "warning" not in capsys.readouterr().err
    for source in ("a.zarr", "back.zarr"):
        target = tmp_path / f"again-{source}"
        encode(tmp_path / source, target, *FAST, "--seed", "1")
        said = capsys.readouterr().err
        assert said.startswith("inr-codec: warning: ") and said.count("\n") == 1 and "generation loss" in said
        told = zarr.open_array(target, mode="r").attrs
        assert told["lossy_compression_generations"] == 2
        assert "inr_codec" in told["lossy_compression_source"] and "ratio" in told["lossy_compression_source"]
        assert json.loads(told["lossy_compression_recipe"])["seed"] == 1
    with pytest.warns(GenerationLoss, match="is lossy already"):
        batch.encode_array(str(target), str(tmp_path / "third.zarr"), {"ratio": 10, "effort": "fast"})
    third = zarr.open_array(tmp_path / "third.zarr", mode="r").attrs
    assert third["lossy_compression_generations"] == 3


def test_a_lossless_copy_adds_no_generation(tmp_path: Path) -> None:
    """Nothing is said, and the count stays, with what was lost before."""
    np.save(tmp_path / "v.npy", VALUES)
    encode(tmp_path / "v.npy", tmp_path / "a.zarr", *FAST)
    encode(tmp_path / "v.npy", tmp_path / "exact.zarr", "--lossless")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        batch.encode_array(str(tmp_path / "a.zarr"), str(tmp_path / "b.zarr"), {"lossless": True})
        batch.encode_array(str(tmp_path / "exact.zarr"), str(tmp_path / "c.zarr"), {"ratio": 10, "effort": "fast"})
    assert zarr.open_array(tmp_path / "b.zarr", mode="r").attrs["lossy_compression_generations"] == 1
    assert "lossy_compression_generations" not in zarr.open_array(tmp_path / "c.zarr", mode="r").attrs


def codecs(zarr_format: int, codec: dict[str, Any]) -> SimpleNamespace:
    """An array of which only the metadata are there."""
    codec = {"name": codec.pop("id"), "configuration": codec} if zarr_format == 3 else codec
    metadata: dict[str, Any] = {"compressor": codec}
    if zarr_format == 3:
        inside = {"name": "sharding_indexed", "configuration": {"chunk_shape": [1], "codecs": [codec]}}
        metadata = {"codecs": [inside]}
    return SimpleNamespace(attrs={}, metadata=SimpleNamespace(to_dict=lambda: metadata))


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize(
    ("codec", "lossy"),
    [
        ({"id": "imagecodecs_jpeg"}, True),
        ({"id": "imagecodecs_jpegxl", "lossless": True}, False),
        ({"id": "h265"}, True),
        ({"id": "zfpy"}, True),
        ({"id": "numcodecs.bitround"}, True),
        ({"id": "inr_codec", "ratio": 9}, True),
        ({"id": "inr_codec", "lossless": True}, False),
        ({"id": "zstd"}, False),
        ({"id": "blosc", "cname": "lz4"}, False),
    ],
    ids=str,
)
def test_codecs_of_zarr(zarr_format: int, codec: dict[str, Any], lossy: bool) -> None:
    """Lossy codecs are known in both formats, within shards too; lossless ones are passed over."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        told = of_source("memory://a", codecs(zarr_format, dict(codec)), {})
    assert bool(caught) == bool(told) == lossy


def test_arrays_that_python_wrote(tmp_path: Path) -> None:
    """What zarr wrote with this codec is known without a record too."""
    for name, options in (
        ("2", {"compressors": INRCodec(ratio=10, effort="fast"), "zarr_format": 2}),
        ("3", {"serializer": INRSerializer(ratio=10, effort="fast"), "compressors": None, "shards": (8, 16, 16)}),
    ):
        zarr.create_array(tmp_path / name, data=VALUES, chunks=(4, 16, 16), **options)  # type: ignore[arg-type]
        with pytest.warns(GenerationLoss, match="ratio"):
            batch.prepare(str(tmp_path / name), str(tmp_path / f"again{name}.zarr"), {"ratio": 10})


def test_files_of_other_formats(tmp_path: Path) -> None:
    """TIFF tells by a tag, DICOM by its transfer syntax; an uncompressed one, and a text, lose nothing."""
    tifffile.imwrite(tmp_path / "plain.tif", VALUES, photometric="minisblack")
    tifffile.imwrite(tmp_path / "zlib.tif", VALUES, photometric="minisblack", compression="zlib")
    (tmp_path / "a.npy").write_bytes(b"")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in ("plain.tif", "zlib.tif", "a.npy"):
            assert of_source(str(tmp_path / name), VALUES, {"spacing": [1]}) == {"spacing": [1]}
    with tifffile.TiffFile(tmp_path / "plain.tif", mode="r+") as file:
        for page in file.pages:
            page.tags["Compression"].overwrite(7)
    with pytest.warns(GenerationLoss, match="JPEG in TIFF"):
        told = of_source(str(tmp_path / "plain.tif"), VALUES, {})
    assert told["lossy_compression_generations"] == 2


def test_dicom_tells_by_its_transfer_syntax(tmp_path: Path) -> None:
    """JPEG, and an image that says of itself that it was compressed; an uncompressed one is passed over."""
    pydicom = pytest.importorskip("pydicom")
    for syntax, flag, lossy in (("50", None, True), ("70", None, False), ("70", "01", True)):
        header = pydicom.dataset.Dataset()
        header.file_meta = pydicom.dataset.FileMetaDataset()
        header.file_meta.TransferSyntaxUID = f"1.2.840.10008.1.2.4.{syntax}"
        if flag:
            header.LossyImageCompression = flag
        header.file_meta.MediaStorageSOPClassUID = header.SOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
        header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID = "1.2.3"
        header.save_as(tmp_path / "1.dcm", enforce_file_format=True)
        data = (tmp_path / "1.dcm").read_bytes()
        assert data[128:132] == b"DICM"
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert bool(of_source(str(tmp_path), VALUES, {})) == bool(caught) == lossy


def test_the_documented_sequences_encode_nothing_twice() -> None:
    """No command of the README and of LARGE_ARRAYS.md takes as its source what an earlier one wrote lossily."""
    for page in ("README.md", "docs/LARGE_ARRAYS.md"):
        text = (ROOT / page).read_text()
        pairs = re.findall(r"inr-codec (?:encode|plan) (\S+) (\S+)", text)
        assert pairs
        assert not {source for source, _ in pairs} & {target for _, target in pairs}
        for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
            assert not ("INR" in block and re.search(r"\] = zarr\.open|to_zarr.*open_zarr", block))
