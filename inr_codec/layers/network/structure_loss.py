"""SINCO's structural regulariser: what a segmentation network finds in the decoded chunk, against what it should find.

    loss = l2 + dice_weight (1 - Dice(g(decoded), s))

l2 is the mean squared error over that of the same networks fitted without a regulariser, so that a weight of 1 gives
up at most 3 dB for all of the Dice, at any rate and in any units. g, the network, is frozen. It takes slices in the
units of the data, float32 (n, 1, y, x), and gives logits (n, classes, y, x): one class is the foreground, of more the
first is the background. A g with an attribute `dims = 3` takes volumes (n, 1, z, y, x) instead; a program of
torch.export says so by the dimensions of its example. s are labels 0..K, given or what g finds in the original.

Dice is that of probabilities p, smooth so that a class that neither has scores 1: the mean over slices and classes 1..K
of (2 sum p s + 1) / (sum p + sum s + 1).
"""

import io
import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inr_codec.chunk.intensity import Intensity
from inr_codec.content_names import Reference, find_network
from inr_codec.engines.torch_engine.network import device
from inr_codec.errors import ConfigError
from inr_codec.runtime.caches import kept

BATCH_VOXELS = 1 << 17
"""Voxels that the network sees at once, at least one slice."""


class Regulariser:
    """The structure of one chunk: the network, the labels that it should find, and the weight of finding them."""

    def __init__(
        self,
        chunk: NDArray[Any],
        valid: NDArray[np.bool_] | None,
        intensity: Intensity,
        reference: Reference,
        labels: NDArray[np.int64] | None,
        weight: float,
        axes: int | None = None,
    ) -> None:
        """chunk: the original; valid: False at voxels that other layers store exactly. ConfigError if they do not fit.

        labels: of the chunk's shape, or None for what the network finds in the original. axes: those of the chunk
        before its axes of length 1 were left out, which the network may count among its own.
        """
        self.weight = weight
        self.where = device()
        self._network, self._dims = _load(reference, self.where)
        if max(chunk.ndim, axes or 0) < self._dims:
            raise ConfigError(
                f"expected chunks of at least {self._dims} dimensions for a {self._dims}-D segmentation network, got "
                f"shape {chunk.shape}: leave segmentation= out"
            )
        if labels is not None and labels.shape != chunk.shape:
            raise ConfigError(
                f"expected a mask of the chunk's shape {chunk.shape}, got {labels.shape}: cut the mask as the data is"
            )
        self.whole = chunk.ndim <= self._dims
        """Whether the network needs the whole chunk; else any slices along the first axis will do."""
        self._span = intensity.hi - intensity.lo
        self._low = intensity.lo
        seen = chunk.astype(np.float32)
        seen[~np.isfinite(seen)] = intensity.lo
        self._hidden = None if valid is None else torch.from_numpy(~valid).to(self.where)
        self._original = torch.from_numpy(seen).to(self.where)
        parts = self.batches(np.arange(len(chunk)))
        with torch.no_grad():
            if labels is None:
                found = torch.cat([_found(self._logits(self._original[part])) for part in parts])
                self._labels = found.reshape(chunk.shape)
                return
            classes = self._logits(self._original[parts[0]]).shape[1]
        if classes > 1 and labels.max(initial=0) >= classes:
            raise ConfigError(
                f"expected labels below the network's {classes} classes, got {labels.max()}: give a mask of the "
                "classes that the network was trained on"
            )
        self._labels = torch.from_numpy(labels).to(self.where)

    def batches(self, rows: NDArray[np.intp]) -> list[NDArray[np.intp]]:
        """Indices along the first axis in parts that the network can see at once."""
        if self.whole:
            return [rows]
        each = max(1, BATCH_VOXELS // math.prod(self._original.shape[1:]))
        return np.array_split(rows, -(-len(rows) // each))

    def penalty(self, unit: Tensor, rows: NDArray[np.intp]) -> Tensor:
        """1 - Dice of unit intensities at those indices along the first axis (all of them if `whole`)."""
        return 1 - dice(self._logits(self._decoded(unit, rows)), self._flat(self._labels[rows])).mean()

    def loses(self, changed: NDArray[np.float32], unit: NDArray[np.float32]) -> bool:
        """Whether Dice is lower in the unit intensities `changed` of the whole chunk than in `unit`."""
        both = []
        with torch.no_grad():
            for values in (changed, unit):
                parts = self.batches(np.arange(len(values)))
                both.append(
                    sum(
                        float(self.penalty(torch.from_numpy(values[part]).to(self.where), part)) * len(part)
                        for part in parts
                    )
                )
        return both[0] > both[1]

    def _decoded(self, unit: Tensor, rows: NDArray[np.intp]) -> Tensor:
        values = self._low + self._span * unit.clamp(0.0, 1.0)
        return values if self._hidden is None else torch.where(self._hidden[rows], self._original[rows], values)

    def _flat(self, values: Tensor) -> Tensor:
        """Everything before the network's own dimensions becomes its batch."""
        if values.ndim < self._dims:
            return values.reshape(1, *[1] * (self._dims - values.ndim), *values.shape)
        return values.reshape(-1, *values.shape[values.ndim - self._dims :])

    def _logits(self, values: Tensor) -> Tensor:
        images = self._flat(values)[:, None]
        try:
            logits = self._network(images)
        except (RuntimeError, TypeError, AssertionError) as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise ConfigError(
                f"expected a segmentation network that takes {tuple(images.shape)}, got {reason:.160}: use chunks of "
                "sizes that it takes"
            ) from error
        if not isinstance(logits, Tensor):
            raise ConfigError(f"expected a tensor from the segmentation network, got {type(logits)!r}: return logits")
        shape = tuple(logits.shape)
        if len(shape) != images.ndim or shape[0] != len(images) or shape[2:] != images.shape[2:] or shape[1] < 1:
            wanted = f"({len(images)}, classes, {', '.join(map(str, images.shape[2:]))})"
            raise ConfigError(f"expected logits {wanted} from the segmentation network, got {shape}: return logits")
        if not bool(torch.isfinite(logits.detach()).all()):
            raise ConfigError(
                "expected finite logits from the segmentation network, got NaN or infinity: check what it does with "
                "flat and dark slices"
            )
        return logits


def _found(logits: Tensor) -> Tensor:
    return (logits[:, 0] > 0).long() if logits.shape[1] == 1 else logits.argmax(1)


def dice(logits: Tensor, labels: Tensor) -> Tensor:
    """Smooth Dice (n, foreground classes) of logits (n, classes, ...) against labels (n, ...)."""
    if logits.shape[1] == 1:
        chance, truth = logits.sigmoid(), (labels != 0)[:, None].to(logits.dtype)
    else:
        chance = logits.softmax(1)[:, 1:]
        kinds = torch.arange(1, logits.shape[1], device=labels.device).reshape(-1, *[1] * (labels.ndim - 1))
        truth = (labels[:, None] == kinds).to(logits.dtype)
    inside = tuple(range(2, logits.ndim))
    return (2 * (chance * truth).sum(inside) + 1) / (chance.sum(inside) + truth.sum(inside) + 1)


def _load(reference: Reference, where: torch.device) -> tuple[Any, int]:
    """A network on a device, and the dimensions of the images that it takes."""
    content, path = find_network(reference)
    if path is not None:
        return _open_program(content, path.suffix, where)
    network = content.to(where) if hasattr(content, "to") else content
    return network, int(getattr(network, "dims", 2))


@kept(4)
def _open_program(data: bytes, suffix: str, where: torch.device) -> tuple[Any, int]:
    """A network from the bytes of a file: a program of torch.export if it is called .pt2, else TorchScript."""
    try:
        if suffix == ".pt2":
            program = torch.export.load(io.BytesIO(data))
            network: Any = program.module().to(where)
            dims = program.example_inputs[0][0].ndim - 2 if program.example_inputs else 2
        else:
            network = torch.jit.load(io.BytesIO(data), map_location=where)  # type: ignore[no-untyped-call]
            network.eval()
            dims = int(getattr(network, "dims", 2))
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ConfigError(
            f"expected a program of torch.export (.pt2) or TorchScript, got {reason:.160}: save the network as one"
        ) from error
    return network, dims
