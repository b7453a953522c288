"""A second decoder of the correction layer: plain Python and numpy, written from FORMAT.md, no code of the package."""

import math
import struct
import zlib

import numpy as np

from .bits import Bits, Bytes, Mixer, at, octaves, three, unshuffled

BEFORE = [(0, 0, -2), (0, -1, 0), (0, -2, 0), (0, -1, -1), (0, -1, 1), (0, -1, -2), (0, -2, 1), (-1, 0, 0), (-1, 0, -1)]
BEFORE += [(-1, 0, 1), (-1, -1, 0), (-1, 1, 0), (-1, -1, -1), (-1, -1, 1), (-1, 1, -1), (-1, 1, 1), (-2, 0, 0)]
NEAR = [(0, 0, -1), (0, -1, 0), (-1, 0, 0), (0, -1, -1), (0, -1, 1), (0, 0, -2), (0, -2, 0), (-1, 0, -1), (-1, 0, 1)]
NEAR += [(-1, -1, 0), (-1, 1, 0)]
FAR = [(-2, 0, 0), (-1, -1, -1), (-1, -1, 1), (-1, 1, -1), (-1, 1, 1)]
FACES = [(0, 0, -1), (0, 0, 1), (0, -1, 0), (0, 1, 0), (-1, 0, 0), (1, 0, 0)]
AROUND = {(0, 0, -1): 2, (0, -1, 0): 2, (0, -1, -1): 1, (0, -1, 1): 1, (0, 0, -2): 1}
AROUND |= {(-1, 0, 0): 2, (-1, 0, -1): 1, (-1, 0, 1): 1, (-1, -1, 0): 1, (-1, 1, 0): 1}


def bins(v: int) -> int:
    """Quarter octaves of v + 1."""
    return min(octaves(v + 1, 4), 95)


def octave(v: int, n: int) -> int:
    """Signed octave."""
    a = min(bins(abs(v)) >> 2, n)
    return n + a if v >= 0 else n - a


def third(v: int) -> int:
    """Near zero, above, below."""
    return 1 if v > 4 else 2 if v < -4 else 0


class LeastSquares:
    """The predictor."""

    def __init__(self, start: dict[int, float]) -> None:
        self.forget()
        for i, w in start.items():
            self.w[i] = w

    def forget(self) -> None:
        """Start again."""
        self.w, self.p = np.zeros(17), np.eye(17)

    def predict(self, x: list[float]) -> float:
        """Its prediction."""
        self.x, rise = x, 0.0
        for w, v in zip(self.w.tolist(), x):
            rise += w * v
        if not abs(rise) < 1e12:
            self.forget()
            rise = 0.0
        self.rise = rise
        return rise

    def learn(self, target: float) -> None:
        """One step."""
        p, h, trace = np.zeros(17), 0.0, 0.0
        for row, v in zip(self.p, self.x):
            p = p + row * v
        for v, q in zip(self.x, p.tolist()):
            h += v * q
        if not h > -0.5:
            self.forget()
            return
        share = 1.0 / (0.998 + h)
        self.w = self.w + p * ((target - self.rise) * share)
        if h > 2.0**-13:
            for i in range(17):
                trace += float(self.p[i, i])
            self.p = (self.p - (p[:, None] * p[None, :]) * share) * (1 / 0.998 if trace < 17 else 1.0)


