"""Rate against PSNR on real volumes, beside the best of the codecs that the report has measured.

    python -m benchmarks.studies.fidelity.fidelity --volumes FOLDER [--names NAME ...] [--ratios 64 256 1024]

Central chunks; PSNR with max - min of the chunk as peak. Other codecs' are those of benchmarks/results/rates.json, at
the same ratio; where it has none of a chunk, none is shown.
"""

import argparse
import time
from collections.abc import Iterator, Sequence

import numpy as np

from benchmarks.harness.data import chunks
from benchmarks.harness.markdown import markdown
from benchmarks.harness.study import Row, options, run
from benchmarks.report.grid import RESULTS, Grid, load, psnr
from inr_codec import INRCodec, metrics


def measure(arguments: argparse.Namespace) -> Iterator[Row]:
    """A row for every chunk and ratio."""
    grid = Grid(load(RESULTS)["rates"]["rows"])
    for name, chunk in chunks(arguments.volumes, arguments.names).items():
        for ratio in arguments.ratios:
            codec = INRCodec(ratio=ratio, effort=arguments.effort)
            begin = time.perf_counter()
            stream = codec.encode(chunk)
            encoded = time.perf_counter()
            decoded = codec.decode(stream)
            again = time.perf_counter()
            codec.decode(stream)
            seconds = time.perf_counter() - again
            yield {
                "chunk": name, "ratio": ratio, "real_ratio": chunk.nbytes / len(stream),
                "psnr": metrics.psnr(chunk, decoded), "peer": next(iter(grid.others(name, ratio, psnr)), None),
                "encode_s": encoded - begin, "decode_s": seconds, "voxels": chunk.size,
            }  # fmt: skip


def table(rows: Sequence[Row]) -> str:
    """A line for every chunk: PSNR and the gap to the best peer at every ratio, seconds per megavoxel."""
    ratios = sorted({row["ratio"] for row in rows})
    lines = []
    for name in dict.fromkeys(row["chunk"] for row in rows):
        cells = [row for row in rows if row["chunk"] == name]
        shown = []
        for row in sorted(cells, key=lambda row: row["ratio"]):
            gap = f" ({row['psnr'] - row['peer'][0]:+.2f} over {row['peer'][1]})" if row["peer"] else ""
            shown.append(f"{row['psnr']:.2f}{gap}")
        encode = [row["encode_s"] / row["voxels"] * 1e6 for row in cells]
        decode = [row["voxels"] / row["decode_s"] / 1e6 for row in cells]
        spans = [f"{min(each):.0f}-{max(each):.0f}" for each in (encode, decode)]
        lines.append([name, *shown, *spans])
    gaps = [row["psnr"] - row["peer"][0] for row in rows if row["peer"]]
    voxels = sum(row["voxels"] for row in rows)
    ahead = (
        f"Mean gap {np.mean(gaps):+.2f} dB, worst {min(gaps):+.2f} dB, ahead in {sum(gap > 0 for gap in gaps)} of "
        f"{len(gaps)}; "
        if gaps
        else ""
    )
    return (
        markdown(["chunk", *(f"{ratio}x" for ratio in ratios), "encode s/Mvoxel", "decode Mvoxel/s"], lines)
        + f"\n\n{ahead}encode {voxels / sum(row['encode_s'] for row in rows) / 1e3:.0f} kvoxel/s, "
        f"decode {voxels / sum(row['decode_s'] for row in rows) / 1e6:.1f} Mvoxel/s."
    )


def main() -> None:
    """Measure and print."""
    parser = options(__doc__)
    parser.add_argument("--ratios", type=int, nargs="+", default=[64, 256, 1024])
    parser.add_argument("--effort", default="default")
    run(__file__, parser, measure, table)


if __name__ == "__main__":
    main()
