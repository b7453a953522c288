"""Settings of the encoder (the recipe): what may be asked for, what is checked, what is filled in."""

import difflib
import sys
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from inr_codec.content_names import Reference, mask_reference, network_reference, stored_reference
from inr_codec.efforts import Effort
from inr_codec.errors import ConfigError
from inr_codec.options import Unread, about, check_use, check_values, explain, given, options_of, table

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Weights = Literal["foreground", "array"] | float | NDArray[Any]
else:
    Weights = Any  # options are named and checked without loading numpy

CODEC_ID = "inr_codec"
"""Under which numcodecs and zarr know the codec; metadata hold it beside the settings."""

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
MAX_RATIO = 1e6

REACH, TRY, USE = "What to reach (exactly one of them)", "How hard to try", "What to use"
FIT = "How to fit"
STRUCTURE = "What structure to keep (extra `sinco`; SINCO's regulariser, only while encoding)"

BOUNDED = Unread(
    "max_error= or lossless=", "which use no networks", lambda recipe: recipe.max_error is not None or recipe.lossless
)
EXACT = Unread("lossless=", "which has nothing to search", lambda recipe: recipe.lossless)
KEPT = Unread("lossless=", "which keeps every number", lambda recipe: recipe.lossless)
WHOLE = Unread(
    'partition="none" (siren and nerf imply it)',
    "which cuts nothing",
    lambda recipe: recipe.partition == "none",
    "leave it out or give another partition=",
)
NO_SPECTRUM = Unread(
    'partition="measured" or "equal" with allocation="measured", "size" or "equal"',
    "which look at no spectrum",
    lambda recipe: recipe.partition in ("measured", "equal") and recipe.allocation not in ("spectrum", "concentration"),
    "leave it out",
)
LEARNT = Unread("prior=", "which was learnt for networks of its own", lambda recipe: recipe.prior is not None)
NO_SINES = Unread('architecture="nerf"', "which has no sines", lambda recipe: recipe.architecture == "nerf")
OTHER_THAN_FUNNEL = replace(LEARNT, holds=lambda recipe: LEARNT.holds(recipe) and recipe.architecture != "funnel")
SEAMLESS = replace(WHOLE, holds=lambda recipe: WHOLE.holds(recipe) and recipe.deblock)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """How a chunk is to be encoded. Exactly one of the targets is given; None leaves an option to the encoder.

    The signature of `INRCodec` repeats names, types and defaults, for type checkers and completion (a test holds the
    two together). All else about an option is said here alone: limits, refusals, docstrings, the tables of README.md
    and docs/OPTIONS.md and the options of the command line are made of it.

    {options}
    """

    ratio: float | None = field(default=None, metadata=about(
        REACH, "bytes of the chunk / bytes of its stream, at least", limits=(1.0, MAX_RATIO), common=True, flag=True,
    ))  # fmt: skip
    bpv: float | None = field(default=None, metadata=about(
        REACH, "bits per voxel, at most", limits=(1e-6, 64.0), flag=True,
    ))  # fmt: skip
    psnr: float | None = field(default=None, metadata=about(
        REACH, "dB (peak = max - min of the chunk), at least; found by searching the rate",
        limits=(1.0, 150.0), common=True, flag=True,
    ))  # fmt: skip
    max_error: float | None = field(default=None, metadata=about(
        REACH, "largest error of any voxel, in units of the data, at most; holds on every machine",
        limits=(1e-300, 1e300), values="a number above 0", common=True, flag=True,
    ))  # fmt: skip
    lossless: bool | None = field(default=None, metadata=about(
        REACH, "every voxel comes back bit by bit", values="`True`", common=True, flag=True,
    ))  # fmt: skip
    missing: float | tuple[float, ...] | None = field(default=None, metadata=about(
        USE,
        "numbers that stand for what was not measured: they come back exactly, and nothing else suffers from them. NaN "
        "and infinities always do; an array's fill value, and a number that occurs again and again far from all "
        "others, are found without it",
        values="a number, or several", unread=(KEPT,), flag=True,
    ))  # fmt: skip
    labels: Literal["auto", "never", "always"] = field(default="auto", metadata=about(
        USE,
        'integers that are labels (segmentations, masks) are stored exactly, whatever the target: "auto" (those that '
        'are recognised; none with layers="network"), "never" (lossy, but where exact fits the target) or "always" '
        "(all integers)",
        unread=(BOUNDED,), flag=True,
    ))  # fmt: skip
    effort: Effort = field(default="default", metadata=about(
        TRY, "how long networks are fitted, and how many ways of coding are tried",
        unread=(EXACT,), common=True, flag=True,
    ))  # fmt: skip
    seed: int = field(default=0, metadata=about(
        TRY, "seed of all random numbers; one seed gives the same bytes on one machine, on any number of threads",
        limits=(0, 2**32 - 1), unread=(BOUNDED,), flag=True,
    ))  # fmt: skip
    preset: Literal["paper"] | None = field(default=None, metadata=about(
        USE, "the SCI paper's own values for partition, networks and fit, where they are not given",
        unread=(BOUNDED, LEARNT), flag=True,
    ))  # fmt: skip
    layers: Literal["auto", "network"] | None = field(default=None, metadata=about(
        USE,
        '"network": the SCI codec alone, with the cheapest planes and decoding on any grid '
        '(`decode(data, shape=...)`); "auto": networks, residual and filter, whatever pays',
        chosen='`"auto"`; `"network"` with siren, nerf and segmentation=', unread=(BOUNDED,),
    ))  # fmt: skip
    architecture: Literal["funnel", "siren", "nerf"] | None = field(default=None, metadata=about(
        USE,
        '"funnel" (the SCI paper\'s), "siren" (COIN: sines of one width; its 16-bit weights: `bits=16`) or "nerf" '
        "(sines and cosines of 12 octaves of the coordinate, ReLU, the encoding seen again in inner layers). The last "
        'two have one network for a chunk unless partition= is given, and imply layers="network"',
        chosen='`"funnel"`', unread=(BOUNDED, OTHER_THAN_FUNNEL),
    ))  # fmt: skip
    partition: Literal["spectrum", "measured", "equal", "none"] | None = field(default=None, metadata=about(
        USE,
        '"spectrum" (integer program over the 2^N-tree, eq. 7 to 12), "measured" (the same program, with costs from '
        'short fits of every node), "equal" (blocks of one size) or "none"',
        chosen='`"spectrum"`; `"none"` with siren and nerf', unread=(BOUNDED,),
    ))  # fmt: skip
    max_blocks: int | None = field(default=None, metadata=about(
        USE, "a_max: most blocks that a chunk may be cut into",
        limits=(1, 4096), chosen="as many as the budget is worth", unread=(BOUNDED, WHOLE),
    ))  # fmt: skip
    top_m: int | None = field(default=None, metadata=about(
        USE, "M: coefficients that count as concentrated in D(x), eq. 9",
        limits=(1, 2**31), chosen="`1`", unread=(BOUNDED, WHOLE, NO_SPECTRUM),
    ))  # fmt: skip
    concentration: Literal["magnitude", "centred"] | None = field(default=None, metadata=about(
        USE, 'form of eq. 9: "magnitude" (the paper\'s) or "centred" (without the DC coefficient)',
        chosen='`"centred"`', unread=(BOUNDED, WHOLE, NO_SPECTRUM),
    ))  # fmt: skip
    levels: int | None = field(default=None, metadata=about(
        USE, "depth of the tree: a block's side is at least the chunk's / 2^levels",
        limits=(0, 12), chosen='`3`; `2` with partition="measured"', unread=(BOUNDED, WHOLE),
    ))  # fmt: skip
    allocation: Literal["measured", "spectrum", "size", "concentration", "equal"] | None = field(
        default=None, metadata=about(
        USE,
        'parameters per block: "measured" (by short fits), "spectrum" (the paper\'s, |x| / D), "size" (|x|), '
        '"concentration" (1 / D) or "equal"',
        chosen='`"measured"`', unread=(BOUNDED, WHOLE),
    ))  # fmt: skip
    depth: int | None = field(default=None, metadata=about(
        USE, "layers of a network", limits=(2, 16), chosen="`5`", unread=(BOUNDED, LEARNT),
    ))  # fmt: skip
    funnel_ratio: float | None = field(default=None, metadata=about(
        USE, "f_r: width of a network's first layer / width of the others, stored in sixteenths",
        limits=(0.0625, 15.9375), chosen="`2.2`; `1` with siren and nerf", unread=(BOUNDED, LEARNT),
    ))  # fmt: skip
    w0: float | None = field(default=None, metadata=about(
        USE, "frequency factor of every sine, stored in sixteenths",
        limits=(0.0625, 4000.0), chosen="`15`; `30` for one SIREN of a large picture",
        unread=(BOUNDED, LEARNT, NO_SINES),
    ))  # fmt: skip
    optimiser: Literal["adam", "adamax"] | None = field(default=None, metadata=about(
        FIT, "how parameters of networks are updated", chosen='`"adam"`', unread=(BOUNDED,),
    ))  # fmt: skip
    learning_rate: float | None = field(default=None, metadata=about(
        FIT, "learning rate of the first step; it falls to 0 as a half cosine",
        limits=(1e-7, 1.0), chosen="by the size of the networks", unread=(BOUNDED,),
    ))  # fmt: skip
    batch: int | None = field(default=None, metadata=about(
        FIT, "voxels that a step looks at; fewer where a block has fewer",
        limits=(128, 2**20), multiple=128, chosen="128 or 256, by the size of the networks", unread=(BOUNDED,),
    ))  # fmt: skip
    steps: int | None = field(default=None, metadata=about(
        FIT, "steps of a network's fit, whatever the effort",
        limits=(1, 10**8), chosen="by effort and size of the networks", unread=(BOUNDED,),
    ))  # fmt: skip
    bits: float | None = field(default=None, metadata=about(
        USE, "bits of a stored parameter, on average",
        limits=(3.0, 16.0), chosen="`4.7`; `5.5` with siren and nerf", unread=(BOUNDED,),
    ))  # fmt: skip
    deblock: bool | None = field(default=None, metadata=about(
        USE, "whether seams between blocks may be filtered; done where it lowers the error",
        chosen="`True`", unread=(BOUNDED, SEAMLESS),
    ))  # fmt: skip
    weights: Weights | None = field(default=None, metadata=about(
        USE,
        'where errors count more: "foreground" (above Otsu\'s threshold of each chunk), a number (the least intensity '
        "of the region), or an array of the chunk's shape, float, >= 0. Metadata says \"array\" for that: it is needed "
        "to encode again, not to decode",
        values='`"foreground"`, a number, an array', unread=(BOUNDED,),
    ))  # fmt: skip
    prior: str | None = field(default=None, metadata=about(
        USE,
        "starts learnt from chunks like these (`Prior.text` of `learn_prior`; the file of `inr-codec prior`): fits "
        "need fewer steps. Metadata holds all of it: some kilobytes",
        values="text", unread=(BOUNDED,), flag=True,
    ))  # fmt: skip
    segmentation: Any = field(default=None, metadata=about(
        STRUCTURE,
        "network that finds the structure: file of torch.export (.pt2) or TorchScript, torch module, callable. Loading "
        'a file runs what is in it. Stored by hash: "sha256:..."',
        values="a file, a module, a callable", unread=(BOUNDED,), flag=True,
    ))  # fmt: skip
    dice_weight: float | None = field(default=None, metadata=about(
        STRUCTURE, "what losing all of the structure counts, in squared errors of the networks without it",
        limits=(0.0, 1e6), chosen="`1`", unread=(BOUNDED,), flag=True,
    ))  # fmt: skip
    mask: Any = field(default=None, metadata=about(
        STRUCTURE, "labels 0..K of the voxels of one chunk",
        values="an array", chosen="what the network finds in the original", unread=(BOUNDED,),
    ))  # fmt: skip

    def __post_init__(self) -> None:
        if isinstance(self.missing, list | tuple):
            object.__setattr__(self, "missing", tuple(self.missing))
        for name, reference in (("segmentation", network_reference), ("mask", mask_reference)):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, reference(getattr(self, name)))
        _check(self)

    def to_dict(self) -> dict[str, Any]:
        """The settings that were given, as plain JSON values; the same dictionary builds the same Config."""
        values = given(self)
        plain = {name: value.name if isinstance(value, Reference) else value for name, value in values.items()}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in plain.items()}

    @property
    def missing_numbers(self) -> tuple[float, ...]:
        """What `missing` lists."""
        if self.missing is None:
            return ()
        return self.missing if isinstance(self.missing, tuple) else (self.missing,)

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


