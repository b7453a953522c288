"""Settings of the encoder (the recipe): what may be asked for, what is checked, what is filled in."""

import difflib
import math
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args

from numpy.typing import NDArray

from inr_codec.content_names import Reference, mask_reference, network_reference
from inr_codec.efforts import Effort
from inr_codec.errors import ConfigError

Weights = Literal["foreground", "array"] | float | NDArray[Any]
PAPER: dict[str, Any] = {
    "layers": "network",
    "partition": "spectrum",
    "max_blocks": 50,
    "top_m": 1,
    "concentration": "magnitude",
    "allocation": "spectrum",
    "depth": 7,
    "funnel_ratio": 2.2,
    "w0": 20.0,
    "optimiser": "adamax",
    "learning_rate": 1e-3,
    "deblock": True,
}
"""The SCI paper's own values ("Implementation details")."""

ARCHITECTURES: dict[str, dict[str, Any]] = {
    "funnel": {},
    "siren": {"layers": "network", "partition": "none", "funnel_ratio": 1.0, "bits": 5.5},
    "nerf": {"layers": "network", "partition": "none", "funnel_ratio": 1.0, "bits": 5.5},
}
"""What an architecture sets where nothing is given."""
CUTTING = ("max_blocks", "top_m", "concentration", "levels", "allocation")
"""Settings that say nothing of a chunk that is not cut."""

TARGETS = ("ratio", "bpv", "psnr", "max_error", "lossless")
OF_BOUNDS = ("max_error", "lossless", "effort", "seed")
"""Settings of streams whose every voxel is bounded; the others say nothing of them."""
MAX_RATIO = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """How a chunk is to be encoded. Exactly one of the targets (the first five) is given; None means: chosen by
    the encoder.

    ratio: bytes of the chunk / bytes of the stream, at least this. bpv: bits per voxel, at most this. psnr: dB (peak =
    range of the chunk), at least this. max_error: of any voxel, in the chunk's units, at most this. lossless: nothing
    is lost. effort: how long to search. seed: of everything random. preset: "paper" sets what is not given to the SCI
    paper's values. layers: "network" (SCI's codec alone) or "auto" (networks, residual and filter, whatever pays).
    architecture: of the networks, "funnel" (SCI's, the default), "siren" (sines without funnel: COIN) or "nerf" (ReLU
    on an encoded coordinate); the last two imply layers="network" and, unless asked for, no partition. partition,
    max_blocks (a_max), top_m (M), concentration (form of eq. 9), levels: how the chunk is cut. allocation: how
    parameters are shared out. depth, funnel_ratio (f_r), w0: the networks. optimiser, learning_rate, batch, steps: the
    fit. bits: of a parameter, on average. deblock: whether seams may be filtered. weights: where errors count more
    ("array": an array was given to the codec, which does not keep it). prior: text of learned starts. segmentation,
    dice_weight, mask: the structural regulariser, the first and the last kept as references by name; it implies
    layers="network".
    """

    ratio: float | None = None
    bpv: float | None = None
    psnr: float | None = None
    max_error: float | None = None
    lossless: bool | None = None
    effort: Effort = "default"
    seed: int = 0
    preset: Literal["paper"] | None = None
    layers: Literal["auto", "network"] | None = None
    architecture: Literal["funnel", "siren", "nerf"] | None = None
    partition: Literal["spectrum", "measured", "equal", "none"] | None = None
    max_blocks: int | None = None
    top_m: int | None = None
    concentration: Literal["magnitude", "centred"] | None = None
    levels: int | None = None
    allocation: Literal["measured", "spectrum", "size", "concentration", "equal"] | None = None
    depth: int | None = None
    funnel_ratio: float | None = None
    w0: float | None = None
    optimiser: Literal["adam", "adamax"] | None = None
    learning_rate: float | None = None
    batch: int | None = None
    steps: int | None = None
    bits: float | None = None
    deblock: bool | None = None
    weights: Weights | None = None
    prior: str | None = None
    segmentation: Any = None
    dice_weight: float | None = None
    mask: Any = None

    def __post_init__(self) -> None:
        for name, reference in (("segmentation", network_reference), ("mask", mask_reference)):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, reference(getattr(self, name)))
        _check(self)

    def to_dict(self) -> dict[str, Any]:
        """The settings that were given, as plain JSON values; the same dictionary builds the same Config."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            name: value.name if isinstance(value, Reference) else value
            for name, value in values.items()
            if value is not None and (name, value) not in (("effort", "default"), ("seed", 0))
        }

    def resolved(self) -> "Config":
        """With what a regulariser and the architecture imply, and then the preset's values where nothing was given."""
        values = (PAPER if self.preset else {}) | ARCHITECTURES[self.architecture or "funnel"]
        if self.segmentation is not None:
            values = values | {"layers": "network", "dice_weight": 1.0}
        if self.architecture == "nerf":
            values.pop("w0", None)
        return replace(self, **{name: value for name, value in values.items() if getattr(self, name) is None})

    def budget(self, nbytes: int, voxels: int) -> int | None:
        """Bytes that the stream of a chunk may take; None when something else is asked for."""
        if self.ratio is not None:
            return int(nbytes / self.ratio)
        if self.bpv is not None:
            return int(voxels * self.bpv / 8)
        return None


