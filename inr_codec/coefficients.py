"""Context-mixing coder of quantised wavelet coefficients: one kernel writes and reads, integers only.

DRAFT
"""

import numpy as np
import numpy.typing as npt
from numba import njit

from inr_codec.bands import (
    CELLS, COUSIN as GROUP, LEVEL, NX, NY, NZ, OFFSET, ORIENTATION, PAD, PARENT, PLACE, SHIFT_X, SHIFT_Y, SHIFT_Z,
    STRIDE_Y, STRIDE_Z, Bands,
)
from inr_codec.wavelet import norms
from inr_codec.entropy import (
    COST_BITS,
    COUNTED_HALF,
    SQUASH,
    STRETCH,
    STRETCH_LIMIT,
    adapt_counted,
    decode_bit,
    decoder_init,
    encode_bit,
    encoder_finish,
    encoder_init,
)

def _log_bins(size: int, per_octave: int, offset: int) -> npt.NDArray[np.uint8]:
    """bin(v): octaves of v + offset in `per_octave` (a power of two) linear parts, from 0 for v = 0."""
    out = []
    bits = per_octave.bit_length() - 1
    for v in range(size):
        e = (v + offset).bit_length() - 1
        out.append(per_octave * e + (((v + offset) << bits) >> e) - per_octave)
    return np.array(out, np.uint8) - out[0]


MU_BINS = _log_bins(8192, 4, 8)
MU_SIZE = 40
SUM_BINS = _log_bins(1024, 2, 1)  # 0, 1->2, 2->3 ...
N = 10  # contexts of a decision
CLASSES = 6
SETS = 16
LIMIT = 400
SIZES = np.array([MU_SIZE * 64, 2048, 64 * 256, 8 * 256, 64 * 256, 8 * 4096, MU_SIZE * 256, 8 * 512, 8 * MU_SIZE, 64 * 64], np.int64)
BASES = np.concatenate([[0], np.cumsum(SIZES)])
CLASS_SIZE = int(BASES[-1])
FN = 4
FLAG_BASE = CLASS_SIZE * CLASSES
FLAG_SIZES = np.array([64 * 256, 64 * 64, 64 * 64, 8 * 512])
FLAG_BASES = np.concatenate([[0], np.cumsum(FLAG_SIZES)]) + FLAG_BASE
TABLE_SIZE = int(FLAG_BASES[-1])
FEATURES = 16
MAG = np.array([min(m, 20) + int(max(m - 20, 0) ** 0.5) for m in range(600)], np.uint8)


@njit(nogil=True, cache=True)
def _at(i, shift):
    return i >> shift if shift >= 0 else i << -shift


@njit(nogil=True, cache=True)
def _predict(T, W, at, ws, idx, st, n):
    dot = 0
    for i in range(n):
        s = STRETCH[T[at + idx[i]] >> 20]
        st[i] = s
        dot += np.int64(W[ws, i]) * s
    st[n] = 64
    dot = (dot + np.int64(W[ws, n]) * 64) >> 16
    dot = min(max(dot, -STRETCH_LIMIT), STRETCH_LIMIT)
    return np.int64(SQUASH[dot + STRETCH_LIMIT])


@njit(nogil=True, cache=True)
def _update(T, W, at, ws, idx, st, n, p, bit, rate, limit):
    err = ((bit << 16) - p) * rate
    for i in range(n + 1):
        W[ws, i] += (err * st[i] + (1 << 19)) >> 20
    for i in range(n):
        k = at + idx[i]
        T[k] = adapt_counted(np.int64(T[k]), bit, limit)


