"""A second decoder of labels and missing voxels: plain Python and numpy, written from FORMAT.md, sections 11 and 12."""

import math

import numpy as np

from .bits import Bits, Bytes, Mixer, three

SOLID = [(0, 0, -1), (0, -1, 0), (-1, 0, 0), (0, -1, 1), (-1, 0, 1), (-1, 1, 0), (0, -1, -1), (-1, -1, 0), (-1, 0, -1)]
SOLID += [(-1, 1, 1), (-2, 0, 0), (-2, 0, 1), (-2, 1, 0), (0, 0, -2), (0, -2, 0), (-1, -1, 1), (-1, 1, -1)]
SOLID += [(-1, -1, -1), (0, -1, 2), (-1, 0, 2), (-1, 2, 0), (0, -1, -2), (0, -2, 1), (0, -2, -1), (-1, 0, -2)]
SOLID += [(-1, -2, 0), (0, -2, 2), (0, -2, -2), (0, -1, 3), (0, 0, -3)]
FLAT = [(0, 0, -1), (0, -1, 0), (0, -1, 1), (0, -1, -1), (0, 0, -2), (0, -2, 0), (0, -1, 2), (0, -2, 1), (0, -2, -1)]
FLAT += [(0, -1, -2), (0, 0, -3), (0, -2, 2), (0, -2, -2), (0, -3, 0), (0, -1, 3), (0, -3, 1), (0, -3, -1), (0, -2, 3)]
FLAT += [(0, -1, -3), (0, -3, 2)]
WORD = (1 << 64) - 1


def hashed(a: int, b: int, bits: int) -> int:
    """H of section 11.3."""
    h = (a * 0x9E3779B97F4A7C15 & WORD) ^ (b * 0xD6E8FEB86659FD93 & WORD)
    return ((h ^ (h >> 29)) * 0xBF58476D1CE4E5B9 & WORD) >> (64 - bits)


