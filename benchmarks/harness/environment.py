"""On what, and with which versions, something was measured."""

import os
import platform
import re
import subprocess
import time
from importlib import metadata, util
from pathlib import Path

LIBRARIES = ("inr_codec", "numpy", "numba", "scipy", "ortools", "torch", "imagecodecs", "av", "compressai")
ENCODERS = {
    "x264": r"libx264\S*\.so\.(\d[\d.]*)",
    "x265": r"libx265\S*\.so\.(\d[\d.]*)",
    "SVT-AV1": r"SvtAv1Enc\S*\.so\.(\d[\d.]*)",
}
"""Names of the shared libraries that PyAV's wheels carry; x264's and x265's versions are their build numbers."""
OF_IMAGECODECS = ("libjpeg_turbo", "openjpeg", "libjxl", "zfp", "sz3", "sperr")


def environment() -> dict:
    """Processor, cores, memory, Python, versions of libraries and of the codecs inside them, commit, date (UTC).

    load: processes that ran or waited for a core in the last minute, others' too.
    """
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "load": round(os.getloadavg()[0], 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "libraries": {name: version for name in LIBRARIES if (version := _version(name))},
        "codecs": _imagecodecs() | _ffmpeg(),
        "commit": _commit(),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*:\s*(.+)", cpuinfo.read_text()) if cpuinfo.exists() else None
    return found.group(1).strip() if found else platform.processor()


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _imagecodecs() -> dict[str, str]:
    """Versions of the C libraries inside imagecodecs."""
    if util.find_spec("imagecodecs") is None:
        return {}
    import imagecodecs

    found = (entry.strip().rpartition("-") for entry in imagecodecs.version().split(","))
    return {name: version for name, _, version in found if name in OF_IMAGECODECS}


def _ffmpeg() -> dict[str, str]:
    """FFmpeg's libavcodec, and the encoders that the wheel carries beside it."""
    spec = util.find_spec("av")
    if spec is None or spec.origin is None:
        return {}
    import av

    found = {"libavcodec": ".".join(map(str, av.library_versions["libavcodec"]))}
    names = " ".join(path.name for path in (Path(spec.origin).parents[1] / "av.libs").glob("*"))
    for encoder, pattern in ENCODERS.items():
        if match := re.search(pattern, names):
            found[encoder] = match.group(1)
    return found


def _commit() -> str:
    """Of the checkout, with a plus sign where tracked files differ from it; empty outside of one."""
    here = Path(__file__).parents[1]
    try:
        commit = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=here, capture_output=True, text=True, check=True
        )
        code = ["git", "diff", "--quiet", "HEAD", "--", "../inr_codec", "."]
        changed = subprocess.run([*code, ":!*.md", ":!*.json", ":!results"], cwd=here, check=False)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return commit.stdout.strip() + "+" * (changed.returncode == 1)
