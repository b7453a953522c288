"""Segmentation networks small enough to be understood: what is above a threshold is foreground, and broken ones."""

import torch
from torch import Tensor, nn


class Threshold(nn.Module):
    """One logit: (mean over 3 x 3 - threshold) * slope."""

    def __init__(self, threshold: float, slope: float) -> None:
        super().__init__()
        self.threshold = nn.Parameter(torch.tensor(threshold))
        self.slope = slope

    def forward(self, images: Tensor) -> Tensor:
        return (nn.functional.avg_pool2d(images, 3, 1, 1) - self.threshold) * self.slope


class Volume(nn.Module):
    """The same for volumes (n, 1, z, y, x)."""

    dims = 3

    def __init__(self, threshold: float, slope: float) -> None:
        super().__init__()
        self.threshold, self.slope = threshold, slope

    def forward(self, volumes: Tensor) -> Tensor:
        return (nn.functional.avg_pool3d(volumes, 3, 1, 1) - self.threshold) * self.slope


class Bands(nn.Module):
    """Three classes: below `low`, between, above `high`."""

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        self.low, self.high = low, high

    def forward(self, images: Tensor) -> Tensor:
        middle = torch.minimum(images - self.low, self.high - images)
        return torch.cat([self.low - images, middle, images - self.high], 1)


def threshold_at_zero(images: Tensor) -> Tensor:
    """A plain function is a network too."""
    return images


def not_a_number(images: Tensor) -> Tensor:
    """What a division by zero gives."""
    return images * float("nan")


def too_small(images: Tensor) -> Tensor:
    """A network that forgot to upsample."""
    return images[..., ::2, ::2]


def no_tensor(images: Tensor) -> dict[str, Tensor]:
    """A network that returns a dictionary, as many do."""
    return {"out": images}


def refuses(images: Tensor) -> Tensor:
    """A network that takes slices of other sizes only."""
    raise RuntimeError("sizes of tensors must match\nsecond line")


def runs_out_above_100(images: Tensor) -> Tensor:
    """A network that needs more memory for bright images than there is."""
    if images.max() > 100:
        raise MemoryError
    return images - 50
