"""Which S3 servers of different makes can a test run against on this machine?

MiniStack and SeaweedFS come with the wheels. OpenStack Swift is installed from PyPI into an environment of its own,
once, in REVERSIBLE_SWIFT_CACHE or `.cache/swift` below the repository: its dependencies are not ours. Ceph comes from
Debian's packages. A make that cannot be had skips its tests; with REVERSIBLE_TESTS_NEED_S3_MAKES set, as in
.ci/run, it fails them.
"""

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from reversible.errors import MissingSDKError
from reversible_samples.s3_other_servers import Ceph, Swift
from reversible_samples.s3_servers import MiniStack, S3Server, SeaweedFS

SWIFT = "swift==2.38.3"
MAKES = (
    "seaweedfs",
    pytest.param("ministack", marks=pytest.mark.slow),
    pytest.param("swift", marks=pytest.mark.slow),
    pytest.param("ceph", marks=pytest.mark.slow),
)


def server(make: str, folder: Path) -> S3Server:
    """A server of that make, not started."""
    if make == "swift":
        return Swift(folder, python=_swift())
    return {"seaweedfs": SeaweedFS, "ministack": MiniStack, "ceph": Ceph}[make](folder)


def started(make: str, folder: Path) -> S3Server:
    """A server of that make that answers; `stop` it."""
    made = server(make, folder)
    try:
        made.start()
    except MissingSDKError as error:
        _unavailable(error.message)
    return made


def _swift() -> Path:
    """The Python of an environment that has Swift."""
    folder = Path(os.environ.get("REVERSIBLE_SWIFT_CACHE") or Path(__file__).parents[1] / ".cache/swift")
    python = folder / "bin/python"
    if not (folder / "whole").exists():
        if sys.platform != "linux":
            _unavailable("Swift runs on Linux")
        venv.create(folder, with_pip=True, clear=True)
        command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", SWIFT]
        done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
        if done.returncode:
            _unavailable(f"pip install {SWIFT}: {done.stderr.strip()[-300:]}")
        (folder / "whole").touch()
    return python


def _unavailable(reason: str) -> None:
    if os.environ.get("REVERSIBLE_TESTS_NEED_S3_MAKES"):
        pytest.fail(reason)
    pytest.skip(reason)
