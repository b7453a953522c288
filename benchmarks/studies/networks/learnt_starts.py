"""What learnt starts (priors) give.

    python -m benchmarks.studies.networks.learnt_starts --volumes FOLDER --names NAME ... [--ratios 256]

For each volume a prior is learnt from chunks outside the central one, and another from the other volumes; the central
chunk is then encoded without and with them.
"""

import argparse
import time
from collections.abc import Iterator, Sequence

import numpy as np

from benchmarks.harness.data import central_chunk, volumes
from benchmarks.harness.markdown import markdown
from benchmarks.harness.study import Row, options, run
from inr_codec import INRCodec, metrics
from inr_codec.config import Config
from inr_codec.encoding.learn_prior import learn_prior


def around(volume: np.ndarray, count: int) -> list[np.ndarray]:
    """Chunks as large as the central one that do not touch its middle: the corners of the volume."""
    side = central_chunk(volume).shape
    corners = np.stack(np.meshgrid(*[(0, n - s) for n, s in zip(volume.shape, side)], indexing="ij"), -1).reshape(-1, 3)
    unique = np.unique(corners, axis=0)
    return [volume[tuple(slice(a, a + n) for a, n in zip(corner, side))] for corner in unique[:count]]


def measure(arguments: argparse.Namespace) -> Iterator[Row]:
    """A row for each volume, ratio, effort and prior."""
    found = volumes(arguments.volumes, arguments.names)
    for name, volume in found.items():
        others = [chunk for other in found if other != name for chunk in around(found[other], 2)]
        chunk = central_chunk(volume)
        for ratio in arguments.ratios:
            config = Config(ratio=ratio, layers=arguments.layers)
            priors: dict[str, tuple[str | None, float]] = {"none": (None, 0.0)}
            for kind, examples in (("own", around(volume, 4)), ("others", others)):
                begun = time.perf_counter()
                if examples:
                    priors[kind] = (learn_prior(examples, config).text, time.perf_counter() - begun)
            for effort in arguments.efforts:
                for kind, (text, learning) in priors.items():
                    codec = INRCodec(ratio=ratio, layers=arguments.layers, effort=effort, prior=text)
                    begun = time.perf_counter()
                    data = codec.encode(chunk)
                    seconds = time.perf_counter() - begun
                    yield {
                        "chunk": name, "ratio": ratio, "effort": effort, "prior": kind, "bytes": len(data),
                        "psnr": metrics.psnr(chunk, codec.decode(data)), "learn_s": learning, "encode_s": seconds,
                    }  # fmt: skip


def table(rows: Sequence[Row]) -> str:
    """A line for each row."""
    head = ["chunk", "ratio", "effort", "prior", "PSNR", "bytes", "s to learn", "s to encode"]
    return markdown(head, [
        [
            row["chunk"], f"{row['ratio']}", row["effort"], row["prior"], f"{row['psnr']:.2f}", f"{row['bytes']}",
            f"{row['learn_s']:.0f}", f"{row['encode_s']:.1f}",
        ]
        for row in rows
    ])  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = options(__doc__)
    parser.add_argument("--ratios", nargs="+", type=int, default=[256])
    parser.add_argument("--efforts", nargs="+", default=["fast", "default"])
    parser.add_argument("--layers", default="network")
    run(__file__, parser, measure, table)


if __name__ == "__main__":
    main()
