"""Where things lie in the checkout."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden" / "v1"
VERSIONS = (GOLDEN, ROOT / "tests" / "golden" / "v2")
"""Golden streams by the version of the format; most tests take those of the first."""
STREAMS = sorted(path for folder in VERSIONS for path in folder.glob("*.inr"))
"""All of them."""