def make_config(options: dict[str, Any], owner: str = "inr_codec") -> Config:
    """A Config from keyword options; ConfigError for an unknown one, naming the known one that is nearest to it."""
    known = [field.name for field in fields(Config)]
    for name in options:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            advice = f"did you mean {near[0]}=?" if near else "leave it out, or install a release that knows it"
            raise ConfigError(f"expected an option of {owner}, got {name}={options[name]!r:.40}: {advice}")
    for name in CUTTING:
        if options.get("partition") == "none" and options.get(name) is not None:
            wanted = f"no {name}= beside partition='none', which cuts nothing"
            raise ConfigError(f"expected {wanted}, got {name}={options[name]!r}: leave one of the two out")
    return Config(**options)


def _number(name: str, value: Any, low: float, high: float, whole: bool = False) -> None:
    kinds = (int,) if whole else (int, float)
    good = isinstance(value, kinds) and not isinstance(value, bool) and math.isfinite(value) and low <= value <= high
    if not good:
        kind = "a whole number" if whole else "a number"
        raise ConfigError(f"expected {name} to be {kind} between {low:g} and {high:g}, got {value!r}: change it")


LIMITS: dict[str, tuple[float, float, bool]] = {
    "ratio": (1.0, MAX_RATIO, False),
    "bpv": (1e-6, 64.0, False),
    "psnr": (1.0, 150.0, False),
    "max_error": (1e-300, 1e300, False),
    "seed": (0, 2**32 - 1, True),
    "max_blocks": (1, 4096, True),
    "top_m": (1, 2**31, True),
    "levels": (0, 12, True),
    "depth": (2, 16, True),
    "funnel_ratio": (0.0625, 15.9375, False),
    "w0": (0.0625, 4000.0, False),
    "learning_rate": (1e-7, 1.0, False),
    "batch": (128, 2**20, True),
    "steps": (1, 10**8, True),
    "bits": (3.0, 16.0, False),
    "dice_weight": (0.0, 1e6, False),
}


def _check_weights(weights: Any) -> None:
    number = isinstance(weights, (int, float)) and not isinstance(weights, bool) and math.isfinite(weights)
    if weights is not None and not number and not (isinstance(weights, str) and weights in ("foreground", "array")):
        raise ConfigError(
            "expected weights to be an array, 'foreground' or a number (the least intensity of the region), got "
            f"{weights!r:.80}: choose one of them"
        )