@njit(nogil=True, cache=True)
def run(encoding, table, coef, inv, lam, live, q, buffer, stop, T, W, FW, mag, cells, L, opt):
    """Encode (coef -> buffer, q) or decode (buffer -> q). Returns bytes."""
    state = np.zeros(4, np.int64)
    if encoding:
        encoder_init(state)
    else:
        decoder_init(state, buffer, 0, stop)
    idx = np.zeros(N, np.int64)
    st = np.zeros(N + 1, np.int64)
    g = np.zeros(FEATURES, np.int64)
    probs = np.zeros(32, np.int64)
    rate = opt[0]
    frate = opt[1]
    limit = opt[2]
    lmsr = opt[3]
    lms_init = np.zeros(64, np.int64)
    for b in range(table.shape[0]):
        B = table[b]
        nz, ny, nx, lev, ori, place = B[NZ], B[NY], B[NX], B[LEVEL], B[ORIENTATION], B[PLACE]
        sy = nx + 2 * PAD
        sz = sy * (ny + 2 * PAD)
        bo = lev * 8 + ori
        ws_base = lev * 2 + (1 if ori else 0)
        par = B[PARENT]
        pplace = psy = psz = 0
        hz, hy, hx = B[SHIFT_Z], B[SHIFT_Y], B[SHIFT_X]
        if par >= 0:
            pplace = table[par, PLACE]
            psy = table[par, NX] + 2 * PAD
            psz = psy * (table[par, NY] + 2 * PAD)
        group = B[GROUP]
        if ori == 0:
            group = b
        # cells
        kz, ky, kx = (nz + 3) >> 2, (ny + 3) >> 2, (nx + 3) >> 2
        csy = kx + 2
        csz = csy * (ky + 2)
        cplace = B[CELLS]
        for z in range(kz):
            for y in range(ky):
                for x in range(kx):
                    c = cplace + z * csz + y * csy + x
                    fx, fy, fz = cells[c - 1] & 1, cells[c - csy] & 1, cells[c - csz] & 1
                    fd = (cells[c - csy + 1] & 1) + (cells[c - csy - 1] & 1)
                    fe = (cells[c - csz + 1] & 1) + (cells[c - csz - 1] & 1) + (cells[c - csz - csy] & 1) + (cells[c - csz + csy] & 1)
                    cs = 0
                    for k in range(group, b):
                        K = table[k]
                        # same levels: cells may differ by one
                        zz = min(z, ((K[NZ] + 3) >> 2) - 1)
                        yy = min(y, ((K[NY] + 3) >> 2) - 1)
                        xx = min(x, ((K[NX] + 3) >> 2) - 1)
                        kk = ((K[NX] + 3) >> 2) + 2
                        cs += cells[K[CELLS] + (zz * (((K[NY] + 3) >> 2) + 2) + yy) * kk + xx] & 1
                    ps = 0
                    if par >= 0:
                        P = table[par]
                        z0, z1 = _at(z * 4, hz), min(_at(z * 4 + 3, hz) + 1, P[NZ])
                        y0, y1 = _at(y * 4, hy), min(_at(y * 4 + 3, hy) + 1, P[NY])
                        x0, x1 = _at(x * 4, hx), min(_at(x * 4 + 3, hx) + 1, P[NX])
                        for pz in range(z0, z1):
                            for py in range(y0, y1):
                                for px in range(x0, x1):
                                    ps += mag[pplace + pz * psz + py * psy + px] * 3
                        # ring
                        for pz in range(max(z0 - 1, 0), min(z1 + 1, P[NZ])):
                            for py in range(max(y0 - 1, 0), min(y1 + 1, P[NY])):
                                for px in range(max(x0 - 1, 0), min(x1 + 1, P[NX])):
                                    ps += mag[pplace + pz * psz + py * psy + px]
                    nc = min(b - group, 3)
                    pb = min(np.int64(SUM_BINS[min(ps, 1023)]), 15)
                    cs = min(cs, 3)
                    s3 = fx + fy + fz
                    idx[0] = FLAG_BASES[0] + (((bo * 4 + s3) * 2 + (1 if fd + fe > 1 else 0)) * 16 + pb) * 2 + (1 if cs else 0)
                    idx[1] = FLAG_BASES[1] + bo * 64 + pb * 4 + cs
                    idx[2] = FLAG_BASES[2] + ((bo * 2 + fx) * 2 + fy) * 16 + fz * 8 + min(fd + fe, 7)
                    idx[3] = FLAG_BASES[3] + ((((lev * 8) + z * 8 // kz) * 8) + y * 8 // ky) * 8 + x * 8 // kx
                    p = _predict(T, FW, 0, lev, idx, st, FN)
                    bit = 0
                    if encoding:
                        bit = np.int64(live[c])
                        encode_bit(state, buffer, p, bit)
                    else:
                        bit = decode_bit(state, buffer, p)
                    _update(T, FW, 0, lev, idx, st, FN, p, bit, frate, limit)
                    cells[c] = bit
        # weights of the magnitude predictor start from the coarser level's
        if L[bo, FEATURES] == 0:
            L[bo, FEATURES] = 1
            if lev < 7 and L[bo + 8, FEATURES]:
                for i in range(FEATURES):
                    L[bo, i] = L[bo + 8, i]
        w = L[bo]
        scale = inv[b]
        for z in range(nz):
            for y in range(ny):
                row = place + z * sz + y * sy
                crow = cplace + (z >> 2) * csz + (y >> 2) * csy
                qrow = B[OFFSET] + z * B[STRIDE_Z] + y * B[STRIDE_Y]
                for xc in range(kx):
                    cell = cells[crow + xc]
                    if cell == 0:
                        continue
                    for x in range(xc * 4, min(xc * 4 + 4, nx)):
                        o = row + x
                        mx = np.int64(mag[o - 1])
                        my = np.int64(mag[o - sy])
                        mz = np.int64(mag[o - sz])
                        g[0] = mx
                        g[1] = my
                        g[2] = mz
                        g[3] = np.int64(mag[o - sy - 1]) + mag[o - sy + 1]
                        g[4] = np.int64(mag[o - sz - 1]) + mag[o - sz + 1]
                        g[5] = np.int64(mag[o - sz - sy]) + mag[o - sz + sy]
                        g[6] = np.int64(mag[o - sz - sy - 1]) + mag[o - sz - sy + 1] + mag[o - sz + sy - 1] + mag[o - sz + sy + 1]
                        g[7] = mag[o - 2]
                        g[8] = mag[o - 2 * sy]
                        g[9] = mag[o - 2 * sz]
                        p0 = pn = pn2 = 0
                        if par >= 0:
                            po = pplace + _at(z, hz) * psz + _at(y, hy) * psy + _at(x, hx)
                            az = psz if hz <= 0 or (2 * z >> hz) & 1 else -psz
                            ay = psy if hy <= 0 or (2 * y >> hy) & 1 else -psy
                            ax = 1 if hx <= 0 or (2 * x >> hx) & 1 else -1
                            p0 = np.int64(mag[po])
                            pn = np.int64(mag[po + az]) + mag[po + ay] + mag[po + ax]
                            pn2 = np.int64(mag[po - az]) + mag[po - ay] + mag[po - ax] + mag[po + az + ay] + mag[po + ay + ax] + mag[po + az + ax]
                        g[10] = p0
                        g[11] = pn
                        g[12] = pn2
                        cs = csn = 0
                        nc = b - group
                        for k in range(group, b):
                            ksy = table[k, NX] + 2 * PAD
                            ksz = ksy * (table[k, NY] + 2 * PAD)
                            ko = table[k, PLACE] + z * ksz + y * ksy + x
                            cs += np.int64(mag[ko])
                            csn += np.int64(mag[ko + 1]) + mag[ko - 1] + mag[ko + ksy] + mag[ko - ksy] + mag[ko + ksz] + mag[ko - ksz]
                        if nc:
                            cs = cs * 8 // nc
                            csn = csn * 8 // nc
                        g[13] = cs >> 3
                        g[14] = csn >> 3
                        g[15] = 1
                        mu = 0
                        norm = 1
                        for i in range(FEATURES):
                            mu += w[i] * g[i]
                            norm += g[i] * g[i]
                        mu >>= 12  # Q8 of a Q20 weight
                        mb = np.int64(MU_BINS[min(max(mu, 0), 8191)])
                        s6 = mx + my + mz
                        sd = g[3] + g[4] + g[5]
                        s2 = g[7] + g[8] + g[9]
                        seen = cell >> 1
                        ql = SUM_BINS
                        idx[0] = BASES[0] + bo * MU_SIZE + mb
                        idx[1] = BASES[1] + (((min(mx, 3) * 4 + min(my, 3)) * 4 + min(mz, 3)) * 4 + min(p0, 3)) * 8 + lev
                        idx[2] = BASES[2] + (bo * 16 + min(ql[2 * p0], 15)) * 16 + min(ql[pn + (pn2 >> 1)], 15)
                        idx[3] = BASES[3] + (lev * 16 + min(ql[2 * s6 + sd], 15)) * 16 + min(ql[p0 * 2 + pn], 15)
                        idx[4] = BASES[4] + (bo * 16 + min(ql[(2 * s6 + sd + g[6] + 2 * s2) >> 1], 15)) * 16 + min(ql[cs >> 2], 15)
                        idx[5] = BASES[5] + ((lev * 16 + min(ql[cs >> 1], 15)) * 16 + min(ql[csn >> 2], 15)) * 16 + min(ql[s6], 15)
                        idx[6] = BASES[6] + (mb * 16 + min(ql[2 * p0 + (pn >> 1)], 15)) * 16 + min(ql[cs >> 2], 15)
                        idx[7] = BASES[7] + ((lev * 8 + z * 8 // nz) * 8 + y * 8 // ny) * 8 + x * 8 // nx
                        e = (38 * s6 + 23 * sd + 15 * g[6] + 23 * s2 + 64 * p0 + 26 * pn + 13 * pn2) + (((102 * cs + 13 * csn)) >> 3)
                        idx[8] = BASES[8] + lev * MU_SIZE + MU_BINS[min(e, 8191)]
                        idx[9] = BASES[9] + bo * 64 + min(seen, 3) * 16 + (z & 3) * 4 + (y & 3)
                        if opt[4] >= 0:
                            idx[opt[4]] = BASES[opt[4]]
                        m = 0
                        sign = 0
                        if encoding:
                            v = coef[qrow + x] * scale
                            a = abs(v)
                            sign = 1 if v < 0 else 0
                            hi = np.int64(min(a + np.float32(0.5), np.float32(1000000)))
                            if hi > 0:
                                p = _predict(T, W, 0, ws_base, idx, st, N)
                                acc = 65536 + np.int64(COST_BITS[p >> 4])
                                best_cost = a * a + lam * np.float32(COST_BITS[(65536 - p) >> 4] if p > 15 else 0)
                                last = 0
                                for t in range(1, hi + 1):
                                    cls = min(t, 3) if t < 4 else (4 if t < 8 else 5)
                                    if t < 16:
                                        if cls != last:
                                            p = _predict(T, W, cls * CLASS_SIZE, cls * SETS + ws_base, idx, st, N)
                                            last = cls
                                        end = np.int64(COST_BITS[(65535 - p) >> 4])
                                    else:
                                        end = 65536 * 5
                                    if t >= hi - 1:
                                        d = a - np.float32(t)
                                        cost = d * d + lam * np.float32(acc + end)
                                        if cost < best_cost:
                                            best_cost = cost
                                            m = t
                                    if t < 16:
                                        acc += np.int64(COST_BITS[p >> 4])
                                    else:
                                        t = hi  # large: all candidates near
                                        if m == 0:
                                            m = hi
                                        break
                        # code
                        bit = 1 if m else 0
                        p = _predict(T, W, 0, ws_base, idx, st, N)
                        if encoding:
                            encode_bit(state, buffer, p, bit)
                        else:
                            bit = decode_bit(state, buffer, p)
                        _update(T, W, 0, ws_base, idx, st, N, p, bit, rate, limit)
                        if bit:
                            if encoding:
                                encode_bit(state, buffer, 32768, sign)
                            else:
                                sign = decode_bit(state, buffer, 32768)
                            t = 1
                            while t < 16:
                                cls = min(t, 3) if t < 4 else (4 if t < 8 else 5)
                                ws = cls * SETS + ws_base
                                bit = 1 if m > t else 0
                                p = _predict(T, W, cls * CLASS_SIZE, ws, idx, st, N)
                                if encoding:
                                    encode_bit(state, buffer, p, bit)
                                else:
                                    bit = decode_bit(state, buffer, p)
                                _update(T, W, cls * CLASS_SIZE, ws, idx, st, N, p, bit, rate, limit)
                                if bit == 0:
                                    break
                                t += 1
                            if t == 16:  # exponential Golomb code of m - 16
                                k = 0
                                rest = m - 15
                                while k < 20:
                                    bit = 1 if (rest >> (k + 1)) else 0
                                    if encoding:
                                        encode_bit(state, buffer, 32768, bit)
                                    else:
                                        bit = decode_bit(state, buffer, 32768)
                                    if bit == 0:
                                        break
                                    k += 1
                                value = 1
                                for i in range(k - 1, -1, -1):
                                    bit = (rest >> i) & 1
                                    if encoding:
                                        encode_bit(state, buffer, 32768, bit)
                                    else:
                                        bit = decode_bit(state, buffer, 32768)
                                    value = value * 2 + bit
                                t = value + 15
                            m = t
                            mag[o] = MAG[min(m, 599)]
                            cell = min(cell + 2, 7)
                            cells[crow + xc] = cell
                            q[qrow + x] = -m if sign else m
                        # learn
                        er = (np.int64(MAG[min(m, 599)]) << 8) - mu
                        er = min(max(er, -1536), 1536)
                        step = (er * lmsr) // (norm * 4 + 10)
                        for i in range(FEATURES):
                            w[i] += step * g[i]
    if encoding:
        return encoder_finish(state, buffer)
    return state[2]


def fresh_model():
    T = np.full(TABLE_SIZE, COUNTED_HALF, np.uint32)
    W = np.full((CLASSES * SETS, N + 1), int(0.15 * 65536), np.int32)
    W[:, N] = 0
    FW = np.full((8, FN + 1), int(0.4 * 65536), np.int32)
    FW[:, FN] = 0
    L = np.zeros((72, FEATURES + 1), np.int64)
    L[:, :FEATURES] = int(0.08 * (1 << 20))
    L[:, 15] = int(0.05 * 0.08 * (1 << 20))
    return T, W, FW, L


@njit(nogil=True, cache=True)
def _mark(values, table, q, step, use_q, live):
    """Cells worth coding: those that were not zero before, or that hold a large coefficient."""
    threshold = step * np.float32(1.25 if use_q else 0.8)
    for b in range(table.shape[0]):
        B = table[b]
        kz, ky, kx = (B[NZ] + 3) >> 2, (B[NY] + 3) >> 2, (B[NX] + 3) >> 2
        csy, csz = kx + 2, (kx + 2) * (ky + 2)
        for z in range(B[NZ]):
            for y in range(B[NY]):
                o = B[OFFSET] + z * B[STRIDE_Z] + y * B[STRIDE_Y]
                c = B[CELLS] + (z >> 2) * csz + (y >> 2) * csy
                for x in range(B[NX]):
                    if abs(values[o + x]) >= threshold or (use_q and q[o + x] != 0):
                        live[c + (x >> 2)] = 1


OPTIONS = np.array([20, 100, 400, 200, -1], np.int64)


def encode(values, bands, step, lam, before):
    """Quantise and code; returns (bytes, levels)."""
    flat = values.reshape(-1)
    live = np.zeros(bands.cells, np.uint8)
    old = before.reshape(-1) if before is not None else np.zeros(1, np.int32)
    _mark(flat, bands.table, old, np.float32(step), before is not None, live)
    q = np.zeros(values.shape, np.int32)
    buffer = np.zeros(values.size * 3 + 64, np.uint8)
    inv = np.full(len(bands.table), 1 / step, np.float32)
    T, W, FW, L = fresh_model()
    n = run(True, bands.table, flat, inv, np.float32(lam / 65536), live, q.reshape(-1), buffer, 0, T, W, FW,
            np.zeros(bands.magnitudes, np.uint8), np.zeros(bands.cells, np.uint8), L, OPTIONS)
    return buffer[:max(n, 1)].tobytes(), q


def decode(data, bands, shape):
    """The levels of a stream; without bytes all are zero."""
    q = np.zeros(shape, np.int32)
    if data.size == 0:
        return q
    T, W, FW, L = fresh_model()
    run(False, bands.table, np.zeros(1, np.float32), np.zeros(len(bands.table), np.float32), np.float32(0),
        np.zeros(1, np.uint8), q.reshape(-1), data, data.size, T, W, FW,
        np.zeros(bands.magnitudes, np.uint8), np.zeros(bands.cells, np.uint8), L, OPTIONS)
    return q


def centroids(values, q, step):
    a = np.abs(q)
    out = []
    for m in (1, 2, 3):
        k = a == m if m < 3 else a >= 3
        mean = float((np.abs(values[k]) / step - a[k]).mean()) if k.any() else 0.0
        out.append(min(max(round(mean * 256) + 128, 0), 255))
    return bytes(out)


@njit(nogil=True, cache=True)
def _dequantise(q, step, offsets, out):
    for i in range(q.size):
        m = q[i]
        if m > 0:
            out[i] = (np.float32(m) + offsets[min(m, 3) - 1]) * step
        elif m < 0:
            out[i] = (np.float32(m) - offsets[min(-m, 3) - 1]) * step


def _weights(bands):
    """Per band and axis the norms of the coefficients."""
    shape = [max(b.offset[a] + b.size[a] for b in bands.order) for a in range(3)]
    out = []
    for band in bands.order:
        out.append([
            norms(n, level)[o : o + size] for n, level, o, size in zip(shape, band.levels, band.offset, band.size)
        ])
    return out


def weigh(values, bands, back=False):
    for band, (z, y, x) in zip(bands.order, _weights(bands)):
        box = values[tuple(slice(o, o + n) for o, n in zip(band.offset, band.size))]
        w = z[:, None, None] * y[:, None] * x
        if back:
            box /= w
        else:
            box *= w


def dequantise(q, step, points):
    out = np.zeros(q.shape, np.float32)
    offsets = np.array([(p - 128) / 256 for p in points], np.float32)
    _dequantise(q.reshape(-1), step, offsets, out.reshape(-1))
    return out
