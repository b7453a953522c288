"""The command line ``inr-codec``: encode, decode, inspect, compare. What goes wrong is one line and status 2."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any, NoReturn, get_args

from inr_codec import commands
from inr_codec.config import Effort
from inr_codec.errors import ConfigError, InrCodecError
from inr_codec.runtime import threads

INTERRUPTED = 130
TARGETS = ("ratio", "bpv", "psnr")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 when it did its work, 2 for anything that a person can cause, 130 when interrupted."""
    try:
        options = vars(_parser().parse_args(arguments))
        options.pop("run")(**options)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return _complain("interrupted", INTERRUPTED)
    except BrokenPipeError:  # the reader of our output, `head` say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (InrCodecError, OSError) as error:
        return _complain(str(error), 2)
    except Exception as error:
        if os.environ.get("INR_CODEC_TRACEBACK"):
            raise
        return _complain(f"{type(error).__name__}: {error} (INR_CODEC_TRACEBACK=1 shows where)", 2)
    return 0


def script() -> NoReturn:
    """The installed script: `main`, then away, without waiting for threads where the user did not want to wait."""
    status = main()
    if status == INTERRUPTED:
        os._exit(status)
    sys.exit(status)


def _complain(message: str, status: int) -> int:
    print("inr-codec: error:", " ".join(message.split()), file=sys.stderr)
    return status


class _Parser(argparse.ArgumentParser):
    """argparse, but its errors are one line as all others are."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}; see {self.prog} --help")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="inr-codec", description="A neural codec for scientific volumes.")
    parser.add_argument("--version", action="version", version=f"inr-codec {version('inr_codec')}")
    verbs = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    encode = verbs.add_parser("encode", help="a volume (npy, tif, nii, nrrd, zarr) to an encoded zarr array")
    encode.add_argument("source", help="the volume; NAME.zarr/ARRAY for an array in a group")
    encode.add_argument("target", help="the zarr array to write, NAME.zarr or NAME.zarr/ARRAY")
    goal = encode.add_mutually_exclusive_group()
    goal.add_argument("--ratio", type=float, help="at least so many times smaller (default: 100)")
    goal.add_argument("--bpv", type=float, help="at most so many bits per voxel")
    goal.add_argument("--psnr", type=float, help="at least so many dB (peak = max - min of a chunk)")
    encode.add_argument("--effort", choices=get_args(Effort), help="how long to fit")
    encode.add_argument("--seed", type=int, help="of the random numbers")
    encode.add_argument("--preset", help="'paper' for the settings of the SCI paper")
    encode.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="another setting of INRCodec; may be repeated"
    )
    encode.add_argument("--chunks", type=_sides, metavar="Z,Y,X", help="voxels of a chunk (default: 64,128,128)")
    encode.add_argument("--zarr-format", type=int, choices=(2, 3), default=3, help="3 (default) reads planes cheaply")
    encode.set_defaults(run=_encode)

    decode = verbs.add_parser("decode", help="an encoded zarr array to npy, tif, nii, nrrd or lossless zarr")
    decode.add_argument("source", help="the zarr array; NAME.zarr/ARRAY for an array in a group")
    decode.add_argument("target", help="the volume to write; its suffix tells the format")
    decode.set_defaults(run=commands.decode)
    for command in (encode, decode):
        command.add_argument("--workers", type=_count, default=threads(), help="chunks in work at a time")
        command.add_argument("--overwrite", action="store_true", help="replace the target if it exists")
        command.add_argument("--progress", action="store_true", help="draw the bar even where stderr is no terminal")

    inspect = verbs.add_parser("inspect", help="what an encoded array or a single stream holds, without decoding it")
    inspect.add_argument("source", help="a zarr array, or a file that holds one stream")
    inspect.add_argument("--all", action="store_true", dest="every_chunk", help="list every chunk, not only ten")
    inspect.set_defaults(run=commands.inspect)

    compare = verbs.add_parser("compare", help="PSNR, SSIM and ratio of a decoded volume, and a picture")
    compare.add_argument("original", help="the volume as it was")
    compare.add_argument("decoded", help="the encoded zarr array, or a decoded volume")
    compare.add_argument("--png", help="draw original, decoded and residual with the blocks' outlines here")
    compare.set_defaults(run=commands.compare)
    return parser


def _encode(**options: Any) -> None:
    """Gather the settings of the codec, then encode."""
    settings: dict[str, Any] = {}
    for item in options.pop("set"):
        name, equals, text = item.partition("=")
        if not equals:
            raise ConfigError(f"expected --set NAME=VALUE, got {item!r}: write for example --set max_blocks=8")
        try:
            settings[name] = json.loads(text)
        except ValueError:
            settings[name] = text
    for name in (*TARGETS, "effort", "seed", "preset"):
        value = options.pop(name)
        if value is not None:
            settings[name] = value
    if not settings.keys() & set(TARGETS):
        settings["ratio"] = 100.0
    commands.encode(settings=settings, **options)


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")
    return int(text)


def _sides(text: str) -> tuple[int, ...]:
    return tuple(_count(side) for side in text.split(","))
