"""Rate against PSNR on real volumes, beside the best conventional codecs: the table of FIDELITY.md.

    python benchmarks/fidelity.py --data FOLDER --peers PEERS.json --json ROWS.json      measures and prints
    python benchmarks/fidelity.py --rows ROWS.json                                       prints what was measured

FOLDER holds .npy volumes; of each the central chunk of at most 64 x 128 x 128 voxels is coded (thin stacks: all slices
x 256 x 256). PEERS.json maps volume, ratio and codec to PSNR (peak = max - min of the chunk) at the same ratio.
"""

import argparse
import json
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
from volumes import central_chunk

from inr_codec import INRCodec, metrics


def measure(data: Path, peers: dict, ratios: list[int], effort: str) -> list[dict]:
    """A row for every volume and ratio."""
    rows = []
    for path in sorted(data.glob("*.npy")):
        chunk = central_chunk(np.load(path))
        for ratio in ratios:
            codec = INRCodec(ratio=ratio, effort=effort)
            begin = time.perf_counter()
            stream = codec.encode(chunk)
            encoded = time.perf_counter()
            decoded = codec.decode(stream)
            again = time.perf_counter()
            codec.decode(stream)
            decode = time.perf_counter() - again
            known = {name: value for name, value in peers.get(path.stem, {}).get(str(ratio), {}).items() if value}
            peer = max(known.items(), key=lambda item: item[1]) if known else None
            psnr = metrics.psnr(chunk, decoded)
            rows.append(
                {
                    "volume": path.stem, "ratio": ratio, "real": chunk.nbytes / len(stream), "psnr": psnr,
                    "peer": peer, "gap": psnr - peer[1] if peer else None, "encode_s": encoded - begin,
                    "decode_s": decode, "voxels": chunk.size,
                }
            )  # fmt: skip
            print(json.dumps(rows[-1]), flush=True)
    return rows


def table(rows: list[dict]) -> str:
    """Markdown: a line for every volume, PSNR and the gap to the best peer at every ratio, seconds per megavoxel."""
    ratios = sorted({row["ratio"] for row in rows})
    lines = [
        "| chunk | " + " | ".join(f"{ratio}x" for ratio in ratios) + " | encode s/Mvoxel | decode Mvoxel/s |",
        "|---" * (len(ratios) + 3) + "|",
    ]
    by_volume = defaultdict(dict)
    for row in rows:
        by_volume[row["volume"]][row["ratio"]] = row
    for volume, cells in by_volume.items():
        shown = []
        for ratio in ratios:
            row = cells[ratio]
            gap = "" if row["peer"] is None else f" ({row['gap']:+.2f} over {row['peer'][0]})"
            shown.append(f"{row['psnr']:.2f}{gap}")
        encode = [row["encode_s"] / row["voxels"] * 1e6 for row in cells.values()]
        decode = [row["voxels"] / row["decode_s"] / 1e6 for row in cells.values()]
        lines.append(
            f"| {volume} | {' | '.join(shown)} | {min(encode):.0f}-{max(encode):.0f} "
            f"| {min(decode):.0f}-{max(decode):.0f} |"
        )
    gaps = [row["gap"] for row in rows if row["gap"] is not None]
    voxels = sum(row["voxels"] for row in rows)
    lines.append("")
    lines.append(
        f"Mean gap {np.mean(gaps):+.2f} dB, worst {min(gaps):+.2f} dB, "
        f"ahead in {sum(g > 0 for g in gaps)} of {len(gaps)}; "
        f"encode {voxels / sum(row['encode_s'] for row in rows) / 1e3:.0f} kvoxel/s, "
        f"decode {voxels / sum(row['decode_s'] for row in rows) / 1e6:.1f} Mvoxel/s."
    )
    return "\n".join(lines)


def main() -> None:
    """Measure or read, and print."""
    parser = argparse.ArgumentParser(description="PSNR at given ratios, beside the best conventional codecs.")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--peers", type=Path)
    parser.add_argument("--ratios", type=int, nargs="*", default=[64, 256, 1024])
    parser.add_argument("--effort", default="default")
    parser.add_argument("--json", type=Path, help="write the rows here")
    parser.add_argument("--rows", type=Path, help="rows of an earlier run, in the place of a measurement")
    arguments = parser.parse_args()
    if arguments.rows:
        rows = json.loads(arguments.rows.read_text())
    else:
        if arguments.data is None:
            parser.error("--data or --rows expected: name the folder of volumes")
        peers = json.loads(arguments.peers.read_text()) if arguments.peers else {}
        rows = measure(arguments.data, peers, arguments.ratios, arguments.effort)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))
    print(table(rows))


if __name__ == "__main__":
    main()
