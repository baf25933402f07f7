"""How is a kit made? pip fetches the publishers' own wheels, ours is made here, the list of all is signed."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from importlib import resources
from importlib.metadata import distributions, entry_points
from importlib.metadata import version as installed_version
from pathlib import Path

from reversible import __version__
from reversible.bundle import bag
from reversible.bundle.writer import json_bytes
from reversible.destinations.guard import vendor_package
from reversible.errors import BundleError, DestinationError, UsageError
from reversible.evidence.keys import SigningKey
from reversible.kit import manifest, wheel
from reversible.kit.manifest import Kit, Target

TOOL = f"reversible-toolkit {__version__}"
OLDEST_GLIBC = "2.28"  # Debian 10, Ubuntu 20.04, RHEL 8: the oldest that onnxruntime's and pyarrow's wheels know
_PYTHONS = ("3.11", "3.12", "3.13")
_MACHINES = ("x86_64", "aarch64")
_TAG = re.compile(r"manylinux_(\d+)_(\d+)_")
_NAMED_TAGS = {"manylinux1": (2, 5), "manylinux2010": (2, 12), "manylinux2014": (2, 17)}  # PEP 600


def build(into: Path, key: SigningKey, *, target: Target, words: bool = False) -> Kit:
    """Make a kit in the new folder `into`, whole or not at all.

    The packages are those installed here, version by version, so that both sides measure with the same ones.

    Args:
        key: Signs the list.
        target: The hosts that it is for.
        words: Whether models that are asked in words are to be verified there: adds `tokenizers`, without its hub.

    Raises:
        UsageError: the folder exists, or pip is not here.
        DestinationError: a package has no wheel for that host, or the index cannot be reached.
        BundleError: what would go in holds a vendor's package.
    """
    check_target(target)
    if into.exists():
        raise UsageError(f"{into} exists already", hint=f"rm -r {into}, or choose another folder")
    into.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".kit-", dir=into.parent) as scratch:
        work = Path(scratch) / "kit"
        (work / "wheels").mkdir(parents=True)
        _fetch(work / "wheels", target, words=words)
        wheel.own_wheel(work / "wheels")
        refuse_vendors(work / "wheels")
        packages = [_named(path) for path in sorted((work / "wheels").iterdir())]
        _write_lock(work, packages)
        shutil.copyfile(str(resources.files("reversible.kit") / "install.py"), work / manifest.INSTALLER)
        _sign(work, key, target, packages)
        work.rename(into)
    return Kit.read(into)


def pack(kit: Kit, archive: Path) -> None:
    """The kit as one .tar file: the same bytes for the same kit."""

    def plain(one: tarfile.TarInfo) -> tarfile.TarInfo:
        one.uid = one.gid = one.mtime = 0
        one.uname = one.gname = ""
        one.mode = 0o755 if one.isdir() else 0o644
        return one

    with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted([*kit.files, *manifest.UNLISTED]):
            tar.add(kit.root / path, arcname=f"kit/{path}", filter=plain)


def check_target(target: Target) -> None:
    """Raises UsageError for a Python or a machine that we do not know."""
    for value, known, option in ((target.python, _PYTHONS, "--python"), (target.machine, _MACHINES, "--machine")):
        if value not in known:
            raise UsageError(f"no kit is made for {value!r}; known: {', '.join(known)}", hint=f"{option} {known[0]}")
    if not re.fullmatch(r"2\.\d+", target.glibc):
        raise UsageError(f"{target.glibc!r} is no version of glibc", hint=f"--glibc {OLDEST_GLIBC}")


def refuse_vendors(folder: Path) -> None:
    """Raises BundleError when a wheel brings a package of a vendor's: nothing of one goes to the destination."""
    for path in sorted(folder.iterdir()):
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                module = name.removesuffix(".py").replace("/", ".").strip(".")
                if name.endswith((".py", ".so")) and (found := vendor_package(module)):
                    raise BundleError(f"{path.name} brings {found}, which is a vendor's: it does not go into a kit")


# --- the wheels -------------------------------------------------------------------------------------------------


