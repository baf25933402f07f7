"""Where does each training framework live, away from ours and from each other?

Each has a virtual environment of its own, made from a lock file that names every package with its version and digests:
`environments/NAME.lock`, part of this package. Nothing of ours is installed there: a conversion sees our own packages,
and only those, as links in its empty home. What crosses the boundary is JSON and files.
"""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reversible.errors import SourceError, UsageError

_OURS = ("reversible", "reversible_exporters", "reversible_verifiers")


@dataclass(frozen=True, kw_only=True)
class Environment:
    """One framework's place. `modules` are what a conversion imports there; `alone`: never beside our own packages."""

    name: str
    modules: tuple[str, ...]
    alone: bool = False

    @property
    def lock(self) -> Path:
        return Path(__file__).parent / "environments" / f"{self.name}.lock"

    @property
    def folder(self) -> Path:
        return root() / self.name

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def installed(self) -> bool:
        """Whether it was made, whole, from the lock file of this version."""
        return self.python.exists() and _text(self.folder / "lock.sha256") == self._digest

    @property
    def beside_us(self) -> bool:
        """Whether the framework is among the packages of this very Python."""
        return not self.alone and all(importlib.util.find_spec(one) is not None for one in self.modules)

    @property
    def _digest(self) -> str:
        return hashlib.sha256(self.lock.read_bytes()).hexdigest()


ENVIRONMENTS = {
    one.name: one
    for one in (
        Environment(name="lightgbm", modules=("lightgbm",)),
        Environment(name="sklearn", modules=("joblib", "sklearn", "skl2onnx")),
        Environment(name="tensorflow", modules=("tensorflow", "keras", "tf2onnx"), alone=True),  # never beside torch
        Environment(name="xgboost", modules=("xgboost",)),
    )
}


def root() -> Path:
    """Where environments lie: $REVERSIBLE_ENVIRONMENTS, else the user's data directory."""
    if chosen := os.environ.get("REVERSIBLE_ENVIRONMENTS"):
        return Path(chosen).absolute()
    data = os.environ.get("XDG_DATA_HOME", "")
    base = Path(data) if data.startswith("/") else Path.home() / ".local" / "share"  # XDG: other paths are ignored
    return base / "reversible" / "environments"


def named(name: str) -> Environment:
    """The environment of that name.

    Raises:
        UsageError: there is none.
    """
    if name not in ENVIRONMENTS:
        raise UsageError(f"no environment is called {name!r}; there are: {', '.join(ENVIRONMENTS)}")
    return ENVIRONMENTS[name]


def interpreter(converter: Any, packages: Path) -> tuple[str, str, dict[str, str]]:
    """Which Python runs a converter, by which name it is called there, and what its environment needs beside.

    Args:
        converter: A converter; the attribute `environment` names its framework's place, where it has one.
        packages: An empty folder that the process may read: our own packages are linked there.

    Returns:
        The interpreter, the converter as "module:class", or "" where the entry point is known by name, and variables.

    Raises:
        SourceError: the environment is not installed.
    """
    name = getattr(converter, "environment", "")
    if not name:
        return sys.executable, "", {}
    environment = named(name)
    if not environment.installed:
        if environment.beside_us:
            return sys.executable, "", {}
        stale = "was made by another version" if environment.python.exists() else "is not installed"
        raise SourceError(f"the environment {name} {stale}", hint=f"reversible exporters --install {name}")
    kind = type(converter)
    for package in {*_OURS, kind.__module__.partition(".")[0]}:
        found = importlib.util.find_spec(package)
        if found is None or not found.submodule_search_locations:
            raise SourceError(f"the package {package} of the converter {kind.__qualname__} is not a folder")
        (packages / package).symlink_to(next(iter(found.submodule_search_locations)))
    variables = {"PYTHONPATH": str(packages), "PYTHONNOUSERSITE": "1"}
    return str(environment.python), f"{kind.__module__}:{kind.__qualname__}", variables


def install(name: str) -> Path:
    """Make the environment anew from its lock file, with pip; every package is held against its digest.

    Returns:
        Its folder.

    Raises:
        UsageError: there is no such environment.
        SourceError: pip failed; its last line says why.
    """
    environment = named(name)
    shutil.rmtree(environment.folder, ignore_errors=True)
    try:
        venv.create(environment.folder, with_pip=True, clear=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise SourceError(f"{environment.folder}: {error}", hint="apt-get install python3-venv") from error
    command = [
        str(environment.python), "-m", "pip", "install", "--disable-pip-version-check", "--no-deps",
        "--only-binary=:all:", "--require-hashes", "--requirement", str(environment.lock),
    ]  # fmt: skip
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()
        shutil.rmtree(environment.folder, ignore_errors=True)
        raise SourceError(f"environment {name}: pip ended with status {done.returncode}: {(said or [''])[0][:300]}")
    (environment.folder / "lock.sha256").write_text(environment._digest)
    return environment.folder


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except (OSError, ValueError):
        return ""
