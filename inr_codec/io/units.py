"""Units of length and time: the names that OME-Zarr 0.5 has for them (UDUNITS-2), whatever a file calls them."""

from math import log10

METRES = {
    "angstrom": 1e-10, "picometer": 1e-12, "nanometer": 1e-9, "micrometer": 1e-6, "millimeter": 1e-3,
    "centimeter": 1e-2, "decimeter": 1e-1, "meter": 1.0, "kilometer": 1e3, "inch": 0.0254, "foot": 0.3048,
}  # fmt: skip
SECONDS = {
    "picosecond": 1e-12, "nanosecond": 1e-9, "microsecond": 1e-6, "millisecond": 1e-3, "second": 1.0, "minute": 60.0,
    "hour": 3600.0, "day": 86400.0,
}  # fmt: skip
_PREFIXES = {"p": "pico", "n": "nano", "u": "micro", "µ": "micro", "μ": "micro", "m": "milli", "c": "centi",
             "d": "deci", "k": "kilo", "": ""}  # fmt: skip
_NAMES = {
    **{f"{short}m": f"{prefix}meter" for short, prefix in _PREFIXES.items()},
    **{f"{short}{s}": f"{prefix}second" for short, prefix in _PREFIXES.items() for s in ("s", "sec")},
    "\\u00b5m": "micrometer", "micron": "micrometer", "microns": "micrometer", "å": "angstrom", "ångström": "angstrom",
    "a": "angstrom", "in": "inch", '"': "inch", "ft": "foot", "min": "minute", "h": "hour", "hr": "hour", "d": "day",
}  # fmt: skip
_NONE = ("", "pixel", "pixels", "px", "voxel", "voxels", "unknown", "none", "reference frame", "1")


def unit_of(text: object) -> str | None:
    """The OME-Zarr name of a unit, a name that is not known as it is; None for none and for pixels."""
    name = str("" if text is None else text).strip().strip("\0")
    small = name.lower().replace("metre", "meter")
    if small in _NONE:
        return None
    for known in (small, small.removesuffix("s")):
        if known in METRES or known in SECONDS:
            return known
    return _NAMES.get(small, name)


def factor(unit: str | None, to: str) -> float | None:
    """How many of a unit `to` one of another makes; None where that is not known."""
    for table in (METRES, SECONDS):
        if unit in table and to in table:
            return rounded(table[unit] / table[to])
    return None


def rounded(value: float) -> float:
    """A number without the last digits that a division leaves (15 of 17 are kept)."""
    return round(value, 14 - int(log10(abs(value)))) if value and abs(value) < 1e300 else value


def symbol(unit: str | None) -> str:
    """What most files call a unit ("um"); "" for none."""
    short = {f"{prefix}{name}": f"{one}{name[0]}" for one, prefix in _PREFIXES.items() if one not in "µμ" or not one
             for name in ("meter", "second")}  # fmt: skip
    return short.get(str(unit), unit or "")