def _check(config: Config) -> None:
    targets = [name for name in TARGETS if getattr(config, name) is not None]
    if len(targets) != 1:
        got = " and ".join(targets) or "none"
        raise ConfigError(
            f"expected exactly one target of {', '.join(f'{name}=' for name in TARGETS)}, got {got}: give one, as in "
            "INRCodec(ratio=100)"
        )
    optional = {field.name for field in fields(Config) if field.default is None}
    for name, (low, high, whole) in LIMITS.items():
        value = getattr(config, name)
        if value is not None or name not in optional:
            _number(name, value, low, high, whole)
    _check_weights(config.weights)
    for field in fields(Config):
        value = getattr(config, field.name)
        if field.name == "weights":
            continue
        choices = [choice for option in get_args(field.type) for choice in get_args(option)] or list(
            get_args(field.type)
        )
        if (
            all(isinstance(choice, str) for choice in choices)
            and choices
            and (value is not None or field.name not in optional)
            and value not in choices
        ):
            raise ConfigError(
                f"expected {field.name} to be one of {', '.join(map(repr, choices))}, got {value!r}: choose one of them"
            )
    if config.lossless not in (None, True):
        raise ConfigError(f"expected lossless to be True, got {config.lossless!r}: give max_error= or leave it out")
    if config.max_error is not None or config.lossless:
        for name in [field.name for field in fields(Config) if field.name not in OF_BOUNDS]:
            if (given := getattr(config, name)) is not None:
                wanted = f"no {name}= beside max_error= or lossless=, which use no networks"
                raise ConfigError(f"expected {wanted}, got {given!r:.60}: leave one of the two out")
    if config.deblock is not None and not isinstance(config.deblock, bool):
        raise ConfigError(f"expected deblock to be True or False, got {config.deblock!r}: choose one of them")
    _check_prior(config)
    _check_regulariser(config)
    _check_architecture(config)


def _check_prior(config: Config) -> None:
    """Refuse what a prior has decided already."""
    for option in ("preset", "architecture", "depth", "funnel_ratio", "w0"):
        given = getattr(config, option)
        if config.prior is not None and given not in (None, "funnel"):
            wanted = f"no {option}= with prior=, which was learnt for networks of its own"
            raise ConfigError(f"expected {wanted}, got {option}={given!r}: leave one of the two out")
    if config.prior is not None and not isinstance(config.prior, str):
        raise ConfigError(f"expected prior= to be the text of a prior, got {config.prior!r:.60}: give Prior.text")


def _check_regulariser(config: Config) -> None:
    """Refuse half of a regulariser."""
    if config.segmentation is None and (config.dice_weight is not None or config.mask is not None):
        raise ConfigError(
            "expected segmentation= with dice_weight= and mask=, got none: name the network that looks at the structure"
        )
    if config.segmentation is not None and config.layers == "auto":
        raise ConfigError(
            "expected layers='network' with segmentation=, got 'auto': structure is kept by networks, leave layers= out"
        )


def _check_architecture(config: Config) -> None:
    """Refuse what an architecture contradicts."""
    name = config.architecture or "funnel"
    implied = ARCHITECTURES[name]
    if name == "nerf" and config.w0 is not None:
        wanted = "no w0= with architecture='nerf', which has no sines"
        raise ConfigError(f"expected {wanted}, got w0={config.w0!r}: leave one of the two out")
    for option in ("layers", "funnel_ratio"):
        given = getattr(config, option)
        if option in implied and given not in (None, implied[option]):
            wanted = f"{option}={implied[option]!r} with architecture={name!r}"
            raise ConfigError(f"expected {wanted}, got {option}={given!r}: leave one of the two out")
    if implied.get("partition") == "none" and config.partition is None:
        for option in CUTTING:
            if (given := getattr(config, option)) is not None:
                wanted = f"partition= beside {option}= with architecture={name!r}, which cuts nothing by itself"
                raise ConfigError(f"expected {wanted}, got {option}={given!r} alone: give both or neither")
