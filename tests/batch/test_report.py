"""The page about an encoded array: complete in itself, and true to the manifest and the streams."""

import base64
import json
import shutil
import struct
from html.parser import HTMLParser
from importlib.metadata import version
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import zarr
from samples import FAST, field, psnr

from inr_codec import io
from inr_codec.batch import encode_array
from inr_codec.batch.report import gather, write_report
from inr_codec.batch.report_images import chosen, draw_chunks
from inr_codec.batch.report_maps import draw_histogram, draw_maps
from inr_codec.cli.parser import main
from inr_codec.errors import ConfigError
from inr_codec.stores.total import Total, mean_square

SHAPE, CHUNKS = (20, 40, 24), (8, 16, 16)
VALUES = field(SHAPE) + np.float32(30) * (np.arange(40) > 20)[:, None]
VALUES[8:16, :16, 16:] = np.nan


class Page(HTMLParser):
    """Collects text, images, and whatever would be loaded from elsewhere."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.text, self.images, self.links = "", list[bytes](), list[str]()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "src" and value and value.startswith("data:image/png;base64,"):
                self.images.append(base64.b64decode(value.partition(",")[2]))
            elif name in ("src", "href", "srcset", "data"):
                self.links.append(str(value))

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a manifest."""
    folder = tmp_path_factory.mktemp("made")
    np.save(folder / "a.npy", VALUES)
    encode_array(str(folder / "a.npy"), str(folder / "b.zarr"), {"ratio": 30, **FAST}, chunks=CHUNKS)
    return folder


def test_a_page_needs_nothing_else(made: Path) -> None:
    """No link, no script, pictures inside: of three chunks, three maps and three histograms with a manifest."""
    write_report(str(made / "b.zarr"), str(made / "p.html"))
    page = Page(made / "p.html")
    assert not page.links
    assert "url(" not in (made / "p.html").read_text()
    assert [image[:4] for image in page.images] == [b"\x89PNG"] * 9
    assert "18 of 8 x 16 x 16: 17 done, 1 empty, 0 failed" in page.text
    assert "20 x 40 x 24 float32" in page.text
    assert "Failed chunks: 0" in page.text
    assert str(made / "a.npy") in page.text and f"inr_codec version {version('inr_codec')}" in page.text
    assert "of unknown size" in page.text and "least PSNR" in page.text


def test_a_source_that_is_gone_is_left_out(made: Path) -> None:
    """What was decoded is shown alone; with the source there are three images."""
    places, chunks = [("any", (0, 0, 0))], CHUNKS
    wide, narrow = (
        next(draw_chunks(str(made / "b.zarr"), source, places, chunks)).png
        for source in (str(made / "a.npy"), str(made / "gone.npy"))
    )
    widths = [struct.unpack(">I", png[16:20])[0] for png in (wide, narrow)]
    assert widths[0] > 2 * widths[1]


def test_a_single_chunk_has_no_maps(tmp_path: Path) -> None:
    """One image of it, and the table; it is measured in its unit."""
    attributes = {"spacing": [2, 0.5, 0.5], "unit": "micrometer"}
    with io.create(tmp_path / "a.zarr", (8, 16, 16), "f4", axes=("z", "y", "x"), attributes=attributes) as out:
        out[...] = field((8, 16, 16))
    assert (
        main(["encode", str(tmp_path / "a.zarr"), str(tmp_path / "b.zarr"), "--ratio", "20", "--effort", "fast"]) == 0
    )
    write_report(str(tmp_path / "b.zarr"), str(tmp_path / "p.html"))
    page = Page(tmp_path / "p.html")
    assert len(page.images) == 1
    assert "2 x 0.5 x 0.5 micrometer" in page.text and "1 of 8 x 16 x 16: 1 done" in page.text


def test_chunks_that_are_shown_are_the_worst_the_median_and_the_best() -> None:
    """By PSNR, of those that can be read; one where there is one, the middle one where none is known."""
    psnr = np.arange(30, 51, dtype=np.float32).reshape(3, 7)
    readable = np.ones((3, 7), bool)
    readable[0, 0] = False
    assert [place for _, place in chosen(psnr, readable)] == [(0, 1), (1, 4), (2, 6)]
    assert chosen(np.float32([[40]]), np.ones((1, 1), bool)) == [("PSNR 40.00 dB", (0, 0))]
    assert chosen(np.full((3, 7), np.nan, np.float32), readable) == [("exact, or not measured", (1, 4))]