def _fetch(folder: Path, target: Target, *, words: bool) -> None:
    wanted = [*wheel.requirements(), f"pip=={_pip_version()}", *_plugins()]
    pins = "".join(f"{one.name}=={one.version}\n" for one in distributions() if one.name and "+" not in one.version)
    constraints = folder.parent / "constraints.txt"
    constraints.write_text("\n".join(line for line in pins.splitlines() if "reversible-toolkit" not in line) + "\n")
    for_target = ["--implementation", "cp", "--python-version", target.python]
    for_target += [word for tag in _platforms(target) for word in ("--platform", tag)]
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--only-binary=:all:",
        "--dest", str(folder), *for_target,
    ]  # fmt: skip
    _run([*command, "--constraint", str(constraints), *wanted], target)
    if words:  # its hub client stays behind: at the destination there is no hub
        pinned = [line for line in pins.splitlines() if line.startswith("tokenizers==")] or ["tokenizers>=0.22"]
        _run([*command, "--no-deps", *pinned], target)
    constraints.unlink()


def _run(command: Sequence[str], target: Target) -> None:
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, env=dict(os.environ))
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR:")] or done.stderr.splitlines()
        said = lines[0].removeprefix("ERROR: ") if lines else "no reason given"
        raise DestinationError(
            f"no kit for {target}: pip says: {said[:400]}",
            hint=f"{sys.executable} -m pip download numpy --dest /tmp/try",
        )


def _platforms(target: Target) -> Iterator[str]:
    """The platform tags that such a host takes, newest first (PEP 600)."""
    for minor in range(int(target.glibc.partition(".")[2]), 4, -1):
        yield f"manylinux_2_{minor}_{target.machine}"
        yield from (f"{name}_{target.machine}" for name, version in _NAMED_TAGS.items() if version == (2, minor))


def _plugins() -> list[str]:
    """Verifiers of third parties: the plan sealed them, so the destination needs them."""
    owners = {one.dist for one in entry_points(group="reversible.verifiers") if one.dist is not None}
    return sorted({f"{one.name}=={one.version}" for one in owners if one.name != "reversible-toolkit"})


def _pip_version() -> str:
    try:
        return installed_version("pip")
    except ModuleNotFoundError as error:
        raise UsageError("pip is not installed beside this tool", hint=f"{sys.executable} -m ensurepip") from error


# --- the list ---------------------------------------------------------------------------------------------------


def _named(path: Path) -> dict[str, str]:
    """A wheel's name, version and file, as its file name says them (PEP 427)."""
    name, version = path.name.split("-")[:2]
    return {"name": name.replace("_", "-").lower(), "version": version, "file": f"wheels/{path.name}"}


def _write_lock(work: Path, packages: Sequence[dict[str, str]]) -> None:
    lines = [
        f"{one['name']}=={one['version']} --hash=sha256:{bag.sha256_file(work / one['file'])}\n"
        for one in packages
        if one["name"] != "pip"
    ]
    (work / manifest.LOCK).write_text("".join(lines), encoding="utf-8")


def _sign(work: Path, key: SigningKey, target: Target, packages: Sequence[dict[str, str]]) -> None:
    files = {path: {"sha256": bag.sha256_file(work / path), "size": status.st_size} for path, status in bag.walk(work)}
    needs = max((_needed(one["file"]) for one in packages), default=(2, 5))
    document = {
        "format": manifest.FORMAT,
        "tool": TOOL,
        "target": {**target.to_json(), "glibc": ".".join(map(str, needs))},
        "installer": next(one["file"] for one in packages if one["name"] == "pip"),
        "packages": list(packages),
        "files": files,
    }
    content = json_bytes(document)
    (work / manifest.MANIFEST).write_bytes(content)
    (work / manifest.SIGNATURE).write_bytes(key.sign(content))
    (work / manifest.SIGNER).write_bytes(key.public.pem)


def _needed(file: str) -> tuple[int, int]:
    """The oldest glibc that a wheel works with, by the tags in its name."""
    tags = file.removesuffix(".whl").rpartition("-")[2].split(".")
    found = [(int(one[1]), int(one[2])) for tag in tags if (one := _TAG.match(tag))]
    found += [version for tag in tags for name, version in _NAMED_TAGS.items() if tag.startswith(f"{name}_")]
    return min(found, default=(2, 5))
