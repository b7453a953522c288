"""The command line `inr-codec`: its commands and their options.

What a command needs is imported when it runs, so that `--version` and `--help` cost next to nothing.

An error is one line and status 2; status 1 means that chunks of an array are missing."""

import argparse
import json
import os
import re
import sys
import warnings
from collections.abc import Sequence
from dataclasses import fields
from difflib import get_close_matches
from functools import partial
from importlib import import_module
from io import TextIOWrapper
from typing import Any, NoReturn, get_args

from inr_codec.config import OPTIONS, TARGETS, Config
from inr_codec.errors import (
    ConfigError,
    GenerationLoss,
    IncompleteArray,
    InrCodecError,
    MetadataLoss,
    TargetMissed,
)
from inr_codec.options import choices_of, kind_of

INTERRUPTED = 130
STANDARD = {"ratio": 100.0}
"""The target where none is given."""
EXAMPLES = {
    "inr-codec": """  inr-codec encode brain.tif brain.zarr --ratio 100
  inr-codec inspect brain.zarr
  inr-codec compare brain.tif brain.zarr --png compare.png
  inr-codec decode brain.zarr brain.nii.gz""",
    "encode": """  inr-codec encode brain.tif brain.zarr --ratio 100
  inr-codec encode ct.nii.gz study.zarr/ct --max-error 2
  inr-codec encode brain.tif brain.ome.zarr --ratio 100
  inr-codec encode raw.zarr small.zarr --psnr 45 --scheduler local --workers 8""",
    "decode": """  inr-codec decode brain.zarr brain.nii.gz
  inr-codec decode study.zarr/ct ct.npy --overwrite""",
    "prior": """  inr-codec prior brain.tif brain.prior --ratio 500
  inr-codec encode brain.tif brain.zarr --ratio 500 --prior brain.prior""",
    "try": """  inr-codec try brain.tif
  inr-codec try brain.tif --ratios 50,100,200 --seconds 300 --png brain.png""",
    "inspect": """  inr-codec inspect brain.zarr
  inr-codec inspect study.zarr/ct --all""",
    "compare": """  inr-codec compare brain.tif brain.zarr
  inr-codec compare brain.tif brain.zarr --png compare.png""",
    "plan": """  inr-codec plan raw.zarr small.zarr --ratio 100
  inr-codec plan s3://bucket/raw.zarr s3://bucket/small.zarr --ratio 100 --shards 256,512,512""",
    "measure": """  inr-codec measure small.zarr --part $SLURM_ARRAY_TASK_ID/64""",
    "run": """  inr-codec run small.zarr
  inr-codec run small.zarr --part $SLURM_ARRAY_TASK_ID/64
  inr-codec run small.zarr --scheduler tcp://10.0.0.1:8786""",
    "finish": """  inr-codec finish small.zarr""",
    "verify": """  inr-codec verify small.zarr
  inr-codec verify small.zarr --against raw.zarr --sample 1%""",
    "report": """  inr-codec report small.zarr
  inr-codec report small.zarr --html pages/small.html""",
}
"""What the help of a command shows at its end."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 when it did its work, 1 when chunks failed or are missing, 2 for anything else that a person
    can cause, 130 when interrupted."""
    try:
        parser = _parser()
        if "_ARGCOMPLETE" in os.environ:  # a shell asks what may come next
            import_module("argcomplete").autocomplete(parser)
        options = vars(parser.parse_args(arguments))
        with warnings.catch_warnings():
            for told in (GenerationLoss, MetadataLoss):
                warnings.simplefilter("once", told)
            warnings.simplefilter("ignore", TargetMissed)  # the commands count them
            warnings.showwarning = partial(_warn, warnings.showwarning)
            options.pop("run")(**options)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return _complain("interrupted", INTERRUPTED)
    except BrokenPipeError:  # the reader of our output, `head` say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except IncompleteArray as error:
        return _complain(str(error), 1)
    except (InrCodecError, OSError) as error:
        return _complain(str(error), 2)
    except Exception as error:
        if os.environ.get("INR_CODEC_TRACEBACK"):
            raise
        return _complain(f"{type(error).__name__}: {error} (INR_CODEC_TRACEBACK=1 shows where)", 2)
    return 0


def script() -> NoReturn:
    """The installed script: run `main` and exit; after an interrupt at once, without waiting for threads."""
    for stream in (sys.stdout, sys.stderr):  # a name that a terminal cannot show is no reason to fail
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    status = main()
    if status == INTERRUPTED:
        os._exit(status)
    sys.exit(status)