class Volume:
    """Labels, and what lies around them."""

    def __init__(self, mixer: Mixer, shape, count: int) -> None:
        self.mixer, self.count, self.labels = mixer, count, np.zeros(shape, np.int64)
        self.solid = shape[0] > 1
        self.bits = min(max(math.prod(shape).bit_length(), 12), 16)
        self.weights, self.errors, self.new, self.last = {}, {}, set(range(1, count)), 0

    def v(self, place, step) -> int:
        """V at a step from a place."""
        (z0, y0, x0), (_, ny, nx) = place, self.labels.shape
        z, y, x = z0 + step[0], y0 + step[1], x0 + step[2]
        if z < z0 and z0 == 0:
            return self.v(place, (0, -1, step[2]))
        z = max(z, 0)
        if z == z0:
            if x < 0 and y == y0:
                return self.v((z0, y0, 0), (0, -1, 0))
            if y < 0:
                z, y = z - 1, 0
                if z < 0:
                    return 0
        return int(self.labels[z, min(max(y, 0), ny - 1), min(max(x, 0), nx - 1)])

    def far(self, place, step) -> int:
        """F of a step."""
        z, y, x = step
        for j in range(15):
            if self.v(place, (z, y, x + j + 1)) != self.v(place, (z, y, x + j)):
                return j
        return 15

    def ask(self, place, n: int, label: int, first: int, pattern: int, start: int) -> int:
        """A question of section 11.3."""
        q, z, y, x = min(n, 2), *place
        run = 0
        while run < min(x, 15) and self.labels[z, y, x - 1 - run] == self.labels[z, y, x - 1]:
            run += 1
        keys = []
        for k, size in enumerate((6, 13, 21, 30) if self.solid else (4, 9, 14, 20)):
            a = pattern % (1 << size) + (start % 256 << 32 if n else 0)
            keys.append((k, a, 16 + q if n else label + 2 if self.count == 2 else 1))
        keys += [(4, pattern % 64 + 256 * (start % 64), 4 * label + q), (5, label, 4 * first + q)]
        above, near = self.far(place, (0, -1, 0)), 4096 * (pattern % 64)
        keys.append((6, run + 16 * above + 256 * self.far(place, (0, -2, 0)) + near, q))
        one, two = ((-1, 0, 0), (-1, 1, 0)) if self.solid else ((0, -1, 0), (0, -3, 0))
        keys.append((7, self.far(place, one) + 16 * above + 256 * self.far(place, two) + near, q + 4))
        keys = [(k, hashed(a, b, self.bits)) for k, a, b in keys]
        weights = self.weights.setdefault((q, pattern % 64), [13107] * 8 + [0])
        few, errors = ("few", q, pattern % 8, label if self.count == 2 else 0), self.errors.setdefault(q, [0, 0])
        mixed, inputs = self.mixer.mixed(keys, weights, 64)
        plain = self.mixer.plain(few)
        bit = self.mixer.bits.bit(plain if errors[1] < errors[0] else mixed)
        self.mixer.learn(keys, weights, inputs, mixed, bit)
        self.mixer.count(few, bit, 1023)
        for i, p in enumerate((mixed, plain)):
            errors[i] += ((bit << 16) - p) ** 2 - (errors[i] >> 12)
        return bit

    def member(self, labels) -> int:
        """Section 11.4."""
        low, width = 0, max(self.count - 1, 1).bit_length()
        for i in range(width - 1, -1, -1):
            half = 1 << i
            left = sum(low <= t < low + half for t in labels)
            right = sum(low + half <= t < low + 2 * half for t in labels)
            bit = int(left == 0)
            if left and right:
                bit = self.mixer.bits.bit(min(max((right << 16) // (left + right), 1), 65535))
            low += half * bit
        return low

    def read(self, place) -> int:
        """One label."""
        steps = SOLID if self.solid else FLAT
        around = [self.v(place, step) for step in steps]
        first, excluded = around[0], []
        start = sum((t == first) << k for k, t in enumerate(around))
        if set(around) == {first}:
            if not self.mixer.single("flat", first % 4096):
                return first
            excluded = [first]
        else:
            for label in dict.fromkeys(around):
                n = len(excluded)
                if n == 4:
                    break
                pattern = sum((t == label) << k for k, t in enumerate(around))
                if n == self.count - 1 or self.ask(place, n, label, first, pattern, start):
                    return label
                excluded.append(label)
        if len(excluded) == self.count - 1:
            return next(t for t in range(self.count) if t not in excluded)
        if self.new and self.mixer.single("new", len(excluded)):
            label, ahead = self.last + 1, self.last + 1 in self.new
            if not (ahead and self.mixer.single("next")):
                label = self.member(self.new)
            self.new.remove(label)
            self.last = label
            return label
        return self.search(place, excluded)

    def search(self, place, excluded: list[int]) -> int:
        """Steps 5 and 6."""
        asked, (z, y, x), (_, ny, nx) = 0, place, self.labels.shape
        for d in range(3, 24):
            rays = [(0, -1, d), (0, -2, d), (0, -d, d), (0, -d, 0), (0, -d, -d), (0, -1, -d)]
            if self.solid:
                rays = [(0, -1, d), (-1, 0, d), (-1, d, 0), (-1, d, d), (-1, d, -d), (-1, 0, -d)]
            for a, b, c in rays:
                if z + a < 0 or not (0 <= y + b < ny and 0 <= x + c < nx):
                    continue
                label = int(self.labels[z + a, y + b, x + c])
                if asked < 8 and label not in excluded:
                    if self.mixer.single("away", asked):
                        return label
                    excluded.append(label)
                    asked += 1
        return self.member(set(range(self.count)) - self.new)


def number(mixer: Mixer) -> int:
    """A number of section 11.1."""
    size = 1
    for _ in range(7):
        size = 2 * size + mixer.single("length", size)
    size = min(size - 128, 64)
    value = min(size, 1)
    for k in range(size - 1):
        value = 2 * value + (mixer.single("below", size, value) if k < 2 else mixer.bits.bit(32768))
    return value


def read_labels(mixer: Mixer, shape, count: int) -> np.ndarray:
    """Labels of a chunk of that shape."""
    volume = Volume(mixer, three([n for n in shape if n != 1]), count)
    for place in np.ndindex(*volume.labels.shape):
        volume.labels[place] = volume.read(place)
    return volume.labels.reshape(shape)


def labels(payload: bytes, shape) -> np.ndarray:
    """The array of a labels layer, in its own byte order."""
    data = Bytes(payload)
    dtype = np.dtype(data.take(data.varint()).decode("ascii"))
    count, coded = data.varint(), data.rest()
    if count == 1:
        ids, which = [int.from_bytes(coded, "little")], np.zeros(shape, int)
    else:
        mixer, ids = Mixer(Bits(coded)), [-1]
        for _ in range(count):
            ids.append(ids[-1] + 1 + number(mixer))
        ids, which = ids[1:], read_labels(mixer, shape, count)
    table = b"".join(i.to_bytes(dtype.itemsize, "little") for i in ids)
    values = np.frombuffer(table, dtype.newbyteorder("<"))[which]
    return values.astype(dtype)


def missing(payload: bytes, values: np.ndarray) -> None:
    """Put missing bits into a C-ordered array."""
    data, size = Bytes(payload), values.itemsize
    extent = tuple(data.varint() for _ in values.shape)
    count = data.varint()
    bits = values.view(f"u{size}")
    inside = tuple(slice(0, n) for n in extent)
    kept = bits[inside].copy()
    if extent != values.shape:
        bits[...] = int.from_bytes(data.take(size), "little")
    patterns = [data.take(size) for _ in range(count)]
    if patterns:
        kinds = read_labels(Mixer(Bits(data.rest())), extent, count + 1)
        for k, pattern in enumerate(patterns, 1):
            kept[kinds == k] = int.from_bytes(pattern, "little")
    bits[inside] = kept