class Reader:
    """Reads levels or corrections."""

    def __init__(self, data: bytes, shape, low: int, high: int, squares: LeastSquares) -> None:
        self.mixer, self.weights, self.squares = Mixer(Bits(data)), {}, squares
        self.t, self.e, self.low, self.high = np.zeros(shape, np.int64), np.zeros(shape, np.int64), low, high

    def bit(self, decision: int, keys: list, group: int) -> int:
        """One modelled bit."""
        weights = self.weights.setdefault((decision, group), [19660] * 5 + [0])
        return self.mixer.bit([(decision, *key) for key in keys], weights, 64)[0]

    def voxel(self, place, inputs: list[float], offset: float, contexts) -> None:
        """One voxel: contexts(c, m, s, r) are the last three contexts."""
        rise = self.squares.predict(inputs)
        m = math.floor(min(max(offset + rise, float(self.low)), float(self.high)) * 16 + 0.5)
        c = (m + 8) >> 4
        s = -1 if m < 16 * c else 1
        total = sum(n * abs(at(self.e, place, d)) for d, n in AROUND.items())
        a = bins(total)
        k = max((27 * (total // 13) >> 10).bit_length() - 1, 0)
        signs = [third(s * at(self.e, place, d)) for d in ((0, 0, -1), (0, -1, 0), (-1, 0, 0))]
        keys = [(0, a, abs(m - 16 * c)), (1, *signs, a >> 1)]
        keys += [(2 + i, *key) for i, key in enumerate(contexts(c, m, s, a >> 1))]
        t = min(max(c + s * self.read(k, keys, min(a >> 2, 23)), self.low), self.high)
        self.t[place] = t
        self.e[place] = min(max(16 * t - m, -(1 << 24)), 1 << 24)
        self.squares.learn(t - offset)

    def read(self, k: int, keys: list, group: int) -> int:
        """One error."""
        if k == 0 and not self.bit(0, keys, group):
            return 0
        negative, first, n = self.bit(1 if k == 0 else 2, keys, group), 3 if k == 0 else 15, 0
        while n < 20 and self.bit(first + min(n, 11), keys, group):
            n += 1
        raw = self.mixer.bits
        if n == 20:
            count, value = 0, 1
            while count < 32 and raw.bit(32768):
                count += 1
            for _ in range(count):
                value = 2 * value + raw.bit(32768)
            n = 19 + value
        for _ in range(k):
            n = 2 * n + raw.bit(32768)
        if k == 0:
            n += 1
            return -n if negative else n
        return -n - 1 if negative else n


def read_levels(data: bytes, shape, top: int) -> np.ndarray:
    """Levels 0 .. top without a base."""
    reader = Reader(data, shape, 0, top, LeastSquares({1: 0.25, 7: 0.5}))

    def v(place, step) -> int:
        z, y, x = (a + b for a, b in zip(place, step))
        z0, y0, _ = place
        if z == z0:
            if x < 0 and y == y0:
                return v((z0, y0, 0), (0, -1, 0))
            if y < 0:
                z, y = z - 1, 0
                if z < 0:
                    return 0
        elif z0 == 0:
            return v(place, (0, -1, step[2]))
        return int(reader.t[max(z, 0), min(max(y, 0), shape[1] - 1), min(max(x, 0), shape[2] - 1)])

    for place in np.ndindex(*shape):
        w, n, b = v(place, (0, 0, -1)), v(place, (0, -1, 0)), v(place, (-1, 0, 0))
        flat = 8 * (w + n + 2 * b - v(place, (-1, 0, -1)) - v(place, (-1, -1, 0)))

        def contexts(c, m, s, r, w=w, n=n, b=b, flat=flat):
            near = [octave(s * (value - c), 5) for value in (w, n, b)]
            return [(octave(s * ((flat - m) >> 2), 10), r), (63 * c // top, r), near]

        reader.voxel(place, [float(v(place, d) - w) for d in BEFORE], float(w), contexts)
    return reader.t


def read_corrections(data: bytes, base: np.ndarray, span: int, bottom: int, top: int, snap: bool = False) -> np.ndarray:
    """Corrections of a base in sixteenths."""
    shape = base.shape
    reader = Reader(data, shape, bottom, top, LeastSquares({}))

    for place in np.ndindex(*shape):
        here = int(base[place])
        sides = [tuple(min(max(a + b, 0), n - 1) for a, b, n in zip(place, step, shape)) for step in FACES]
        rises = [int(base[side]) - here for side in sides]
        before = [at(reader.t, place, d) for d in NEAR]
        busy = sum(value != 0 for value in before + [at(reader.t, place, d) for d in FAR])

        def contexts(c, m, s, r, rises=rises, busy=busy, here=here):
            return [
                (octave(s * sum(rises), 10), r),
                (63 * here // max(span, 1), r),
                (bins(sum(map(abs, rises))) >> 1, busy),
            ]

        start = (here - 16 * ((here + 8) >> 4)) / 16 if snap else 0.0
        reader.voxel(place, [float(value) for value in before] + [rise / 16 for rise in rises], start, contexts)
    return reader.t


class Multiples:
    """Section 10.5."""

    def __init__(self, step: float, fine: int) -> None:
        self.step, self.fine = step, fine
        self.coarse = 2.0 ** (math.frexp(step)[1] - 1)

    def value(self, i: int) -> float:
        """Of an index."""
        if not self.fine or abs(i) <= self.fine:
            return self.step * i
        return math.copysign(self.step * self.fine + self.coarse * (abs(i) - self.fine), i)

    def index(self, v: float) -> float:
        """Of a value."""
        size = abs(v) / self.step
        if self.fine and size > self.fine:
            size = self.fine + (abs(v) - self.step * self.fine) / self.coarse
        return math.copysign(size, v)

    def nearest(self, v: float) -> int:
        """Of a value, whole."""
        return math.floor(self.index(v) + 0.5)


def decode(payload: bytes, shape, lo: float, hi: float, dtype, base: np.ndarray | None = None) -> np.ndarray:
    """Values of a payload; `base`: what the residual layer before it decodes to."""
    dtype, flat, kind, data = np.dtype(dtype), three(shape), payload[8], Bytes(payload[9:])
    step, fixed, first, last = 1.0, None, 0, 0
    if kind != 1:
        step = struct.unpack("<d", data.take(8))[0]
    if kind > 2:
        fixed = Multiples(step, data.varint())
        first, last = fixed.nearest(lo), fixed.nearest(hi)
        kind = {3: 0, 4: 2, 5: 1}[kind]
    bottom = -data.varint() if kind == 2 else 0
    if kind == 1:
        top = data.varint() - 1
        gaps = unshuffled(zlib.decompress(data.take(data.varint())), 4)
        table = np.cumsum(np.frombuffer(gaps, "<u4").astype(np.int64))
    else:
        top = last - first if fixed and kind == 0 else data.varint()
    t = np.zeros(flat, int)
    below = None if base is None else base.reshape(flat).astype(float)
    if below is None and top:
        t = read_levels(data.rest(), flat, top)
    elif top > bottom:
        if fixed:
            sixteenths = np.array([math.floor((fixed.index(v) - first) * 16 + 0.5) for v in below.flat], int)
            span = 16 * (last - first)
        else:
            sixteenths = np.floor((below - lo) * (16 / step) + 0.5).astype(int).reshape(-1)
            span = int((hi - lo) * (16 / step) + 0.5)
        sixteenths = np.clip(sixteenths, 0, span).reshape(flat)
        t = read_corrections(data.rest(), sixteenths, span, bottom, top, fixed is not None)
    if kind == 1:
        t = table[t]
    if fixed is None:
        values = (lo if below is None else below) + step * t
        values = np.minimum(np.maximum(values, lo), hi)
    else:
        starts = [first] * t.size if below is None else [fixed.nearest(v) for v in below.flat]
        values = np.array([fixed.value(start + int(i)) for start, i in zip(starts, t.flat)])
        info = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
        most = float(info.max) if dtype.kind == "f" else min(float(info.max), 2.0**53)
        values = np.clip(values, max(float(info.min), -most), most)
    values = values.reshape(shape)
    return values.astype(dtype) if dtype.kind == "f" else np.rint(values).astype(dtype)
