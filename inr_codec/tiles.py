"""Arithmetic on tiles: the few loops that fitting and evaluating a network are made of.

A tile holds `TILE` voxels; activations are stored neuron by neuron, `TILE` values each, so that every loop below
runs over contiguous memory and stays close to the first-level cache. The loops are blocked four by four: that is enough
for the compiler to keep the floating-point units busy (about 70 GFLOP/s on one core with 512-bit vectors). Tiles of 128
voxels fit and decode a fifth faster than tiles of 64 (loops too short) and as fast as larger ones (cache).
"""

from inr_codec.kernels import kernel

TILE = 128

PI_HIGH = 3.140625
PI_MIDDLE = 0.0009670257568359375
PI_LOW = 6.2771141529083252e-7
INVERSE_PI = 0.3183098861837907


@kernel(fastmath=True, boundscheck=False, inline="never")
def affine(weights, w, stride_out, stride_in, bias, source, s, target, t, n_in, n_out):
    """target[o] = bias[o] + sum_i weights[w + o * stride_out + i * stride_in] * source[i], for one tile.

    `w`, `s`, `t` are offsets into the flat arrays; `bias` is the offset of the bias in `weights`, or -1 for none.
    """
    o = 0
    while o + 4 <= n_out:
        w0 = w + o * stride_out
        w1 = w0 + stride_out
        w2 = w1 + stride_out
        w3 = w2 + stride_out
        z0 = target[t + o * TILE : t + o * TILE + TILE]
        z1 = target[t + o * TILE + TILE : t + o * TILE + 2 * TILE]
        z2 = target[t + o * TILE + 2 * TILE : t + o * TILE + 3 * TILE]
        z3 = target[t + o * TILE + 3 * TILE : t + o * TILE + 4 * TILE]
        b0 = b1 = b2 = b3 = weights[0] * weights.dtype.type(0)
        if bias >= 0:
            b0 = weights[bias + o]
            b1 = weights[bias + o + 1]
            b2 = weights[bias + o + 2]
            b3 = weights[bias + o + 3]
        for j in range(TILE):
            z0[j] = b0
            z1[j] = b1
            z2[j] = b2
            z3[j] = b3
        i = 0
        while i + 4 <= n_in:
            x0 = source[s + i * TILE : s + i * TILE + TILE]
            x1 = source[s + i * TILE + TILE : s + i * TILE + 2 * TILE]
            x2 = source[s + i * TILE + 2 * TILE : s + i * TILE + 3 * TILE]
            x3 = source[s + i * TILE + 3 * TILE : s + i * TILE + 4 * TILE]
            k = i * stride_in
            a00, a01, a02, a03 = (
                weights[w0 + k],
                weights[w0 + k + stride_in],
                weights[w0 + k + 2 * stride_in],
                weights[w0 + k + 3 * stride_in],
            )
            a10, a11, a12, a13 = (
                weights[w1 + k],
                weights[w1 + k + stride_in],
                weights[w1 + k + 2 * stride_in],
                weights[w1 + k + 3 * stride_in],
            )
            a20, a21, a22, a23 = (
                weights[w2 + k],
                weights[w2 + k + stride_in],
                weights[w2 + k + 2 * stride_in],
                weights[w2 + k + 3 * stride_in],
            )
            a30, a31, a32, a33 = (
                weights[w3 + k],
                weights[w3 + k + stride_in],
                weights[w3 + k + 2 * stride_in],
                weights[w3 + k + 3 * stride_in],
            )
            for j in range(TILE):
                p, q, r, u = x0[j], x1[j], x2[j], x3[j]
                z0[j] += a00 * p + a01 * q + a02 * r + a03 * u
                z1[j] += a10 * p + a11 * q + a12 * r + a13 * u
                z2[j] += a20 * p + a21 * q + a22 * r + a23 * u
                z3[j] += a30 * p + a31 * q + a32 * r + a33 * u
            i += 4
        while i < n_in:
            x0 = source[s + i * TILE : s + i * TILE + TILE]
            k = i * stride_in
            a00, a10, a20, a30 = weights[w0 + k], weights[w1 + k], weights[w2 + k], weights[w3 + k]
            for j in range(TILE):
                p = x0[j]
                z0[j] += a00 * p
                z1[j] += a10 * p
                z2[j] += a20 * p
                z3[j] += a30 * p
            i += 1
        o += 4
    while o < n_out:
        z0 = target[t + o * TILE : t + o * TILE + TILE]
        w0 = w + o * stride_out
        b0 = weights[0] * weights.dtype.type(0)
        if bias >= 0:
            b0 = weights[bias + o]
        for j in range(TILE):
            z0[j] = b0
        i = 0
        while i + 4 <= n_in:
            x0 = source[s + i * TILE : s + i * TILE + TILE]
            x1 = source[s + i * TILE + TILE : s + i * TILE + 2 * TILE]
            x2 = source[s + i * TILE + 2 * TILE : s + i * TILE + 3 * TILE]
            x3 = source[s + i * TILE + 3 * TILE : s + i * TILE + 4 * TILE]
            k = i * stride_in
            a00, a01, a02, a03 = (
                weights[w0 + k],
                weights[w0 + k + stride_in],
                weights[w0 + k + 2 * stride_in],
                weights[w0 + k + 3 * stride_in],
            )
            for j in range(TILE):
                z0[j] += a00 * x0[j] + a01 * x1[j] + a02 * x2[j] + a03 * x3[j]
            i += 4
        while i < n_in:
            x0 = source[s + i * TILE : s + i * TILE + TILE]
            a00 = weights[w0 + i * stride_in]
            for j in range(TILE):
                z0[j] += a00 * x0[j]
            i += 1
        o += 1