OPTIONS = options_of(Config)
"""What is known of every option, by name."""
TARGETS = tuple(name for name, option in OPTIONS.items() if option.group == REACH)
explain(Config, Config)


def options_table(*, common: bool = False) -> str:
    """All options as markdown tables, a heading for each group; or the common ones as one table."""
    return table(Config, common=common)


def make_config(options: dict[str, Any], owner: str = "inr_codec", *, stored: bool = False) -> Config:
    """A Config from keyword options; ConfigError for an unknown one, naming the known one that is nearest to it.

    Options that would do nothing are refused, unless they are those of a stored recipe: what another release wrote
    stays readable. In such a recipe networks and masks are names of contents, never paths.
    """
    for name in options:
        if name not in OPTIONS:
            near = difflib.get_close_matches(name, OPTIONS, 1)
            advice = f"did you mean {near[0]}=?" if near else "leave it out, or install a release that knows it"
            raise ConfigError(f"expected an option of {owner}, got {name}={options[name]!r:.40}: {advice}")
    if stored:
        named = {name: options[name] for name in ("segmentation", "mask") if options.get(name) is not None}
        options = options | {name: stored_reference(name, value) for name, value in named.items()}
    config = Config(**options)
    if not stored:
        check_use(config, config.resolved())
    return config


