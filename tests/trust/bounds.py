"""Bounds and exactness over all dtypes, through the layers that carry them.

    python -m tests.trust.bounds [SECONDS] [SEED]

Random arrays: every dtype and byte order, 1 to 4 axes, smooth to noisy, with holes, with few values, at the ends of
the dtype. Each is encoded with a random `max_error=` or with `lossless=True`. Arrays whose stream has a correction
layer are told apart from those that were stored as they are: only the first say something of that layer. Errors are
computed in Python's own integers and fractions.
"""

import json
import sys
import time
from collections import Counter
from fractions import Fraction
from typing import Any

import numpy as np
from samples import field

from inr_codec import INRCodec, decode, inspect

DTYPES = "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8", "b1"
SHAPES = (700,), (26, 30), (9, 10, 11), (3, 4, 8, 9), (1, 1, 600), (600, 1, 1), (40, 40, 4)


def run(seconds: float, seed: int = 0) -> dict[str, Any]:
    """Arrays for so many seconds: how many, which of them reached the correction layer, how many broke a promise."""
    rng, counts = np.random.default_rng(seed), Counter(arrays=0, corrected=0, broken=0)
    dtypes: Counter = Counter()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        values = array(rng)
        exact = bool(rng.random() < 0.3)
        bound = 0.0 if exact else bound_for(values, rng)
        options = {"lossless": True} if exact else {"max_error": bound, "effort": "fast"}
        stream = INRCodec(**options).encode(values)
        decoded = decode(stream)
        counts["arrays"] += 1
        if "correction" in inspect(stream).layers:
            counts["corrected"] += 1
            dtypes[values.dtype.str] += 1
        if not (decoded.tobytes() == values.tobytes() if exact else keeps(values, decoded, bound)):
            counts["broken"] += 1
            print(f"broken: seed {seed}, array {counts['arrays']}, {values.dtype.str} {values.shape}, bound {bound}")
    return {"seconds": seconds, **counts, "dtypes corrected": len(dtypes)}


def array(rng: np.random.Generator) -> np.ndarray:
    """A random array of one of the dtypes."""
    dtype = np.dtype(rng.choice(DTYPES)).newbyteorder(rng.choice(["<", ">"]))
    native = dtype.newbyteorder("=")
    shape = SHAPES[rng.integers(len(SHAPES))]
    if native.kind == "b":
        return field(shape, "f4", 0.1, int(rng.integers(99))) > 30
    values = field(shape, native, float(rng.choice([0, 0.02, 0.3, 3])), int(rng.integers(10**6)))
    if native.kind == "f":
        values = (values * float(rng.choice([1e-3, 1, 500]))).astype(native)
        if rng.random() < 0.3:
            values[rng.random(shape) < 0.05] = rng.choice([np.nan, np.inf, -0.0])
    elif rng.random() < 0.2:
        values[rng.random(shape) < 0.05] = np.iinfo(native).max
    if rng.random() < 0.2:
        with np.errstate(invalid="ignore"):
            values = values // native.type(7) * native.type(7)
    order = str(rng.choice(["C", "F"]))
    return np.array(values.astype(dtype), order=order)  # type: ignore[call-overload]


def bound_for(values: np.ndarray, rng: np.random.Generator) -> float:
    """A share of the range, from far below a step of the dtype to all of it."""
    finite = values[np.isfinite(values)].astype(float)
    span = float(np.ptp(finite)) if finite.size else 1.0
    return max(span * float(10 ** rng.uniform(-5, 0)), 1e-30)


def keeps(values: np.ndarray, decoded: np.ndarray, bound: float) -> bool:
    """Whether no finite voxel is further off than the bound, and all others are the same."""
    finite = np.isfinite(values)
    if not np.array_equal(values[~finite], decoded[~finite], equal_nan=values.dtype.kind == "f"):
        return False
    pairs = zip(values[finite].tolist(), decoded[finite].tolist(), strict=True)
    return all(abs(Fraction(a) - Fraction(b)) <= Fraction(bound) for a, b in pairs if a != b)


if __name__ == "__main__":
    print(json.dumps(run(*map(float, sys.argv[1:2] or ["60"]), *map(int, sys.argv[2:3]))))