def test_figures_are_those_of_the_store(made: Path) -> None:
    """Bytes add up to the files', the PSNR is that of the decoded array, with and without the manifest."""
    bare = made / "bare.zarr"
    shutil.copytree(made / "b.zarr", bare)
    size = sum(file.stat().st_size for file in (bare / "c").rglob("*") if file.is_file())
    decoded = np.asarray(zarr.open_array(bare, mode="r")[...])
    for path in (made / "b.zarr", bare):
        chunks = gather(str(path))
        assert np.nansum(chunks.bytes) == size
        assert chunks.count("empty") == 1
        if chunks.total.unknown == 0:
            assert chunks.total.psnr == pytest.approx(psnr(VALUES, decoded), abs=0.3)
        assert np.isfinite(chunks.seconds).any() == (path != bare)


def test_failed_chunks_are_listed_and_escaped(made: Path, tmp_path: Path) -> None:
    """What a manifest says of them is on the page, markup in it is text."""
    shutil.copytree(made / "b.zarr", tmp_path / "b.zarr")
    shutil.copytree(made / "b.zarr.batch", tmp_path / "b.zarr.batch")
    manifest = tmp_path / "b.zarr.batch" / "manifest.jsonl"
    records = [json.loads(line) for line in manifest.read_text().splitlines()]
    records[7] |= {"state": "failed", "error": "OSError: <script>alert()</script> & more", "bytes": 0, "psnr": None}
    manifest.write_text("".join(json.dumps(record) + "\n" for record in records))
    assert main(["report", str(tmp_path / "b.zarr")]) == 0
    page = Page(tmp_path / "b.zarr.html")
    assert "Failed chunks: 1" in page.text
    assert "OSError: <script>alert()</script> & more" in page.text
    assert records[7]["key"] in page.text
    assert "<script>" not in (tmp_path / "b.zarr.html").read_text()


def test_a_damaged_chunk_without_a_manifest_has_failed(made: Path, tmp_path: Path) -> None:
    """The streams themselves are asked."""
    shutil.copytree(made / "b.zarr", tmp_path / "b.zarr")
    (tmp_path / "b.zarr" / "c" / "0" / "0" / "0").write_bytes(b"INR nonsense")
    chunks = gather(str(tmp_path / "b.zarr"))
    assert chunks.count("failed") == 1
    assert chunks.failed[0][0] == "c/0/0/0"


def test_a_path_without_an_array_of_ours_is_refused(tmp_path: Path) -> None:
    """And nothing is written."""
    with pytest.raises(ConfigError, match="zarr"):
        write_report(str(tmp_path / "none.zarr"), str(tmp_path / "p.html"))
    assert not (tmp_path / "p.html").exists()


@pytest.mark.parametrize("shape", [(7,), (2, 3, 4, 5), (1, 1, 1)])
def test_grids_of_any_number_of_axes_are_drawn(shape: tuple[int, ...]) -> None:
    """With gaps and failed chunks, constant values too."""
    values = np.random.default_rng(0).lognormal(3, 3, shape).astype(np.float32)
    failed = np.zeros(shape, bool)
    failed.flat[-1] = True
    values.flat[1:2] = np.nan
    assert draw_maps(values, failed, "dB", True).startswith(b"\x89PNG")
    assert draw_histogram(values, "s").startswith(b"\x89PNG")


def test_a_map_shows_where_values_are() -> None:
    """A bright column of chunks is bright in the panel along z, at its place."""
    from matplotlib.image import imread

    values = np.ones((4, 8, 8), np.float32)
    values[:, 1, 6] = 100
    picture = imread(BytesIO(draw_maps(values, np.zeros(values.shape, bool), "bytes", False)))[..., :3]
    rows, columns = np.nonzero((np.abs(picture - [253 / 255, 231 / 255, 37 / 255]) < 0.02).all(axis=2))
    left = columns < picture.shape[1] // 3
    assert left.sum() > 50
    assert np.ptp(rows[left]) < picture.shape[0] / 8 and np.ptp(columns[left]) < picture.shape[1] / 20


def test_the_total_is_the_error_of_all_chunks_together() -> None:
    """As of the concatenated arrays; exact chunks count as such, chunks of unknown error do not."""
    rng = np.random.default_rng(0)
    parts = [rng.normal(0, scale, 300) for scale in (1, 20, 300)]
    coded = [part + rng.normal(0, 0.1, 300) for part in parts]
    total = Total()
    for a, b in zip(parts, coded):
        total.add(mean_square(psnr(a, b), a.min(), a.max()), 300, a.min(), a.max())
    assert total.psnr == pytest.approx(psnr(np.concatenate(parts), np.concatenate(coded)), abs=1e-6)
    total.add(mean_square(12.0, 5.0, 5.0), 300, 5.0, 5.0)
    assert total.unknown == 1
    assert mean_square(np.inf, 3.0, 3.0) == 0.0
    assert Total().psnr is None