def _warn(others: Any, message: Warning | str, category: type[Warning], *where: Any) -> None:
    """A line for a warning of this package; others are shown as they are."""
    if issubclass(category, (GenerationLoss, MetadataLoss)):
        print("inr-codec: warning:", " ".join(str(message).split()), file=sys.stderr)
    else:
        others(message, category, *where)


def _complain(message: str, status: int) -> int:
    print("inr-codec: error:", " ".join(message.split()), file=sys.stderr)
    return status


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors are ConfigErrors of one line."""

    def __init__(self, **options: Any) -> None:
        examples = EXAMPLES.get(str(options.get("prog")).rpartition(" ")[2])
        shape = argparse.RawDescriptionHelpFormatter
        super().__init__(**options, epilog=examples and f"examples:\n{examples}", formatter_class=shape)

    def error(self, message: str) -> NoReturn:
        hint = f"see {self.prog} --help"
        if wrong := re.search(r"invalid choice: '(.*?)' \(choose from (.*)\)", message):
            near = get_close_matches(wrong[1], re.findall(r"[\w-]+", wrong[2]), n=1)
            hint = f"did you mean {near[0]!r}? {hint}" if near else hint
        raise ConfigError(f"{message}; {hint}")


class _Version(argparse.Action):
    """`--version`: looked up when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        from importlib.metadata import version

        print("inr-codec", version("inr_codec"))
        parser.exit()


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="inr-codec", description="A neural codec for scientific volumes.")
    parser.add_argument(
        "--version", action=_Version, nargs=0, default=argparse.SUPPRESS, help="print the version and exit"
    )
    verbs = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_volumes(verbs)
    _add_large(verbs)
    _add_checks(verbs)
    return parser


def _command(module: str, job: str, **options: Any) -> None:
    """Run the function `job` of a module of commands."""
    getattr(import_module(f"inr_codec.cli.{module}"), job)(**options)


def _add_volumes(verbs: Any) -> None:
    """encode, decode, prior, try, inspect, compare."""
    encode = verbs.add_parser("encode", help="a volume (TIFF, NIfTI, NRRD, DICOM, zarr, ...) to an encoded zarr array")
    encode.add_argument("source", help="the volume; NAME.zarr/ARRAY in a group, FILE:PART of a file of several")
    encode.add_argument("target", help="the zarr array to write, NAME.zarr or NAME.zarr/ARRAY")
    _add_recipe(encode)
    _add_cluster(encode)
    _add_check(encode)
    encode.set_defaults(run=_encode)

    decode = verbs.add_parser("decode", help="an encoded zarr array to npy, tif, nii, nrrd, mrc or lossless zarr")
    decode.add_argument("source", help="the zarr array; NAME.zarr/ARRAY for an array in a group")
    decode.add_argument("target", help="the volume to write; its suffix tells the format")
    decode.set_defaults(run=partial(_command, "volumes", "decode"))
    for command in (encode, decode):
        command.add_argument("--overwrite", action="store_true", help="replace the target if it exists")
        command.add_argument("--progress", action="store_true", help="draw the bar even where stderr is no terminal")
    decode.add_argument("--workers", type=_count, help="chunks in work at a time")

    prior = verbs.add_parser("prior", help="learn from sample chunks where fits start: a file for encode --prior")
    prior.add_argument("source", help="the volume; NAME.zarr/ARRAY for an array in a group")
    prior.add_argument("target", help="the text file to write")
    prior.add_argument("--ratio", type=float, default=100.0, help="that the volume will be encoded at (default: 100)")
    prior.add_argument("--layers", choices=("auto", "network"), help="that it will be encoded with")
    prior.add_argument("--chunks", type=_sides, metavar="Z,Y,X", help="voxels of a chunk (default: by the axes)")
    prior.add_argument("--samples", type=_count, default=8, help="chunks to learn from (default: 8)")
    prior.add_argument("--rounds", type=_count, default=60, help="of learning, for each network size (default: 60)")
    prior.add_argument("--progress", action="store_true", help="draw the bar even where stderr is no terminal")
    prior.set_defaults(run=partial(_command, "volumes", "prior"))

    trial = verbs.add_parser("try", help="which ratio? typical parts at several rates: a table, a picture, advice")
    trial.add_argument("source", help="the volume; NAME.zarr/ARRAY for an array in a group")
    trial.add_argument("--ratios", type=_ratios, metavar="A,B,...", help="to try (default: 10,30,100,300,1000)")
    trial.add_argument("--seconds", type=float, default=90.0, help="after which nothing more is begun (default: 90)")
    trial.add_argument("--chunks", type=_sides, metavar="Z,Y,X", help="voxels of a chunk (default: by the axes)")
    trial.add_argument("--png", help="the picture to draw (default: NAME-try.png in this folder)")
    trial.add_argument("--progress", action="store_true", help="draw the bar even where stderr is no terminal")
    trial.set_defaults(run=partial(_command, "trials", "run"))

    inspect = verbs.add_parser("inspect", help="what an encoded array or a single stream holds, without decoding it")
    inspect.add_argument("source", help="a zarr array, or a file that holds one stream")
    inspect.add_argument("--all", action="store_true", dest="every_chunk", help="list every chunk, not only ten")
    inspect.set_defaults(run=partial(_command, "volumes", "inspect"))

    compare = verbs.add_parser("compare", help="PSNR, SSIM and ratio of a decoded volume, and a picture")
    compare.add_argument("original", help="the volume as it was")
    compare.add_argument("decoded", help="the encoded zarr array, or a decoded volume")
    compare.add_argument("--png", help="draw original, decoded and difference, views, spectra here")
    compare.set_defaults(run=partial(_command, "comparison", "compare"))


