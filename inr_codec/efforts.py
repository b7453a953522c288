"""What the efforts "fast", "default" and "best" mean: everything that `effort=` decides, in one table.

Efforts differ in nothing else. benchmarks/studies/fidelity measures them as a whole (PSNR at equal bytes, seconds);
where a single number comes from stands at its field.
"""

from dataclasses import dataclass
from typing import Literal

Effort = Literal["fast", "default", "best"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EffortSettings:
    """What one effort spends."""

    flops_per_voxel: float
    """Arithmetic of the fit of networks, 6 x parameters x samples, per voxel of the chunk (studies/networks)."""
    steps: tuple[int, int]
    """Fewest and most steps of 256 voxels of that fit; of smaller batches in proportion more (studies/networks)."""
    network_bytes_per_voxel: tuple[float, ...]
    """Amounts of networks that are tried: more is better spent on the residual (studies/fidelity)."""
    residual_effort: int
    """Rounds of the residual layer of the winner: an index of `layers.residual.encode.ROUNDS` (studies/residual)."""
    filter_voxels: int
    """Voxels that the filter learns from, at most (studies/filter)."""
    filter_steps: int
    filter_batch: int
    filter_rate: float
    """Steps of the filter's fit, voxels of a step, and the first learning rate (studies/filter)."""
    filter_width: int
    """Neurons of the filter's first hidden layer, at most (studies/filter)."""
    filter_sizes: int
    """Sizes of the filter that are fitted, of which the best is kept (studies/filter)."""
    filter_pairs: int
    """Pairs of rounds of the residual that follow a filter (studies/loop)."""
    correction_bases: int
    """Residual layers that are tried as the base of a correction (studies/bounds)."""
    structure_steps: int
    """Steps under a structural regulariser, after the fit without it (studies/sinco)."""
    voxels_per_second: float
    """What one core encodes, roughly: the batch driver makes tasks of a minute by it (studies/scale)."""


EFFORTS: dict[Effort, EffortSettings] = {
    "fast": EffortSettings(
        flops_per_voxel=1.2e5,
        steps=(1000, 10000),
        network_bytes_per_voxel=(1 / 320,),
        residual_effort=1,
        filter_voxels=1 << 18,
        filter_steps=4000,
        filter_batch=1024,
        filter_rate=4e-3,
        filter_width=16,
        filter_sizes=1,
        filter_pairs=4,
        correction_bases=1,
        structure_steps=60,
        voxels_per_second=60e3,
    ),
    "default": EffortSettings(
        flops_per_voxel=5e5,
        steps=(3000, 32000),
        network_bytes_per_voxel=(1 / 640, 1 / 320),
        residual_effort=1,
        filter_voxels=1 << 20,
        filter_steps=16000,
        filter_batch=1024,
        filter_rate=3e-3,
        filter_width=24,
        filter_sizes=1,
        filter_pairs=8,
        correction_bases=4,
        structure_steps=300,
        voxels_per_second=40e3,
    ),
    "best": EffortSettings(
        flops_per_voxel=4e6,
        steps=(10000, 80000),
        network_bytes_per_voxel=(1 / 640, 1 / 400, 1 / 320, 1 / 256),
        residual_effort=2,
        filter_voxels=1 << 20,
        filter_steps=30000,
        filter_batch=1024,
        filter_rate=3e-3,
        filter_width=32,
        filter_sizes=2,
        filter_pairs=14,
        correction_bases=8,
        structure_steps=1500,
        voxels_per_second=8e3,
    ),
}
