"""What asking for the version costs."""

import subprocess
import sys

COUNT = """
import sys
from inr_codec.cli import main
try:
    main(["--version"])
finally:
    print(sorted(name for name in sys.modules if name.split(".")[0] == "inr_codec"))
    print("numpy" in sys.modules, "numba" in sys.modules)
"""


def test_the_version_loads_next_to_nothing() -> None:
    """`inr-codec --version` loads fewer than 15 modules of the package, and neither numpy nor numba."""
    told = subprocess.run([sys.executable, "-c", COUNT], capture_output=True, text=True, check=False).stdout
    version, modules, heavy = told.splitlines()
    assert version.startswith("inr-codec ")
    assert 0 < modules.count("inr_codec") < 15
    assert heavy == "False False"


def test_the_package_is_a_command() -> None:
    """`python -m inr_codec` is `inr-codec`."""
    run = [sys.executable, "-m", "inr_codec", "--version"]
    assert subprocess.run(run, capture_output=True, text=True, check=True).stdout.startswith("inr-codec ")