@kernel(fastmath=True, boundscheck=False, inline="never")
def outer_sum(delta, d, source, s, gradient, g, bias, n_in, n_out):
    """gradient[o, i] += sum over the tile of delta[o] * source[i]; gradient[bias + o] += sum of delta[o]."""
    zero = delta[0] * delta.dtype.type(0)
    o = 0
    while o + 4 <= n_out:
        d0 = delta[d + o * TILE : d + o * TILE + TILE]
        d1 = delta[d + o * TILE + TILE : d + o * TILE + 2 * TILE]
        d2 = delta[d + o * TILE + 2 * TILE : d + o * TILE + 3 * TILE]
        d3 = delta[d + o * TILE + 3 * TILE : d + o * TILE + 4 * TILE]
        b0 = b1 = b2 = b3 = zero
        for j in range(TILE):
            b0 += d0[j]
            b1 += d1[j]
            b2 += d2[j]
            b3 += d3[j]
        gradient[bias + o] += b0
        gradient[bias + o + 1] += b1
        gradient[bias + o + 2] += b2
        gradient[bias + o + 3] += b3
        g0 = g + o * n_in
        g1 = g0 + n_in
        g2 = g1 + n_in
        g3 = g2 + n_in
        i = 0
        while i + 4 <= n_in:
            x0 = source[s + i * TILE : s + i * TILE + TILE]
            x1 = source[s + i * TILE + TILE : s + i * TILE + 2 * TILE]
            x2 = source[s + i * TILE + 2 * TILE : s + i * TILE + 3 * TILE]
            x3 = source[s + i * TILE + 3 * TILE : s + i * TILE + 4 * TILE]
            a00 = a01 = a02 = a03 = a10 = a11 = a12 = a13 = zero
            a20 = a21 = a22 = a23 = a30 = a31 = a32 = a33 = zero
            for j in range(TILE):
                p, q, r, u = x0[j], x1[j], x2[j], x3[j]
                e0, e1, e2, e3 = d0[j], d1[j], d2[j], d3[j]
                a00 += e0 * p
                a01 += e0 * q
                a02 += e0 * r
                a03 += e0 * u
                a10 += e1 * p
                a11 += e1 * q
                a12 += e1 * r
                a13 += e1 * u
                a20 += e2 * p
                a21 += e2 * q
                a22 += e2 * r
                a23 += e2 * u
                a30 += e3 * p
                a31 += e3 * q
                a32 += e3 * r
                a33 += e3 * u
            gradient[g0 + i] += a00
            gradient[g0 + i + 1] += a01
            gradient[g0 + i + 2] += a02
            gradient[g0 + i + 3] += a03
            gradient[g1 + i] += a10
            gradient[g1 + i + 1] += a11
            gradient[g1 + i + 2] += a12
            gradient[g1 + i + 3] += a13
            gradient[g2 + i] += a20
            gradient[g2 + i + 1] += a21
            gradient[g2 + i + 2] += a22
            gradient[g2 + i + 3] += a23
            gradient[g3 + i] += a30
            gradient[g3 + i + 1] += a31
            gradient[g3 + i + 2] += a32
            gradient[g3 + i + 3] += a33
            i += 4
        while i < n_in:
            x0 = source[s + i * TILE : s + i * TILE + TILE]
            a00 = a10 = a20 = a30 = zero
            for j in range(TILE):
                p = x0[j]
                a00 += d0[j] * p
                a10 += d1[j] * p
                a20 += d2[j] * p
                a30 += d3[j] * p
            gradient[g0 + i] += a00
            gradient[g1 + i] += a10
            gradient[g2 + i] += a20
            gradient[g3 + i] += a30
            i += 1
        o += 4
    while o < n_out:
        d0 = delta[d + o * TILE : d + o * TILE + TILE]
        b0 = zero
        for j in range(TILE):
            b0 += d0[j]
        gradient[bias + o] += b0
        for i in range(n_in):
            x0 = source[s + i * TILE : s + i * TILE + TILE]
            a00 = zero
            for j in range(TILE):
                a00 += d0[j] * x0[j]
            gradient[g + o * n_in + i] += a00
        o += 1


