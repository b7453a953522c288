"""What an encoding is given beside the data, named by its content: segmentation networks and masks.

A stored configuration holds the name alone, "sha256:" and 64 hexadecimal digits: it means the same on every machine,
and no configuration can make a process open a file or run what is in it (`stored_reference` refuses all else). Whoever
wants to encode with a configuration that was read from a store gives the network again: with `segmentation=`, or for
processes that only see the store (Dask workers) as a file that the environment variable INR_CODEC_SEGMENTATION names.

Loading a program of TorchScript or torch.export runs what its author wrote: give only files that you trust.
"""

import copy
import hashlib
import os
import pickle
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inr_codec.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NAME = re.compile(r"sha256:[0-9a-f]{64}")
VARIABLE = "INR_CODEC_SEGMENTATION"


@dataclass(frozen=True, slots=True)
class Reference:
    """Something named by its content. `content` is the thing itself, or a file's Path, or None where only the name is
    known; references are equal when their names are."""

    name: str
    content: Any = field(default=None, compare=False, repr=False)


def network_reference(given: Any) -> Reference:
    """A reference to a segmentation network: a name, a file's path, a torch module or any other callable.

    A file is named by its bytes; a module by its class, structure and state (it is copied: what happens to the original
    later changes nothing); another callable by its pickle, which names functions by module and qualified name.
    """
    if isinstance(given, Reference):
        return given
    if isinstance(given, str) and NAME.fullmatch(given):
        return Reference(given)
    if isinstance(given, str | os.PathLike):
        path = Path(given).absolute()
        return Reference(_name(read_network(path)), path)
    if not callable(given):
        raise ConfigError(
            "expected segmentation to be a file's path, a torch module, a callable or 'sha256:...', "
            f"got {given!r:.80}: give one of them"
        )
    if hasattr(given, "state_dict"):
        module = copy.deepcopy(given)
        if hasattr(module, "eval"):
            module.eval()
        return Reference(_name(_state(module)), module)
    try:
        return Reference(_name(pickle.dumps(given, protocol=4)), given)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ConfigError(
            f"expected a segmentation that pickles (its pickle names it), got {given!r:.80} ({error}): give a function "
            "of a module, a torch module, or a file"
        ) from None


def mask_reference(given: Any) -> Reference:
    """A reference to a mask: a name, or an array of labels (0: background), named by shape and labels."""
    if isinstance(given, Reference):
        return given
    if isinstance(given, str) and NAME.fullmatch(given):
        return Reference(given)
    labels = as_labels(given)
    return Reference(_name(repr(labels.shape).encode() + labels.tobytes()), labels)


def stored_reference(option: str, given: Any) -> Reference:
    """A reference from a stored configuration, which holds names alone: nothing in it is taken for a path or an array.

    ConfigError for anything else.
    """
    if isinstance(given, Reference):
        return given
    if isinstance(given, str) and NAME.fullmatch(given):
        return Reference(given)
    raise ConfigError(
        f"expected {option} in stored settings to be the name 'sha256:...', got {given!r:.80}: nothing that metadata "
        f"names is opened; give what it should be to INRCodec({option}=...), or leave {option} out"
    )


def as_labels(given: Any) -> "NDArray[np.int64]":
    """Labels 0..K of any integers or booleans, in C order."""
    import numpy as np

    labels = given if isinstance(given, np.ndarray) else np.asarray(given)
    if labels.dtype.kind not in "biu" or (labels.dtype.kind == "i" and labels.size and labels.min() < 0):
        raise ConfigError(
            f"expected a mask of labels 0, 1, 2, ..., got {labels.dtype} {labels.shape}: make it an array of integers"
        )
    return labels.astype(np.int64, order="C")


def read_network(path: Path) -> bytes:
    """The bytes of a network's file."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"expected a segmentation network in {str(path)!r}, got {error.strerror}: give the path of its file"
        ) from None


def find_network(reference: Reference) -> Any:
    """The network's content (module, callable, or the bytes of its file and their path): (content, path or None).

    ConfigError when only its name is known and INR_CODEC_SEGMENTATION names no file of that content.
    """
    given = reference.content
    if given is not None and not isinstance(given, Path):
        return given, None
    path = given or os.environ.get(VARIABLE)
    if not path:
        raise ConfigError(
            f"expected the segmentation network {reference.name}, got its name alone: give it as segmentation= or set "
            f"{VARIABLE} to its file"
        )
    data = read_network(Path(path))
    if _name(data) != reference.name:
        raise ConfigError(
            f"expected the segmentation network {reference.name}, got {_name(data)} in {str(path)!r}: give the file "
            "that the configuration names"
        )
    return data, Path(path)


def labels_of(reference: Reference) -> "NDArray[np.int64]":
    """The labels of a mask; ConfigError when only its name is known."""
    if reference.content is None:
        raise ConfigError(f"expected the mask {reference.name}, got its name alone: give the array as mask=")
    labels: NDArray[np.int64] = reference.content
    return labels


def _name(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _state(module: Any) -> bytes:
    """Class, structure (as it prints) and state of a torch module, in bytes that are the same in every process."""
    import numpy as np

    kind = type(module)
    parts = [f"{kind.__module__}.{kind.__qualname__}\n{module!r}".encode()]
    for name, value in module.state_dict().items():
        array = value.detach().cpu().numpy() if hasattr(value, "detach") else np.asarray(value)
        parts.append(f"\n{name} {array.dtype} {array.shape}\n".encode() + array.tobytes())
    return b"".join(parts)
