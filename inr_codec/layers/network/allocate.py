"""How many network parameters each block gets ("Parameter allocation" of the SCI paper)."""

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from inr_codec.errors import ConfigError
from inr_codec.layers.network.blocks import Block

Rule = Literal["spectrum", "size", "concentration", "equal"]


def allocate_parameters(
    blocks: Sequence[Block],
    concentrations: npt.ArrayLike,
    total: int,
    *,
    rule: Rule = "spectrum",
    smallest: int = 1,
) -> list[int]:
    """Parameters per block; the counts sum to `total` and none is below `smallest`.

    They are proportional to |x| / D(x) (`rule="spectrum"`, the paper's), to |x| (`"size"`), to 1 / D(x)
    (`"concentration"`), or the same for all (`"equal"`). `concentrations` is D of each block (eq. 9), in (0, 1].
    Raises ConfigError when that cannot be, when the rule is unknown, or when D and blocks do not match.
    """
    if rule not in get_args(Rule):
        raise ConfigError(f"expected allocation to be one of {get_args(Rule)}, got {rule!r}: choose one of them")
    spread = np.asarray(concentrations, np.float64)
    if spread.shape != (len(blocks),) or not (spread > 0).all():
        raise ConfigError(
            f"expected one spectrum concentration above 0 for each of {len(blocks)} blocks, got {spread.tolist()!r}: "
            "compute them with spectrum_concentration"
        )
    sizes = np.array([block.size for block in blocks], np.float64)
    weights = {
        "spectrum": sizes / spread,
        "size": sizes,
        "concentration": 1 / spread,
        "equal": np.ones(len(blocks)),
    }[rule]
    return share(weights, total, smallest)


def share(weights: npt.ArrayLike, total: int, smallest: int) -> list[int]:
    """Split `total` into integers proportional to `weights`, none below `smallest`; they sum to `total`.

    Shares that would fall below `smallest` are raised to it and the others share what is left, again in proportion;
    fractions are settled by largest remainder (the first of equals wins). Weights are finite and not negative; when all
    of them are 0 the shares are equal. Raises ConfigError when `total < smallest * len(weights)` or on bad weights.
    """
    weight = np.asarray(weights, np.float64)
    count = weight.size
    if count == 0 or weight.ndim != 1 or not np.isfinite(weight).all() or (weight < 0).any():
        raise ConfigError(
            f"expected a list of finite weights that are not negative, got {weight.tolist()!r}: give one for each block"
        )
    if total < smallest * count:
        raise ConfigError(
            f"expected at least {smallest * count} parameters ({smallest} for each of {count} blocks), got {total!r}: "
            "use fewer blocks or a lower ratio"
        )
    weight = weight / weight.max() if weight.max() > 0 else np.ones(count)
    exact = np.zeros(count)
    free = np.ones(count, bool)
    while True:
        left = total - smallest * int((~free).sum())
        if weight[free].sum() > 0:
            exact[free] = weight[free] / weight[free].sum() * left
        else:
            exact[free] = left / free.sum()
        low = free & (exact < smallest)
        if not low.any():
            break
        exact[low] = smallest
        free &= ~low
    whole = np.floor(exact).astype(np.int64)
    missing = total - int(whole.sum())
    order = np.lexsort((np.arange(count), whole - exact, ~free))
    whole[order[:missing]] += 1
    return [int(number) for number in whole]
