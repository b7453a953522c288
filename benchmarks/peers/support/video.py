"""Planes as frames of a video, through PyAV: elementary streams, nothing of a container.

One frame a plane, one key frame, monochrome (AV1: 4:2:0 with constant colour). What decoders do without is left out:
supplemental information of H.264 and HEVC, temporal delimiters of AV1. Decoded in one thread.
"""

import os
from collections.abc import Callable
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers.support import scaling

Coder = tuple[Callable[[NDArray, scaling.Level], bytes], Callable[[bytes, tuple[int, ...], np.dtype], NDArray]]


def coder(
    encoder: str, decoder: str, pixels: str, bits: int, options: Callable[[float], dict[str, str]], least: int = 0
) -> Coder:
    """encode and decode of a peer; options of the encoder by quality, `least` its smallest side of a frame."""

    def encode(chunk: NDArray, level: scaling.Level) -> bytes:
        header, grey = scaling.to_grey(chunk, bits, level[1])
        pad = [(0, 0)] + [(0, max(least, n + n % 2) - n) for n in grey.shape[1:]]
        packets = _packets(np.pad(grey, pad, mode="edge"), encoder, pixels, bits, options(level[0]))
        return header + b"".join(map(_needed(encoder), packets))

    def decode(data: bytes, shape: tuple[int, ...], dtype: np.dtype) -> NDArray:
        size = scaling.header_size(dtype)
        frames = _frames(data[size:], decoder)
        return scaling.from_grey(data[:size], frames[:, : shape[1], : shape[2]], bits, dtype)

    return encode, decode


def _packets(planes: NDArray, encoder: str, pixels: str, bits: int, options: dict[str, str]) -> list[bytes]:
    os.environ.setdefault("SVT_LOG", "1")
    import av

    av.logging.set_level(av.logging.ERROR)
    context = av.CodecContext.create(encoder, "w")
    context.height, context.width = planes.shape[1:]
    context.pix_fmt, context.thread_count = pixels, 1
    context.framerate, context.time_base = Fraction(25), Fraction(1, 25)
    context.options = options
    packets = []
    for number, plane in enumerate(planes):
        frame = av.VideoFrame(context.width, context.height, pixels)
        for place, part in enumerate(frame.planes):
            samples = np.frombuffer(part, np.uint16).reshape(part.height, -1)
            samples[:] = 1 << (bits - 1)
            if place == 0:
                samples[:, : part.width] = plane
        frame.pts = number
        packets += context.encode(frame)
    return [bytes(packet) for packet in packets + context.encode(None)]


def _needed(encoder: str) -> Callable[[bytes], bytes]:
    """What of a packet decoders need."""
    if encoder == "libsvtav1":
        return lambda packet: packet.removeprefix(b"\x12\x00")
    mask, comments = (0x1F, {6}) if encoder == "libx264" else (0x7E, {39 << 1, 40 << 1})

    def without_comments(packet: bytes) -> bytes:
        units = [unit.rstrip(b"\x00") for unit in packet.split(b"\x00\x00\x01") if unit.rstrip(b"\x00")]
        return b"".join(b"\x00\x00\x01" + unit for unit in units if unit[0] & mask not in comments)

    return without_comments


def _frames(data: bytes, decoder: str) -> NDArray:
    import av

    context = av.CodecContext.create(decoder, "r")
    context.thread_count = 1
    whole = decoder == "libdav1d"
    packets = [av.Packet(data)] if whole else [*context.parse(data), *context.parse(None)]
    frames = [frame for packet in [*packets, None] for frame in context.decode(packet)]
    planes = [frame.planes[0] for frame in frames]
    return np.stack([np.frombuffer(p, np.uint16).reshape(p.height, -1)[:, : p.width] for p in planes])