def _add_large(verbs: Any) -> None:
    """plan, measure, run, finish."""
    plan = verbs.add_parser("plan", help="begin a large array: the plan beside the store, nothing encoded yet")
    plan.add_argument("source", help="the volume; a path or URL that every worker can read")
    plan.add_argument("target", help="the zarr array to write; a path or URL that every worker can write to")
    _add_recipe(plan)
    plan.add_argument("--overwrite", action="store_true", help="begin anew if the target exists")
    _add_check(plan)
    plan.set_defaults(run=_plan)
    for name, job, text in (
        ("measure", "measure", "share the budget out: before run --part, with the same parts"),
        ("run", "run", "encode what is planned and not done"),
    ):
        command = verbs.add_parser(name, help=text)
        command.add_argument("target", help="the target of inr-codec plan")
        command.add_argument("--part", type=_part, default=(1, 1), metavar="I/N", help="this one of N processes' share")
        command.add_argument("--progress", action="store_true", help="draw the bar even where stderr is no terminal")
        _add_cluster(command)
        if name == "run":
            _add_check(command)
        command.set_defaults(run=partial(_command, "clusters", job))
    finish = verbs.add_parser("finish", help="the manifest, once all parts have run; status 1 where chunks failed")
    finish.add_argument("target", help="the target of inr-codec plan")
    _add_check(finish)
    finish.set_defaults(run=partial(_command, "clusters", "finish"))


def _add_checks(verbs: Any) -> None:
    """verify, report."""
    verify = verbs.add_parser("verify", help="check every chunk of an encoded store; status 1 where anything is wrong")
    verify.add_argument("target", help="a zarr array or group, a path or URL")
    verify.add_argument("--against", metavar="SOURCE", help="what it was made of: a sample is compared with it")
    verify.add_argument("--sample", type=_share, default=0.01, help="share of the chunks to compare (default: 1%%)")
    verify.add_argument("--workers", type=_count, help="chunks in work at a time")
    verify.add_argument("--progress", action="store_true", help="draw the bar even where stderr is no terminal")
    verify.set_defaults(run=partial(_command, "checks", "verify"))

    report = verbs.add_parser("report", help="one HTML page about an encoded store: maps, histograms, failed chunks")
    report.add_argument("target", help="a zarr array or group, a path or URL")
    report.add_argument("--html", help="the page to write (default: TARGET.html)")
    report.set_defaults(run=partial(_command, "checks", "report"))


def _add_recipe(command: argparse.ArgumentParser) -> None:
    goal = command.add_mutually_exclusive_group()
    for found in fields(Config):
        if OPTIONS[found.name].flag:
            kind = float if float in get_args(found.type) else kind_of(found.type)
            _add_option(goal if found.name in TARGETS else command, found.name, kind)
    command.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="another setting of INRCodec; may be repeated"
    )
    command.add_argument("--mask", metavar="PATH", help="labels to keep, of the source's shape (on clusters)")
    command.add_argument("--chunks", type=_sides, metavar="Z,Y,X", help="voxels of a chunk (default: by the axes)")
    command.add_argument("--shards", type=_sides, metavar="Z,Y,X", help="voxels of a shard (on clusters, format 3)")
    command.add_argument(
        "--ome", action="store_true", help="an OME-Zarr image with levels (default where TARGET ends in .ome.zarr)"
    )
    command.add_argument("--zarr-format", type=int, choices=(2, 3), help="3 (default) reads planes cheaply")
    command.add_argument(
        "--per-chunk", action="store_true", help="every chunk has the ratio for itself, not the array as a whole"
    )
    command.add_argument("--force", action="store_true", help="go on though settings have changed; keep what is done")


