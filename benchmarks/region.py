"""What `weights="foreground"` moves: `python benchmarks/region.py --data FOLDER --volumes NAME ... --ratio 100`.

PSNR over all voxels, inside and outside Otsu's threshold of the original (peak = max - min of the chunk), the share of
voxels that stay on their side of it, and the Dice overlap of what lies above it, at equal bytes.
"""

import argparse
import math
from pathlib import Path

import numpy as np
from volumes import central_chunk

from inr_codec import INRCodec, metrics
from inr_codec.chunk.voxel_weights import otsu_threshold


def main() -> None:
    """Print two rows for each volume."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--volumes", nargs="+", required=True)
    parser.add_argument("--ratio", type=float, default=100)
    parser.add_argument("--effort", default="fast")
    options = parser.parse_args()
    print("| chunk | foreground | weights | bytes | all | inside | outside | accuracy | Dice |\n" + "|---" * 9 + "|")
    for name in options.volumes:
        chunk = central_chunk(np.load(options.data / f"{name}.npy"))
        threshold = otsu_threshold(chunk.ravel())
        inside = chunk >= threshold
        peak = float(chunk.max()) - float(chunk.min())
        for weights in (None, "foreground"):
            codec = INRCodec(ratio=options.ratio, effort=options.effort, weights=weights)
            data = codec.encode(chunk)
            decoded = codec.decode(data)
            square = (decoded.astype(np.float64) - chunk) ** 2
            parts = [square, square[inside], square[~inside]]
            decibels = " | ".join(f"{10 * math.log10(peak**2 / part.mean()):.2f}" for part in parts)
            kept = metrics.accuracy(chunk, decoded, threshold)
            overlap = metrics.dice(inside, decoded >= threshold)
            print(
                f"| {name} | {inside.mean():.1%} | {weights or 'none'} | {len(data)} | {decibels} | {kept:.5f} "
                f"| {overlap:.4f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
