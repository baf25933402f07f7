"""Which compiled helpers are there? numba's loops and polars-hash, each found once, neither needed.

numba compiles its loops once per machine and user, which takes seconds, and keeps them in a folder that only the user
may write: what lies there is run.
"""

import importlib
import importlib.util
import os
import stat
from functools import lru_cache
from pathlib import Path
from types import ModuleType


@lru_cache(maxsize=1)
def kernels() -> tuple[ModuleType, ModuleType] | None:
    """The compiled loops (`kernels`, `kernels_xxh3`); None without numba or without a safe folder for its cache."""
    if importlib.util.find_spec("numba") is None:
        return None
    folder = os.environ.get("NUMBA_CACHE_DIR") or _private_folder()
    if folder is None:
        return None
    config = importlib.import_module("numba").config
    before, config.CACHE_DIR = config.CACHE_DIR, str(folder)  # read when a function is decorated
    try:
        return tuple(importlib.import_module(f"reversible.fingerprint.{name}") for name in ("kernels", "kernels_xxh3"))  # type: ignore[return-value]
    finally:
        config.CACHE_DIR = before


def loaded_kernels() -> tuple[ModuleType, ModuleType] | None:
    """The same, if somebody has found them worth loading already."""
    return kernels() if kernels.cache_info().currsize else None


@lru_cache(maxsize=1)
def polars() -> tuple[ModuleType, ModuleType] | None:
    """polars and polars-hash."""
    if importlib.util.find_spec("polars_hash") is None:
        return None
    return importlib.import_module("polars"), importlib.import_module("polars_hash")


def _private_folder() -> Path | None:
    """A folder of ours that nobody else may write; None when there cannot be one."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path("~/.cache").expanduser())
    folder = Path(base) / "reversible" / "numba"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
    except (OSError, RuntimeError):
        return None
    safe = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022
    return folder if safe and os.access(folder, os.W_OK) else None
