"""What learned starts give: `python benchmarks/prior.py --data FOLDER --volumes NAME ... --ratios 256`.

For each volume (NAME.npy) a prior is learnt from chunks outside the central one, and another from the other volumes;
the central chunk of 64 x 128 x 128 voxels (thin stacks: all slices x 256 x 256) is then encoded without and with them.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from volumes import central_chunk as chunk_of

from inr_codec import INRCodec, metrics
from inr_codec.config import Config
from inr_codec.encoding.learn_prior import learn_prior


def around(volume: np.ndarray, count: int) -> list[np.ndarray]:
    """Chunks as large as the central one that do not touch its middle: the corners of the volume."""
    side = chunk_of(volume).shape
    corners = np.stack(np.meshgrid(*[(0, n - s) for n, s in zip(volume.shape, side)], indexing="ij"), -1).reshape(-1, 3)
    unique = np.unique(corners, axis=0)
    return [volume[tuple(slice(a, a + n) for a, n in zip(corner, side))] for corner in unique[:count]]


def main() -> None:
    """Print a row for each volume, ratio and recipe."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--volumes", nargs="+", required=True)
    parser.add_argument("--ratios", nargs="+", type=int, default=[256])
    parser.add_argument("--efforts", nargs="+", default=["fast", "default"])
    parser.add_argument("--layers", default="network")
    options = parser.parse_args()
    volumes = {name: np.load(options.data / f"{name}.npy") for name in options.volumes}
    print("| chunk | ratio | effort | prior | PSNR | bytes | s to learn | s to encode |\n" + "|---" * 8 + "|")
    for name, volume in volumes.items():
        others = [chunk for other in volumes if other != name for chunk in around(volumes[other], 2)]
        for ratio in options.ratios:
            config = Config(ratio=ratio, layers=options.layers)
            priors: dict[str, Any] = {"none": (None, 0.0)}
            for kind, chunks in (("own", around(volume, 4)), ("others", others)):
                begun = time.perf_counter()
                if chunks:
                    priors[kind] = (learn_prior(chunks, config).text, time.perf_counter() - begun)
            chunk = chunk_of(volume)
            for effort in options.efforts:
                for kind, (text, learning) in priors.items():
                    codec = INRCodec(ratio=ratio, layers=options.layers, effort=effort, prior=text)
                    begun = time.perf_counter()
                    data = codec.encode(chunk)
                    seconds = time.perf_counter() - begun
                    reached = metrics.psnr(chunk, codec.decode(data))
                    print(
                        f"| {name} | {ratio} | {effort} | {kind} | {reached:.2f} | {len(data)} | {learning:.0f} "
                        f"| {seconds:.1f} |",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
