"""Where does a real MySQL server come from, on a machine whose Debian has MariaDB alone?

From Debian's unstable suite, fetched by the machine's own apt from the archive that it is set up for, checked by
Debian's own keys, and unpacked into REVERSIBLE_MYSQL_CACHE or `.cache/mysql` below the repository: nothing is
installed, and no script of a package is run. apt itself finds the libraries, down to the C library, by resolving for a
machine that has none; so a newer version there brings what it needs. The programs are started by their own loader.

`python tests/mysql_programs.py` fetches them, as .ci/run does, and prints the version.
"""

import fcntl
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest

PACKAGES = ("mysql-server-core", "mysql-client-core")
PROGRAMS = ("mysqld", "mysql", "mysqldump", "mysqladmin")
SUITE = "unstable"
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_TIMEOUT_S = 280.0


class CannotFetchError(Exception):
    """This machine cannot have the programs."""


def cache() -> Path:
    """The folder that keeps the unpacked programs."""
    given = os.environ.get("REVERSIBLE_MYSQL_CACHE")
    return Path(given) if given else Path(__file__).parents[1] / ".cache/mysql"


def programs() -> Path:
    """The folder with mysqld, mysql, mysqldump and mysqladmin.

    Where this machine cannot have them (no apt, no Debian archive) the test is skipped; with
    REVERSIBLE_TESTS_NEED_MYSQL set, as in .ci/run, it fails.
    """
    try:
        return fetched()
    except CannotFetchError as error:
        if os.environ.get("REVERSIBLE_TESTS_NEED_MYSQL"):
            pytest.fail(f"MySQL: {error}")
        pytest.skip(f"MySQL: {error}")


def fetched() -> Path:
    """The same; fetched when this is the first call on this machine.

    Raises:
        CannotFetchError: apt, the archive or a package is missing; the message says which.
    """
    folder = cache() / SUITE
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several processes of one test run ask
        if not folder.exists():
            with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
                root = Path(scratch) / "root"
                _fetch(Path(scratch), root)
                for name in PROGRAMS:
                    _wrap(root, name)
                root.rename(folder)
    return folder / "bin"


def _fetch(scratch: Path, root: Path) -> None:
    if platform.system() != "Linux" or not all(shutil.which(name) for name in ("apt-get", "dpkg-deb")):
        raise CannotFetchError("its packages need apt-get and dpkg-deb")
    if not _KEYRING.exists():
        raise CannotFetchError(f"{_KEYRING} is not there, so that nothing fetched could be checked")
    for name in ("lists/partial", "cache/archives/partial"):
        (scratch / name).mkdir(parents=True)
    (scratch / "status").touch()  # a machine on which nothing is installed
    (scratch / "sources.list").write_text(f"deb [signed-by={_KEYRING}] {_archive()} {SUITE} main\n", encoding="utf-8")
    _apt(scratch, "update")
    _apt(scratch, "install", "--download-only", "--yes", "--no-install-recommends", *PACKAGES)
    for archive in sorted((scratch / "cache/archives").glob("*.deb")):
        _run(["dpkg-deb", "--extract", str(archive), str(root)])


def _archive() -> str:
    """The address of the Debian archive that this machine's apt is set up for."""
    said = _run(["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Origin: Debian"])
    found = [uri for uri in said.split() if "security" not in uri]  # an archive of its own, without this suite
    if not found:
        raise CannotFetchError("apt knows no archive of Debian's: apt-get update")
    return found[0]


def _apt(scratch: Path, *words: str) -> None:
    settings = {
        "Dir::Etc::sourcelist": scratch / "sources.list", "Dir::Etc::sourceparts": "/dev/null",
        "Dir::Etc::preferences": "/dev/null", "Dir::Etc::preferencesparts": "/dev/null",
        "Dir::State::lists": scratch / "lists", "Dir::State::status": scratch / "status",
        "Dir::Cache": scratch / "cache", "APT::Sandbox::User": "", "Acquire::Retries": 3,
        "Acquire::Languages": "none",
    }  # fmt: skip
    options = [text for name, value in settings.items() for text in ("-o", f"{name}={value}")]
    _run(["apt-get", "--quiet", *options, *words])


def _run(command: Sequence[str]) -> str:
    environment = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False,
            env=environment,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise CannotFetchError(f"{command[0]} gave no answer in {_TIMEOUT_S:.0f} s") from error
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines() or [str(done.returncode)]
        raise CannotFetchError(f"{command[0]}: {said[-1]}")
    return done.stdout


def _wrap(root: Path, name: str) -> None:
    """A command in root/bin that starts the program with the loader and the libraries that came with it."""
    (loader,) = root.glob("usr/lib/*-linux-*/ld-linux-*.so.*")
    (program,) = root.glob(f"usr/*bin/{name}")
    command = root / "bin" / name
    command.parent.mkdir(exist_ok=True)  # the packages leave it free: where they are installed it is a link to usr/bin
    command.write_text(
        '#!/bin/sh\nroot=$(dirname "$(dirname "$(realpath "$0")")")\n'
        f'exec "$root/{loader.relative_to(root)}" --library-path "$root/{loader.parent.relative_to(root)}"'
        f' --argv0 "$root/{program.relative_to(root)}" "$root/{program.relative_to(root)}" "$@"\n',
        encoding="utf-8",
    )
    command.chmod(0o755)


if __name__ == "__main__":
    try:
        where = fetched()
    except CannotFetchError as error:
        sys.exit(f"MySQL: {error}")
    subprocess.run([where / "mysqld", "--no-defaults", "--version"], check=True)