def _check_weights(weights: Any) -> None:
    number = isinstance(weights, (int, float)) and not isinstance(weights, bool) and abs(weights) <= sys.float_info.max
    if weights is not None and not number and not (isinstance(weights, str) and weights in ("foreground", "array")):
        raise ConfigError(
            "expected weights to be an array, 'foreground' or a number (the least intensity of the region), got "
            f"{weights!r:.80}: choose one of them"
        )


def _check_missing(config: Config) -> None:
    for number in config.missing_numbers:
        if not isinstance(number, (int, float)) or isinstance(number, bool) or not abs(number) <= sys.float_info.max:
            raise ConfigError(
                f"expected missing= to be a finite number or several, got {config.missing!r:.80}: leave NaN and "
                "infinities out, they are kept anyway"
            )


def _check(config: Config) -> None:
    _check_missing(config)
    targets = [name for name in TARGETS if getattr(config, name) is not None]
    if len(targets) != 1:
        got = " and ".join(targets) or "none"
        raise ConfigError(
            f"expected exactly one target of {', '.join(f'{name}=' for name in TARGETS)}, got {got}: give one, as in "
            "INRCodec(ratio=100)"
        )
    if config.lossless not in (None, True):
        raise ConfigError(f"expected lossless to be True, got {config.lossless!r}: give max_error= or leave it out")
    check_values(config)
    _check_weights(config.weights)
    if config.deblock is not None and not isinstance(config.deblock, bool):
        raise ConfigError(f"expected deblock to be True or False, got {config.deblock!r}: choose one of them")
    if config.prior is not None and not isinstance(config.prior, str):
        raise ConfigError(f"expected prior= to be the text of a prior, got {config.prior!r:.60}: give Prior.text")
    _check_regulariser(config)
    _check_architecture(config)


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
    for option in ("layers", "funnel_ratio"):
        given = getattr(config, option)
        if option in implied and given not in (None, implied[option]):
            wanted = f"{option}={implied[option]!r} with architecture={name!r}"
            raise ConfigError(f"expected {wanted}, got {option}={given!r}: leave one of the two out")