@kernel(fastmath={"contract", "nsz"}, boundscheck=False, inline="never")
def sine_cosine(values, cosines, start, count, w0):
    """values <- sin(w0 * values), cosines <- w0 * cos(w0 * values) on `count` entries from `start`.

    Reduction to [-pi/2, pi/2] in three steps (Cody and Waite), then polynomials; 2 ulp for |w0 * value| < 10^4.
    """
    f = values.dtype.type
    x = values[start : start + count]
    c = cosines[start : start + count]
    for j in range(count):
        z = x[j] * w0
        k = (z * f(INVERSE_PI) + f(12582912.0)) - f(12582912.0)
        r = ((z - k * f(PI_HIGH)) - k * f(PI_MIDDLE)) - k * f(PI_LOW)
        h = k * f(0.5)
        h = (h + f(12582912.0)) - f(12582912.0)
        odd = k - (h + h)
        sign = f(1.0) - f(2.0) * odd * odd
        q = r * r
        p = q * f(2.6083159809786593e-06) - f(0.0001981069071916863)
        p = p * q + f(0.008333078585565090)
        p = p * q - f(0.16666659712791443)
        e = q * f(-2.6051615e-07) + f(2.4760495e-05)
        e = e * q - f(0.0013888378)
        e = e * q + f(0.041666638)
        e = e * q - f(0.5)
        x[j] = sign * (r + r * q * p)
        c[j] = sign * w0 * (e * q + f(1.0))


@kernel(fastmath={"contract", "nsz"}, boundscheck=False, inline="never")
def sine(values, start, count, w0):
    """values <- sin(w0 * values) on `count` entries from `start`; as `sine_cosine`, without the cosine."""
    f = values.dtype.type
    x = values[start : start + count]
    for j in range(count):
        z = x[j] * w0
        k = (z * f(INVERSE_PI) + f(12582912.0)) - f(12582912.0)
        r = ((z - k * f(PI_HIGH)) - k * f(PI_MIDDLE)) - k * f(PI_LOW)
        h = k * f(0.5)
        h = (h + f(12582912.0)) - f(12582912.0)
        odd = k - (h + h)
        q = r * r
        p = q * f(2.6083159809786593e-06) - f(0.0001981069071916863)
        p = p * q + f(0.008333078585565090)
        p = p * q - f(0.16666659712791443)
        x[j] = (f(1.0) - f(2.0) * odd * odd) * (r + r * q * p)
