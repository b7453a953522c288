"""A small U-Net (Ronneberger et al. 2015): grey slices in, logits of every class out.

It takes slices in the units of the data, (slices, 1, y, x) with y and x divisible by 2^(levels - 1), and standardises
each of them itself, so that whoever uses it need not know how it was trained.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional


def _twice(inputs: int, width: int) -> nn.Sequential:
    """Two 3 x 3 convolutions, each normalised over groups of channels."""
    layers: list[nn.Module] = []
    for n in (inputs, width):
        layers += [nn.Conv2d(n, width, 3, padding=1), nn.GroupNorm(4, width), nn.ReLU()]
    return nn.Sequential(*layers)


class UNet(nn.Module):
    """`classes` outputs (1: foreground alone), `width` channels at full size, twice as many at each of the `levels`."""

    def __init__(self, classes: int, width: int = 8, levels: int = 4) -> None:
        super().__init__()
        widths = [width * 2**k for k in range(levels)]
        self.down = nn.ModuleList(_twice(n, m) for n, m in zip([1, *widths], widths))
        self.up = nn.ModuleList(_twice(n + 2 * n, n) for n in widths[:-1])
        self.out = nn.Conv2d(width, classes, 1)

    def forward(self, slices: Tensor) -> Tensor:
        """Logits (slices, classes, y, x)."""
        mean = slices.mean((1, 2, 3), keepdim=True)
        std = (slices - mean).square().mean((1, 2, 3), keepdim=True).add(1e-8).sqrt()
        values = (slices - mean) / std
        skipped = []
        for k, block in enumerate(self.down):
            values = block(functional.max_pool2d(values, 2) if k else values)
            skipped.append(values)
        for block, skip in zip(reversed(self.up), skipped[-2::-1]):
            values = block(torch.cat([functional.interpolate(values, scale_factor=2.0), skip], 1))
        logits: Tensor = self.out(values)
        return logits
