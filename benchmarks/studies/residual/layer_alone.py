"""The residual layer alone: fidelity, size and speed, one thread.

    INR_CODEC_THREADS=1 python -m benchmarks.studies.residual.layer_alone --volumes FOLDER [--ratios 64 256]

A row for each central chunk and ratio: bytes, PSNR (peak = max - min of the chunk), subbands of the packet tree,
seconds to encode, Mvoxel/s to decode.
"""

import argparse
import time
from collections.abc import Iterator, Sequence

import numpy as np

from benchmarks.harness.data import chunks
from benchmarks.harness.markdown import markdown
from benchmarks.harness.study import Row, options, run
from inr_codec.layers.residual.encode import ResidualEncoder
from inr_codec.layers.residual.packet_tree import unpack_packet_tree
from inr_codec.layers.residual.payload import HEADER, decode_residual
from inr_codec.metrics import psnr


def measure(arguments: argparse.Namespace) -> Iterator[Row]:
    """Rows, after kernels were compiled."""
    warm = np.random.default_rng(0).random((8, 8, 8), np.float32)
    decode_residual(ResidualEncoder(warm).encode(200).payload, warm.shape)
    for name, chunk in chunks(arguments.volumes, arguments.names).items():
        for ratio in arguments.ratios:
            begun = time.perf_counter()
            encoder = ResidualEncoder(chunk.astype(np.float32))
            payload = encoder.encode(chunk.nbytes // ratio, arguments.effort).payload
            encoded = time.perf_counter()
            decoded = decode_residual(payload, chunk.shape)
            seconds = time.perf_counter() - encoded
            tree = payload[HEADER : HEADER + payload[HEADER - 1]] if payload else b""
            yield {
                "chunk": name, "ratio": ratio, "bytes": len(payload), "psnr": psnr(chunk, decoded),
                "subbands": len(unpack_packet_tree(chunk.shape, tree)[1]) if payload else 0,
                "encode_s": encoded - begun, "decode_Mvoxel_s": chunk.size / seconds / 1e6,
            }  # fmt: skip


def table(rows: Sequence[Row]) -> str:
    """A line for each row."""
    head = ["chunk", "ratio", "bytes", "PSNR, dB", "subbands", "encode, s", "decode, Mvoxel/s"]
    return markdown(head, [
        [
            row["chunk"], f"{row['ratio']}", f"{row['bytes']}", f"{row['psnr']:.2f}", f"{row['subbands']}",
            f"{row['encode_s']:.2f}", f"{row['decode_Mvoxel_s']:.1f}",
        ]
        for row in rows
    ])  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = options(__doc__)
    parser.add_argument("--ratios", type=int, nargs="+", default=[64, 256])
    parser.add_argument("--effort", type=int, default=1)
    run(__file__, parser, measure, table)


if __name__ == "__main__":
    main()
