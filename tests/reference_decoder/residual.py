"""A second decoder of the residual layer: plain Python and numpy, written from FORMAT.md, no code of the package."""

import math
import struct

import numpy as np

from .bits import Bits, Mixer, at, octaves, squash, three


class Band:
    """A leaf of the tree."""

    def __init__(self, offset, size, levels, high) -> None:
        self.offset, self.size, self.levels, self.high = offset, size, levels, high
        self.level = np.zeros(size, int)
        self.cells = np.zeros([-(-n // 4) for n in size], int)
        self.parent, self.cousins = None, []

    def m(self, z: int, y: int, x: int) -> int:
        """Magnitude as the contexts see it."""
        a = min(abs(at(self.level, (z, y, x))), 599)
        return min(a, 20) + math.isqrt(max(a - 20, 0))

    def s(self, z: int, y: int, x: int) -> int:
        """Sign as the contexts see it."""
        return min(max(at(self.level, (z, y, x)), -4), 4)

    def cell(self, z: int, y: int, x: int) -> int:
        """Bit of a cell."""
        return at(self.cells, (z, y, x))


def tree(shape, data: bytes):
    """Splits and bands."""
    bits, p = Bits(data), [20000] * 4 + [26000] * 4 + [36000] * 4 + [50000] * 4 + [32768] * 16

    def bit(i: int) -> int:
        b = bits.bit(p[i])
        p[i] = p[i] + ((65536 - p[i]) >> 4) if b else p[i] - (p[i] >> 4)
        return b

    splits, bands = [], []

    def visit(offset, size, levels, high, last) -> None:
        able = [a for a in range(3) if not high[a] and size[a] >= 2 and levels[a] < 5]
        if not able or bit(4 * sum(high) + last):
            bands.append(Band(offset, size, levels, high))
            return
        axis = next((a for a in able[:-1] if bit(16 + 4 * a + last)), able[-1])
        splits.append((axis, offset, size))
        half = (size[axis] + 1) // 2

        def put(t, v):
            return tuple(v if a == axis else t[a] for a in range(3))

        deeper = put(levels, levels[axis] + 1)
        visit(offset, put(size, half), deeper, high, axis)
        visit(put(offset, offset[axis] + half), put(size, size[axis] - half), deeper, put(high, 1), axis)

    visit((0, 0, 0), shape, (0, 0, 0), (0, 0, 0), 3)
    return splits, bands


def coarse(v: int) -> int:
    """Two bins per octave, at most 15."""
    return min(octaves(min(v, 2047) + 1, 2), 15)


def fine(v: int) -> int:
    """Four bins per octave."""
    return min(octaves(min(max(v, 0), 8191) + 8, 4) - 12, 39)


def levels_of(bands: list[Band], data: bytes) -> None:
    """Decode all levels into the bands."""
    bands.sort(key=lambda b: (-sum(b.levels), b.levels, sum(b.high), b.high))
    split = [any(b.levels[a] for b in bands) for a in range(3)]
    mixer = Mixer(Bits(data))
    magnitude_mix, cell_mix, sign_mix, v_of, t_of, met = {}, {}, {}, {}, {}, set()
    for i, band in enumerate(bands):
        used = sorted(v for v, s in zip(band.levels, split) if s) or [1]
        lev = min(max(used[len(used) // 2] - 1, 0), 7)
        o = 4 * band.high[0] + 2 * band.high[1] + band.high[2]
        k = 8 * lev + o
        best = 99
        for other in bands[:i] if o else []:
            d = [a - b for a, b in zip(other.levels, band.levels)]
            if other.high == band.high and min(d) >= -1 and 0 < sum(map(abs, d)) <= best:
                best, band.parent, h = sum(map(abs, d)), other, d
        band.cousins = [b for b in bands[:i] if o and any(b.high) and b.levels == band.levels]
        if k not in met:
            met.add(k)
            v_of[k], t_of[k] = [83886] * 15 + [4194], [0] * 72
            if k + 8 in met:
                v_of[k], t_of[k] = list(v_of[k + 8]), list(t_of[k + 8])
        v, t, parent = v_of[k], t_of[k], band.parent

        def up(index: int, a: int) -> int:
            return index >> h[a] if h[a] >= 0 else index << -h[a]  # noqa: B023

        for z, y, x in np.ndindex(*band.cells.shape):
            c = band.cell
            ax, ay, az = c(z, y, x - 1), c(z, y - 1, x), c(z - 1, y, x)
            q = c(z, y - 1, x + 1) + c(z, y - 1, x - 1) + c(z - 1, y, x + 1) + c(z - 1, y, x - 1)
            q += c(z - 1, y - 1, x) + c(z - 1, y + 1, x)
            u = min(sum(b.cell(z, y, x) for b in band.cousins), 3)
            g = 0
            if parent:
                box = [(up(4 * n, a), up(4 * n + 3, a)) for a, n in enumerate((z, y, x))]
                for p in np.ndindex(*[b - a + 3 for a, b in box]):
                    at = [a - 1 + n for (a, _), n in zip(box, p)]
                    g += parent.m(*at) * (4 if all(a <= n <= b for (a, b), n in zip(box, at)) else 1)
            g = coarse(g)
            keys = [
                ("c0", k, ax + ay + az, q > 1, g, u > 0),
                ("c1", k, g, u),
                ("c2", k, ax, ay, az, min(q, 3)),
            ]
            band.cells[z, y, x] = mixer.bit(keys, cell_mix.setdefault(lev, [26214] * 3 + [0]), 64)[0]
        seen = np.zeros(band.cells.shape, int)
        for z, y, x in np.ndindex(*band.size):
            if not band.cells[z >> 2, y >> 2, x >> 2]:
                continue

            def n(dz: int, dy: int, dx: int) -> int:
                return band.m(z + dz, y + dy, x + dx)  # noqa: B023

            f = [n(0, 0, -1), n(0, -1, 0), n(-1, 0, 0), n(0, -1, -1) + n(0, -1, 1), n(-1, 0, -1) + n(-1, 0, 1)]
            f += [n(-1, -1, 0) + n(-1, 1, 0), n(-1, -1, -1) + n(-1, -1, 1) + n(-1, 1, -1) + n(-1, 1, 1)]
            f += [n(0, 0, -2), n(0, -2, 0), n(-2, 0, 0), 0, 0, 0]
            if parent:
                p = [up(j, a) for a, j in enumerate((z, y, x))]
                d = [1 if h[a] <= 0 or (2 * j >> h[a]) & 1 else -1 for a, j in enumerate((z, y, x))]

                def pm(*e: int) -> int:
                    return parent.m(*[a + b * c for a, b, c in zip(p, d, e)])  # noqa: B023

                f[10] = pm(0, 0, 0)
                f[11] = pm(1, 0, 0) + pm(0, 1, 0) + pm(0, 0, 1)
                f[12] = pm(-1, 0, 0) + pm(0, -1, 0) + pm(0, 0, -1) + pm(1, 1, 0) + pm(0, 1, 1) + pm(1, 0, 1)
            faces = [(0, 0, -1), (0, 0, 1), (0, -1, 0), (0, 1, 0), (-1, 0, 0), (1, 0, 0)]
            same = sum(b.m(z, y, x) for b in band.cousins)
            around = sum(b.m(z + e[0], y + e[1], x + e[2]) for b in band.cousins for e in faces)
            same, around = (8 * w // max(1, len(band.cousins)) for w in (same, around))
            f += [same >> 3, around >> 3, 1]
            mean = sum(a * b for a, b in zip(f, v)) >> 12
            fa, ed, far = sum(f[:3]), sum(f[3:6]), sum(f[7:10])
            mixed = 38 * fa + 23 * (ed + far) + 15 * f[6] + 64 * f[10] + 26 * f[11] + 13 * f[12]
            mixed += (102 * same + 13 * around) >> 3
            keys = [
                (k, fine(mean)),
                (*[min(w, 3) for w in f[:3]], min(f[10], 3), lev),
                (k, coarse(2 * f[10]), coarse(f[11] + (f[12] >> 1))),
                (lev, coarse(2 * fa + ed), coarse(2 * f[10] + f[11])),
                (k, coarse((2 * fa + ed + f[6] + 2 * far) >> 1), coarse(same >> 2)),
                (lev, coarse(same >> 1), coarse(around >> 2), coarse(fa)),
                (fine(mean), coarse(2 * f[10] + (f[11] >> 1)), coarse(same >> 2)),
                (lev, fine(mixed)),
                (k, min(int(seen[z >> 2, y >> 2, x >> 2]), 3), z & 3, y & 3),
            ]
            m = sign = 0
            while m < 16:
                cls = (0, 1, 2, 3, 4, 4, 4, 4)[m] if m < 8 else 5
                weights = magnitude_mix.setdefault((cls, lev, o > 0), [9830] * 9 + [0])
                if not mixer.bit([("m", cls, j, *key) for j, key in enumerate(keys)], weights, 64)[0]:
                    break
                if m == 0:
                    sign = read_sign(
                        band, (z, y, x), o, k, h if parent else None, t, mixer, sign_mix.setdefault(lev, [16384] * 5)
                    )
                m += 1
            if m == 16:
                count, e = 0, 1
                while count < 20 and mixer.bits.bit(32768):
                    count += 1
                for _ in range(count):
                    e = 2 * e + mixer.bits.bit(32768)
                m = 15 + e
            band.level[z, y, x] = -m if sign else m
            seen[z >> 2, y >> 2, x >> 2] += m > 0
            step = 200 * min(max(256 * band.m(z, y, x) - mean, -1536), 1536) // (4 * (1 + sum(w * w for w in f)) + 10)
            v[:] = [a + step * b for a, b in zip(v, f)]


def read_sign(band: Band, place, o: int, k: int, h, t: list[int], mixer: Mixer, weights: list[int]) -> int:
    """1 for a negative coefficient."""
    z, y, x = place
    near = [(0, 0, -1), (0, 0, -2), (0, -1, 0), (0, -2, 0), (-1, 0, 0), (-2, 0, 0), (0, -1, -1), (0, -1, 1)]
    near += [(-1, 0, -1), (-1, 0, 1), (-1, -1, 0), (-1, 1, 0)]
    g = {j: band.s(z + e[0], y + e[1], x + e[2]) for j, e in enumerate(near)}
    if band.parent:
        p = [n >> s if s >= 0 else n << -s for n, s in zip(place, h)]
        g[12] = band.parent.s(*p)
        for j, a in ((13, 2), (14, 1), (15, 0)):
            g[j] = band.parent.s(*[n + (b == a) for b, n in enumerate(p)])
            g[j] -= band.parent.s(*[n - (b == a) for b, n in enumerate(p)])
    for b in band.cousins:
        first = 16 + 7 * (4 * b.high[0] + 2 * b.high[1] + b.high[2])
        for j, e in enumerate([(0, 0, 0), (0, 0, -1), (0, 0, 1), (0, -1, 0), (0, 1, 0), (-1, 0, 0), (1, 0, 0)]):
            g[first + j] = b.s(z + e[0], y + e[1], x + e[2])
    logit = min(max(sum(t[j] * w for j, w in g.items()) >> 10, -2000), 2000)
    sg = {j: int(np.sign(w)) for j, w in g.items()}
    keys = [
        ("s0", o, sg[0], sg[2], sg[4], sg[1], sg[3]),
        ("s1", k, min(max((logit + 1024) >> 6, 0), 31)),
        ("s2", o, sg[6], sg[7], sg[0], sg[2]),
        ("s3", o, sg.get(12, 0), sg[4], sg[0], sg[2]),
    ]
    bit = mixer.bit(keys, weights, logit)[0]
    for j, w in g.items():
        t[j] += (((bit << 16) - squash(logit)) * w * 30) >> 10
    return bit


def join(line: np.ndarray) -> np.ndarray:
    """One line of n samples from its halves, along the first axis."""
    n, f = line.shape[0], np.float32
    half = (n + 1) // 2
    s, d = line[:half] * f(0.869864451624781), line[half:] * f(-1.149604398860242)
    after, before = np.minimum(np.arange(n // 2) + 1, half - 1), np.maximum(np.arange(half) - 1, 0)
    here = np.minimum(np.arange(half), n // 2 - 1)
    s = s - f(0.443506852043971) * (d[before] + d[here])
    d = d - f(0.882911075530934) * (s[: n // 2] + s[after])
    s = s + f(0.052980118572961) * (d[before] + d[here])
    d = d + f(1.586134342059924) * (s[: n // 2] + s[after])
    out = np.empty_like(line)
    out[0::2], out[1::2] = s, d
    return out


def norms(n: int, count: int) -> np.ndarray:
    """Norms of the low and the last high half after `count` splits."""
    m = min(n, (16 << count) + n % (1 << count))
    unit, sizes = np.eye(m, dtype=np.float32), [m]
    for _ in range(count):
        sizes.append((sizes[-1] + 1) // 2)
    for size in reversed(sizes[:-1]):
        unit[:size] = join(unit[:size])
    short = np.sqrt((unit.astype(np.float64) ** 2).sum(axis=0))
    halves = short[: sizes[-1]], short[sizes[-1] : sizes[-2]]
    return np.concatenate([np.insert(w, np.full((n - m) >> count, 8), w[8]) if n > m else w for w in halves])


def decode(payload: bytes, shape: tuple[int, ...], first: int = 0) -> np.ndarray:
    """The array of a payload; `first`: levels along the first of four axes (section 13)."""
    if not payload:
        return np.zeros(shape, np.float32)
    flat = three(shape)
    step, mean = (struct.unpack(">f", payload[i : i + 3] + b"\0")[0] for i in (0, 3))
    splits, bands = tree(flat, payload[10 : 10 + payload[9]])
    if payload[10 + payload[9] :]:
        levels_of(bands, payload[10 + payload[9] :])
    values = np.zeros(flat, np.float32)
    points, one = (np.array(list(payload[6:9]), np.float32) - 128) / 256, np.float32(1)
    for band in bands:
        a = np.abs(band.level)
        v = np.sign(band.level).astype(np.float32) * (
            (a.astype(np.float32) + points[np.clip(a, 1, 3) - 1]) * np.float32(step)
        )
        for axis, count in enumerate(band.levels):
            if count:
                along = norms(flat[axis], count).astype(np.float32)[band.offset[axis] :][: band.size[axis]]
                v = v * (one / along).reshape([-1 if b == axis else 1 for b in range(3)])
        values[tuple(slice(o, o + n) for o, n in zip(band.offset, band.size))] = v
    for axis, offset, size in reversed(splits):
        box = tuple(slice(o, o + n) for o, n in zip(offset, size))
        values[box] = np.moveaxis(join(np.moveaxis(values[box], axis, 0)), 0, axis)
    values, sides, along = values.reshape(shape), [-(-shape[0] >> k) for k in range(first)], np.ones(shape[0], "f4")
    for count, side in enumerate(sides, 1):
        along[:side] = norms(shape[0], count)[:side]
    if first:
        values = values * (one / along)[:, None, None, None]
    for side in reversed(sides):
        values[:side] = join(values[:side])
    return values + np.float32(mean)
