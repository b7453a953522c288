"""What a source says that stands for no data becomes a setting of the codec that its copy is written with."""

import math
from typing import Any


def with_missing(settings: dict[str, Any], nodata: float | None) -> dict[str, Any]:
    """Settings in which `missing=` is the source's own number, unless they have one or keep every number anyway."""
    if nodata is None or not math.isfinite(nodata) or settings.get("lossless") or settings.get("missing") is not None:
        return settings
    return settings | {"missing": nodata}
