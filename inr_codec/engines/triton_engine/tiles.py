"""Arithmetic on tiles for GPUs: what the Triton kernels for fitting and evaluating share.

A tile of activations is a (TILE, width) matrix in registers; hidden widths are 16, 32, 64, ..., as tensor cores like
them. The layout of the parameters is that of networks/shape.py, for padded widths. These kernels are checked in
Triton's interpreter and by compiling them; they have not run on a GPU yet.
"""

import torch
import triton
import triton.language as tl  # noqa: F401  (the interpreter of Triton looks for it)

from inr_codec.engines.torch_engine.network import padded_shape
from inr_codec.networks.shape import NetworkShape

WIDEST = 64
"""Networks with a wider layer are left to torch, whose products are efficient from there on."""
MOST_INPUTS = 32


def triton_shape(shape: NetworkShape) -> NetworkShape:
    """The widths that the kernels work on: hidden ones 16, 32, 64, ..."""
    return padded_shape(shape, 16, power=True)


def fits(shape: NetworkShape) -> bool:
    """Whether a network has sines, and is small enough for a program's registers and shared memory on any GPU."""
    return not shape.frequencies and max(shape.widths[1:-1]) <= WIDEST and shape.widths[0] <= MOST_INPUTS


def warps(shape: NetworkShape) -> int:
    """Warps of a program: wider tiles are spread over more registers."""
    return 2 if max(shape.widths[1:-1]) <= 16 else 4


def precision(exact: bool) -> str:
    """How products are made: TF32, or three TF32 products for one; in float32 where the GPU is not Nvidia's."""
    if torch.version.hip:
        return "ieee"
    return "tf32x3" if exact else "tf32"


@triton.jit
def sine_cosine(x, w0):
    """sin(w0 x) and w0 cos(w0 x), as `fused.tiles.sine_cosine`."""
    z = x * w0
    k = (z * 0.3183098861837907 + 12582912.0) - 12582912.0
    r = ((z - k * 3.140625) - k * 0.0009670257568359375) - k * 6.2771141529083252e-7
    half = (k * 0.5 + 12582912.0) - 12582912.0
    odd = k - (half + half)
    sign = 1.0 - 2.0 * odd * odd
    q = r * r
    p = q * 2.6083159809786593e-06 - 0.0001981069071916863
    p = p * q + 0.008333078585565090
    p = p * q - 0.16666659712791443
    e = q * -2.6051615e-07 + 2.4760495e-05
    e = e * q - 0.0013888378
    e = e * q + 0.041666638
    e = e * q - 0.5
    return sign * (r + r * q * p), sign * w0 * (e * q + 1.0)
