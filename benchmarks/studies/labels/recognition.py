"""Which images are taken for labels: what `is_labelled` counts in label images and in intensities.

    python -m benchmarks.studies.labels.recognition --volumes FOLDER

Real masks whole and in chunks, made labels that look like something else, and intensities that look like labels.
"""

import argparse
import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from benchmarks.harness.labels import Named, intensities, labelled, masks, more_labels, stacks
from benchmarks.harness.markdown import markdown
from benchmarks.harness.study import Row, options, run
from inr_codec.layers.labels.payload import as_bits, volume_of
from inr_codec.layers.labels.recognise import BOUNDARY, COLOURED, JUNCTION, NEXT, SINGLE, STEPS, counted, is_labelled

PART = (32, 120, 120)


def parts(where: str | None) -> Named:
    """Chunks of real masks that hold a hundred voxels or more that are no background."""
    for name, stack in stacks(where, "masks"):
        for start in itertools.product(*(range(0, n, side) for n, side in zip(stack.shape, PART))):
            part = stack[tuple(slice(a, a + side) for a, side in zip(start, PART))]
            if np.count_nonzero(part) >= 100:
                yield f"{name} from {start}", part


def measure(arguments: argparse.Namespace) -> Iterator[Row]:
    """A row for each image."""
    where = arguments.volumes
    whole = ((name, image) for name, image in masks() if "speckle" not in name)
    labels = labelled(where), parts(where), more_labels(), whole
    groups = (*(("labels", images) for images in labels), ("image", intensities(where)))
    for kind, images in groups:
        for name, image in images:
            chunk = np.ascontiguousarray(image)
            counts, values = counted(as_bits(chunk).reshape(volume_of(chunk.shape)))
            steps, following = counts[STEPS : STEPS + 3], counts[NEXT : NEXT + 3]
            yield {
                "kind": kind, "image": name, "values": values,
                "alone": counts[SINGLE] / max(counts[COLOURED], 1),
                "texture": counts[JUNCTION] / max(counts[BOUNDARY], 1),
                "gradient": float(np.min(following[steps > 0] / steps[steps > 0], initial=1.0)),
                "boundary": counts[BOUNDARY] / chunk.size, "recognised": is_labelled(chunk),
            }  # fmt: skip


def table(rows: Sequence[Row]) -> str:
    """A line for each image, and how many were told right."""
    lines = [
        [
            row["kind"], row["image"], f"{row['values']:,}", f"{row['alone']:.5f}", f"{row['texture']:.3f}",
            f"{row['gradient']:.2f}", f"{row['boundary']:.3f}", "yes" if row["recognised"] else "no",
        ]
        for row in rows if " from (" not in row["image"] or not row["recognised"]
    ]  # fmt: skip
    right = {kind: [row["recognised"] == (kind == "labels") for row in rows if row["kind"] == kind]
             for kind in ("labels", "image")}  # fmt: skip
    chunks = [row["alone"] for row in rows if " from (" in row["image"]]
    told = f"Of {len(chunks)} chunks of real masks those are shown that were not recognised; most alone in one: "
    told += f"{max(chunks, default=0):.5f}. Labels recognised: {sum(right['labels'])} of {len(right['labels'])}. "
    told += f"Images that were not: {sum(right['image'])} of {len(right['image'])}."
    head = ["what it is", "image", "values", "alone", "texture", "gradient", "boundary", "recognised"]
    return f"{markdown(head, lines)}\n\n{told}"


def main() -> None:
    """Measure and print."""
    run(__file__, options(__doc__), measure, table)


if __name__ == "__main__":
    main()
