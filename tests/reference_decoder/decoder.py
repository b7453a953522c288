"""A second decoder: plain Python and numpy, written from FORMAT.md, no code of the package.

The residual and the correction layer are read by residual.py and correction.py, labels and missing voxels by labels.py.
"""

import base64
import hashlib
import itertools
import math
import zlib

import numpy as np

from .bits import Bits, Bytes, unshuffled
from .correction import decode as corrected
from .frame import Frame
from .labels import labels, missing
from .residual import decode as residual

ONE = 1 << 64


class Integers:
    """Section 3.1; `group` names the table of a slot."""

    def __init__(self, data: bytes, group) -> None:
        self.bits, self.group, self.mean, self.table = Bits(data), group, {}, {}

    def start(self, c: int, kind: str, e: int) -> int:
        """P of an entry before any observation."""
        m = max((5 + 2 * (c % 2)) * 2 ** (c // 2) // 4, 1)
        r = ONE * m // (m + 16)

        def power(k: int) -> int:
            result, square = ONE, r
            while k:
                if k & 1:
                    result = result * square >> 64
                square = square * square >> 64
                k >>= 1
            return result

        if kind in "TS":
            h = power(2**e // (2 if kind == "T" else 4))
            q = h * ONE // (ONE + h)
        else:
            q = r if kind == "Z" else power(2**e)
        return min(max(q >> 42, 1 << 12), (1 << 22) - (1 << 12))

    def modelled(self, group: int, c: int, kind: str, e: int = 0, t: int = 0) -> int:
        """One bit of a table."""
        key = (group, c, kind, e, t)
        p, n = self.table.get(key) or (self.start(c, kind, e), 6)
        bit = self.bits.bit(min(max(p >> 6, 1), 65535))
        p += (((4194303 if bit else 0) - p) * (131072 // (2 * n + 3))) >> 16
        self.table[key] = p, min(n + 1, 120)
        return bit

    def read(self, slot: int) -> int:
        """The next integer."""
        mean, g = self.mean.get(slot, 256), self.group(slot)
        o = mean.bit_length() - 1 if mean >= 2 else 0
        c = min(2 * o + (mean >> (o - 1) & 1 if o else 0), 39)
        size = e = sign = 0
        if self.modelled(g, c, "Z"):
            sign = self.bits.bit(32768)
            while e < 24 and self.modelled(g, c, "E", e):
                e += 1
            size = 1
            if e > 0:
                t = self.modelled(g, c, "T", e)
                size = 2 + t
            if e > 1:
                size = 2 * size + self.modelled(g, c, "S", e, t)
            for _ in range(e - 2):
                size = 2 * size + self.bits.bit(32768)
            size = min(size, (1 << 24) - 1)
        self.mean[slot] = mean + ((16 * size - mean + 4) >> 3)
        return -size if sign else size


def blocks_of(shape, integers: Integers) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Offsets and sizes of the leaves of the tree."""
    found = []

    def visit(offset, size) -> None:
        halved = [n >= 16 for n in size]
        if not any(halved) or integers.read(0) == 0:
            found.append((offset, size))
            return
        halves = [
            ((o, n - n // 2), (o + n - n // 2, n // 2)) if split else ((o, n),)
            for o, n, split in zip(offset, size, halved)
        ]
        for child in itertools.product(*halves):
            visit(tuple(o for o, _ in child), tuple(n for _, n in child))

    visit((0,) * len(shape), tuple(shape))
    return found


def widths(inputs: int, depth: int, size: int, funnel: int) -> list[int]:
    """Inputs, hidden widths, 1."""
    hidden = depth - 2
    if hidden == 0:
        return [inputs, size, 1]
    first = max(1, (2 * funnel * size + 16 * hidden) // (32 * hidden))
    return [inputs, first, *(size // hidden + (i < size % hidden) for i in range(hidden)), 1]


def splitmix(block: int, count: int) -> np.ndarray:
    """u_1 .. u_count of a block."""
    out, mask = [], ONE - 1
    for i in range(1, count + 1):
        z = ((block << 32) + i) * 0x9E3779B97F4A7C15 & mask
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & mask
        z = (z ^ z >> 27) * 0x94D049BB133111EB & mask
        out.append(((z ^ z >> 31) >> 11) * 2.0**-53)
    return np.array(out)


def starts_of(shapes, block: int, w0: float, octaves: int, encoded: int) -> list[np.ndarray]:
    """What symbols are added to, tensor by tensor."""
    u, at, out = splitmix(block, sum(math.prod(s) for s in shapes)), 0, []
    for t, shape in enumerate(shapes):
        part = u[at : at + math.prod(shape)].reshape(shape)
        at += part.size
        n = shapes[t - t % 2][1]
        if t % 2:
            start = (-1 + 2 * part) / math.sqrt(n) * (not octaves and t < len(shapes) - 1)
        elif octaves:
            a = math.sqrt(6 / n)
            start = -a + 2 * a * part
            if t == 0 or (t % 4 == 0 and t < len(shapes) - 2):
                octave = np.tile(np.repeat(np.arange(octaves), 2), encoded // (2 * octaves))
                flat = math.sqrt(octaves / sum(2.0**-k for k in range(octaves)))
                start[:, n - encoded :] *= 2.0 ** (-octave / 2) * flat
        else:
            a = 1 / n if t == 0 else math.sqrt(6 / n) / w0
            start = -a + 2 * a * part
        out.append(np.float32(start))
    return out


def prior_starts(prior: str, name: bytes, axes: int, depth: int, funnel: int, w0: int) -> dict[int, np.ndarray]:
    """Starts of a prior by network size."""
    packed = base64.b64decode(prior)
    if hashlib.sha256(packed).digest()[:8] != name:
        raise ValueError("another prior")
    data, found = Bytes(packed), {}
    assert data.take(5) == b"INRP\x01"
    assert data.take(3) == bytes([axes, depth, funnel])
    assert int.from_bytes(data.take(2), "little") == w0
    for _ in range(data.byte()):
        size = int.from_bytes(data.take(2), "little")
        wide = widths(axes, depth, size, funnel)
        count = sum(b * (a + 1) for a, b in zip(wide, wide[1:]))
        found[size] = np.frombuffer(data.take(2 * count), "<f2").astype(np.float32)
    return found


def network(payload: bytes, shape, prior: str | None) -> tuple[np.ndarray, list]:
    """Unit intensities and the partition."""
    data = Bytes(payload)
    head, funnel = data.byte(), data.byte()
    depth, architecture = head & 31, head >> 5
    w0 = octaves = encoded = 0
    seen = list(range(len(shape)))
    if architecture == 1:
        octaves = data.byte()
        seen = [a for a, n in enumerate(shape) if n > 1]
        encoded = 2 * octaves * len(seen)
    else:
        w0 = int.from_bytes(data.take(2), "little")
    learnt = None
    if architecture == 2:
        learnt = prior_starts(prior or "", data.take(8), len(shape), depth, funnel, w0)
    integers = Integers(data.rest(), lambda slot: int(slot >= 5 + 2 * depth))
    blocks = blocks_of(shape, integers)
    out = np.zeros(shape, np.float32)
    size, std_code, steps = 0, 16, [24] * (2 * depth)
    for number, (offset, extent) in enumerate(blocks):
        where = tuple(slice(o, o + n) for o, n in zip(offset, extent))
        size += integers.read(1)
        if size == 0:
            out[where] = np.float32(integers.read(2) / 65535)
            continue
        mean_code = integers.read(3)
        std_code += integers.read(4)
        std = 2.0 ** (-std_code / 4)
        wide = widths(encoded or len(seen), depth, size, funnel)
        shapes = []
        for k in range(1, depth + 1):
            again = encoded if k % 2 and 1 < k < depth else 0
            shapes += [(wide[k], wide[k - 1] + again), (wide[k],)]
        if learnt:
            cuts = np.cumsum([math.prod(s) for s in shapes])[:-1]
            starts = [a.reshape(s) for a, s in zip(np.split(learnt[size], cuts), shapes)]
        else:
            starts = starts_of(shapes, number, w0 / 16, octaves, encoded)
        tensors = []
        for t, start in enumerate(starts):
            steps[t] += integers.read(5 + t)
            symbols = np.array([integers.read(5 + 2 * depth + t) for _ in range(start.size)]).reshape(start.shape)
            tensors.append(np.float32(start.astype(float) + symbols * 2.0 ** (-steps[t] / 4)))
        axes = [np.float32([-1 + 2 * i / (n - 1) if n > 1 else 0 for i in range(n)]) for n in extent]
        x = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(shape))[:, seen].astype(float)
        if octaves:
            turns = [2**k * x[:, a] for a in range(len(seen)) for k in range(octaves)]
            angles = [math.pi * (turn - 2 * np.round(turn / 2)) for turn in turns]
            x = np.stack([f(angle) for angle in angles for f in (np.sin, np.cos)], -1)
        h = x
        for k in range(1, depth + 1):
            if octaves and k % 2 and 1 < k < depth:
                h = np.concatenate([h, x], 1)
            h = h @ tensors[2 * k - 2].T.astype(float) + tensors[2 * k - 1]
            if k < depth:
                h = np.maximum(h, 0) if octaves else np.sin(w0 / 16 * h)
        out[where] = (mean_code * std / 4 + std * h).reshape(extent)
    return out, blocks


def deblock(payload: bytes, u: np.ndarray, blocks: list) -> None:
    """The filter across faces, in place."""
    s = np.float32(2.0 ** (-payload[0] / 4))
    bits = iter(np.unpackbits(np.frombuffer(payload[1:], np.uint8)))
    faces = [(a, box) for box in blocks for a in range(u.ndim) if box[0][a] and next(bits)]
    for axis, (offset, extent) in sorted(faces, key=lambda face: face[0]):
        where = [slice(o, o + n) for o, n in zip(offset, extent)]

        def at(step: int) -> tuple:
            here = offset[axis] + step  # noqa: B023
            return tuple(slice(here, here + 1) if a == axis else w for a, w in enumerate(where))  # noqa: B023

        p1, p0, q0, q1 = (u[at(step)].copy() for step in (-2, -1, 0, 1))
        on = (abs(q0 - p0) < 4 * s) & (abs(p1 - p0) < 2 * s) & (abs(q1 - q0) < 2 * s)
        d = np.where(on, np.clip((3 * (q0 - p0) - (q1 - p1)) / 8, -s / 2, s / 2), 0)
        u[at(-1)] = p0 + d
        u[at(0)] = q0 - d


def filtered(payload: bytes, u: np.ndarray) -> np.ndarray:
    """The filter layer."""
    axes, first, second, scale, centre, width = payload[:6]
    shape = u.shape
    u = u.reshape([n for a, n in enumerate(shape) if axes >> a & 1]).astype(float)
    scale, centre, width = 2.0 ** (-scale / 8), centre / 255, 2.0 ** (-width / 4)

    def moved(values: np.ndarray, step) -> np.ndarray:
        index = [np.clip(np.arange(n) + s, 0, n - 1) for n, s in zip(values.shape, step)]
        return values[np.ix_(*index)]

    def soft(x: np.ndarray) -> np.ndarray:
        return x / (1 + abs(x))

    def sides(step) -> tuple[np.ndarray, np.ndarray]:
        return tuple(soft((moved(u, [sign * s for s in step]) - u) / scale) for sign in (1, -1))

    def box(reach: int) -> np.ndarray:
        mean = u
        for a in range(u.ndim):
            unit = [int(b == a) for b in range(u.ndim)]
            mean = sum(moved(mean, [n * k for n in unit]) for k in range(-reach, reach + 1)) / (2 * reach + 1)
        return mean

    steps = list(itertools.product((-1, 0, 1), repeat=u.ndim))
    near = [t for t in steps if 1 <= sum(map(abs, t)) <= 2 and next(v for v in t if v) == 1]
    far = [[n * (b == a) for b in range(u.ndim)] for n in (2, 3) for a in range(u.ndim)]
    pairs = [sides(t) for t in near]
    inputs = [a + b for a, b in pairs] + [sum(sides(t)) for t in far]
    inputs += [sum(abs(a) + abs(b) for a, b in pairs) / (2 * len(near))]
    inputs += [soft((box(1) - u) / scale), soft((box(3) - u) / scale), soft((u - centre) / width)]
    h = np.stack(inputs, -1).reshape(-1, len(inputs))
    integers, code = Integers(payload[6:], lambda slot: int(slot > 0)), 16
    sizes = [len(inputs), first, *([second] if second else []), 1]
    for k, (n, m) in enumerate(zip(sizes, sizes[1:])):
        pair = []
        for t, count in ((2 * k, n * m), (2 * k + 1, m)):
            code += integers.read(0)
            pair.append(np.float32([integers.read(1 + t) * 2.0 ** (-code / 4) for _ in range(count)]).astype(float))
        h = h @ pair[0].reshape(m, n).T + pair[1]
        if k < len(sizes) - 2:
            h = np.sin(5 * h)
    return (u + scale * h.reshape(u.shape)).astype(np.float32).reshape(shape)


def rounded(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """float64 to the dtype."""
    if dtype.kind != "f":
        return np.rint(values).astype(dtype)
    return values.astype(np.float32).astype(dtype) if dtype.itemsize == 2 else values.astype(dtype)


def mask(payload: bytes, values: np.ndarray) -> None:
    """Put masked bits into a C-ordered array."""
    data, size = Bytes(payload), values.itemsize
    extent = tuple(data.varint() for _ in values.shape)
    padding = data.take(size)
    patterns = [data.take(size) for _ in range(data.varint())]
    bits = values.view(f"u{size}")
    inside = tuple(slice(0, n) for n in extent)
    kept = bits[inside].copy()
    if patterns:
        kinds = np.frombuffer(zlib.decompress(data.rest()), np.uint8).reshape(extent)
        for k, pattern in enumerate(patterns, 1):
            kept[kinds == k] = int.from_bytes(pattern, "little")
    bits[...] = int.from_bytes(padding, "little")
    bits[inside] = kept


def decode(stream: bytes, prior: str | None = None) -> np.ndarray:
    """The array of a stream; `prior`: what the metadata hold, if the stream names one."""
    frame = Frame(stream)
    layers, shape, lo, hi = frame.layers, frame.shape, frame.lo, frame.hi
    if frame.code == 31:
        if 8 in layers:
            values = labels(layers[8], shape)
            dtype = values.dtype
        else:
            exact = Bytes(layers[3])
            dtype = np.dtype(exact.take(exact.varint()).decode("ascii"))
            values = np.frombuffer(unshuffled(zlib.decompress(exact.rest()), dtype.itemsize), dtype)
        return np.array(values.reshape(shape), dtype.newbyteorder(">") if frame.big else dtype, order=frame.order)
    dtype = frame.dtype
    u, blocks = np.zeros(shape, np.float32), []
    if 1 in layers:
        u, blocks = network(layers[1], shape, prior)
    if 6 in layers:
        deblock(layers[6], u, blocks)
    if 4 in layers:
        u = u + residual(layers[4], shape)
    if 10 in layers:
        u = u + residual(layers[10][1:], shape, layers[10][0])
    if 5 in layers:
        u = filtered(layers[5], u)
    values = rounded(lo + (hi - lo) * np.clip(np.nan_to_num(u.astype(float)), 0, 1), dtype)
    if 7 in layers:
        values = corrected(layers[7], shape, lo, hi, dtype, values if 4 in layers else None)
    if lo == hi:
        values = np.full(shape, lo).astype(dtype)
    covers = [(cover, layers[kind]) for kind, cover in ((2, mask), (9, missing)) if kind in layers]
    return frame.array(values, lambda found: [cover(payload, found) for cover, payload in covers])
