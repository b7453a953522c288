"""The command that compares a decoded volume with the original: `compare`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from inr_codec import io, metrics
from inr_codec.batch.store import check_voxels, open_volume
from inr_codec.errors import ConfigError
from inr_codec.io.format import in_order
from inr_codec.stores.encoded_chunks import Outlines, outlines_of, stored_streams
from inr_codec.targets import check_file_target


def compare(original: str, decoded: str, *, png: str | None) -> None:
    """Print how close a decoded volume is to the original and what it cost; both are held in memory whole."""
    if png is not None:
        check_file_target(png, (original, decoded), overwrite=True, kind="picture")
    opened = open_volume(original), open_volume(decoded)
    first, second = opened[0].array, in_order(opened[1].array, opened[1].axes, opened[0].axes)
    if tuple(first.shape) != tuple(second.shape):
        raise ConfigError(f"expected volumes of one shape, got {first.shape!r} and {second.shape!r}: compare others")
    for array, path in ((first, original), (second, decoded)):
        check_voxels(array, path, "biuf")
    before, after = np.asarray(first[...]), np.asarray(second[...])
    scales = [volume.record.value_scale or (1.0, 0.0) for volume in opened]
    if scales[0] != scales[1]:  # a slope that decoding has applied: real values are compared
        before, after = (values * slope + offset for values, (slope, offset) in zip((before, after), scales))
    finite = _finite(before, after, original, decoded)
    psnr, ssim = f"{metrics.psnr(before, after):.2f} dB", _similarity(before, after)
    rows = {"PSNR (peak = max - min)": psnr, "SSIM (range = max - min)": ssim}
    if before.dtype.kind in "iu":
        rows[f"PSNR (peak of {before.dtype})"] = f"{metrics.psnr(before, after, peak='dtype'):.2f} dB"
    rows["largest error"] = f"{np.max(np.abs(after[finite].astype(np.float64) - before[finite])):g}"
    title, outlines = f"{Path(original).name}: PSNR {psnr}, SSIM {ssim}", Outlines()
    if hasattr(second, "metadata"):
        stored, outlines = sum(len(stream) for _, stream in stored_streams(second)), outlines_of(second)
        ratio = metrics.compression_ratio(before.nbytes, max(stored, 1))
        rows["bytes"] = f"{before.nbytes:,} in {stored:,}, {ratio:.1f} times smaller"
        rows["bits per voxel"] = f"{metrics.bits_per_voxel(stored, before.size):.4f}"
        title += f", {ratio:.1f} times smaller"
    if png is not None:
        _draw(png, before, after, title, outlines, opened)
        rows["picture"] = png
    for name, value in rows.items():
        print(f"{name:<26} {value}")


def _draw(png: str, before: Any, after: Any, title: str, outlines: Outlines, volumes: Sequence[io.Volume]) -> None:
    """The picture of a comparison; axes and the size of a voxel are those of the first volume that tells them."""
    from inr_codec.picture import Scene, save_comparison

    axes = next((volume.axes for volume in volumes if volume.axes is not None), None)
    alike = (volume.attributes for volume in volumes if volume.axes in (None, axes))  # in the same order
    told = next((attributes for attributes in alike if "spacing" in attributes), {})
    scene = Scene(before.shape, before.dtype, axes, told.get("spacing"), told.get("unit"))
    with io.finished(png, overwrite=True) as part:
        save_comparison(part, before, after, title=title, blocks=outlines.blocks, chunks=outlines.chunks, scene=scene)


def _finite(before: Any, after: Any, original: str, decoded: str) -> Any:
    """Where the original is finite; ConfigError where it is so nowhere, or the decoded volume is not."""
    finite = np.isfinite(before)
    if not finite.any():
        raise ConfigError(f"expected a finite voxel in {original!r}, got none: there is nothing to compare")
    if spoilt := int(np.count_nonzero(~np.isfinite(after[finite]))):
        raise ConfigError(
            f"expected finite voxels in {decoded!r} where {original!r} has them, got {spoilt:,} that are not: name "
            "what it was made of"
        )
    return finite


def _similarity(before: Any, after: Any) -> str:
    """SSIM in three dimensions, for a stack too thin for that the mean over its planes, or why there is none."""
    finite = before[np.isfinite(before)]
    try:
        return f"{metrics.mean_ssim(before, after, data_range=float(finite.max()) - float(finite.min())):.4f}"
    except ConfigError:
        return "none, the volume is constant or too small"
