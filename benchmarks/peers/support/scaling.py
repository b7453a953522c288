"""Grey values for coders of pictures: a chunk's own range is spread over the coder's, and remembered beside the stream.

The header is the chunk's least and largest value in its own dtype and one byte of shade: where a coder's coarsest
quality is still too fine, grey values are made 2^(-shade / SHADES_PER_OCTAVE) times as large before they are coded,
which quantises them that much more coarsely.
"""

import numpy as np
from numpy.typing import NDArray

SHADES_PER_OCTAVE = 24
MOST_SHADES = 240
Level = tuple[float, int]
"""A coder's quality, and the shade."""


def levels(qualities: NDArray, shaded: bool = True) -> list[Level]:
    """Levels of a coder whose qualities go from the finest to the coarsest: those, and then the coarsest in shades."""
    found = [(round(float(quality), 6), 0) for quality in qualities]
    return found + [(found[-1][0], shade) for shade in range(1, MOST_SHADES + 1)] if shaded else found


def describe(level: Level) -> tuple[float, str]:
    """Its number, and a note on the shade."""
    quality, shade = level
    return quality, f"grey values times {2 ** (-shade / SHADES_PER_OCTAVE):.3f}" if shade else ""


def to_grey(chunk: NDArray, bits: int, shade: int = 0) -> tuple[bytes, NDArray[np.uint16]]:
    """Header, and grey values of so many bits."""
    low, high = float(chunk.min()), float(chunk.max())
    top = _top(bits, shade)
    scale = top / (high - low) if high > low else 0.0
    header = np.array([low, high], chunk.dtype).tobytes() + bytes([shade])
    return header, np.rint((chunk.astype(np.float64) - low) * scale).astype(np.uint16)


def from_grey(header: bytes, grey: NDArray, bits: int, dtype: np.dtype) -> NDArray[np.float32]:
    """Values of grey values, inside the range that the header remembers."""
    low, high = np.frombuffer(header[:-1], dtype).astype(np.float64)
    top = _top(bits, header[-1])
    return (low + (high - low) * np.minimum(grey.astype(np.float64) / top, 1)).astype(np.float32)


def header_size(dtype: np.dtype) -> int:
    """Bytes of the header."""
    return 2 * np.dtype(dtype).itemsize + 1


def _top(bits: int, shade: int) -> float:
    return (2**bits - 1) * 2.0 ** (-shade / SHADES_PER_OCTAVE)