def _add_option(to: Any, name: str, kind: Any) -> None:
    """An option of the codec by its own name. A text is read from a file, and what may be anything is a file."""
    flag, text = f"--{name.replace('_', '-')}", OPTIONS[name].text.replace("%", "%%")
    if kind is bool:
        to.add_argument(flag, action="store_true", default=None, help=text)
    elif choices := choices_of(kind):
        to.add_argument(flag, choices=choices, help=text)
    elif kind in (int, float):
        standard = f" (default: {STANDARD[name]:g})" if name in STANDARD else ""
        to.add_argument(flag, type=kind, help=text + standard)
    else:
        to.add_argument(flag, metavar="FILE", help=text)


def _add_cluster(command: argparse.ArgumentParser) -> None:
    command.add_argument("--scheduler", metavar="ADDRESS", help="of a Dask cluster, or 'local' to start one here")
    command.add_argument("--workers", type=_count, help="chunks in work at a time; processes of a local cluster")
    command.add_argument("--gpus", type=_count, default=0, help="one process for each of so many GPUs")
    command.add_argument("--memory", type=_bytes, help="what a process may take, 8GB say (default: half of its share)")


def _add_check(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--check", choices=("bytes", "sizes"), default="bytes", help="of what is written (on clusters): all (default)"
    )


def _settings(options: dict[str, Any]) -> dict[str, Any]:
    """The settings of the codec, taken out of the options."""
    settings: dict[str, Any] = {}
    for item in options.pop("set"):
        name, equals, text = item.partition("=")
        if not equals:
            raise ConfigError(f"expected --set NAME=VALUE, got {item!r}: write for example --set max_blocks=8")
        try:
            settings[name] = json.loads(text)
        except ValueError:
            settings[name] = text
    for name, option in OPTIONS.items():
        if option.flag and (value := options.pop(name)) is not None:
            settings[name] = _text(value) if name == "prior" else value
    return settings if settings.keys() & set(TARGETS) else settings | STANDARD


def _text(path: str) -> str:
    from inr_codec.cli.volumes import read_text

    return read_text(path)


def _encode(**options: Any) -> None:
    """Encode here, or on a cluster."""
    settings = _settings(options)
    where = {name: options.pop(name) for name in ("scheduler", "workers", "gpus", "memory")}
    if where["scheduler"] is not None:
        _command("clusters", "encode", settings=settings, where=where, **options)
        return
    for name in ("shards", "per_chunk", "force", "mask"):
        if options.pop(name):
            option = name.replace("_", "-")
            raise ConfigError(f"expected --{option} with --scheduler, got it alone: add --scheduler local")
    if options.pop("check") != "bytes":
        raise ConfigError("expected --check with --scheduler, got it alone: add --scheduler local")
    _command("volumes", "encode", settings=settings, workers=where["workers"], **options)


def _plan(**options: Any) -> None:
    _command("clusters", "plan", settings=_settings(options), **options)


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")
    return int(text)


def _sides(text: str) -> tuple[int, ...]:
    return tuple(_count(side) for side in text.split(","))


def _ratios(text: str) -> tuple[float, ...]:
    return tuple(float(ratio) for ratio in text.split(","))


def _share(text: str) -> float:
    number = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    if not 0 < number <= 1:
        raise argparse.ArgumentTypeError(f"expected a share as 1% or 0.01, got {text!r}")
    return number


def _part(text: str) -> tuple[int, int]:
    part, _, parts = text.partition("/")
    if not 1 <= _count(part) <= _count(parts):
        raise argparse.ArgumentTypeError(f"expected I/N with I from 1 to N, got {text!r}")
    return int(part), int(parts)


def _bytes(text: str) -> float:
    units = {"": 1, "B": 1, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
    number = text.upper().removesuffix("B").removesuffix("I")
    unit = number[-1:] if number[-1:] in units else ""
    try:
        return float(number.removesuffix(unit)) * units[unit]
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a size as 8GB, got {text!r}") from None
