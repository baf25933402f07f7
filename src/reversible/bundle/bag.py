"""Is this directory, byte for byte, what its manifests say?

The BagIt 1.0 subset (RFC 8493) that bundles and evidence share: one algorithm, SHA-256; names from a closed
alphabet, so that no path can escape, collide or be normalised; every file listed and every listed file there.
`sha256sum -c manifest-sha256.txt` checks the same digests without us.
"""

import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

DECLARATION = "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
MANIFEST = "manifest-sha256.txt"
TAG_MANIFEST = "tagmanifest-sha256.txt"
_TAGS = ("bag-info.txt", "bagit.txt", MANIFEST)
_LINE = re.compile(r"([0-9a-f]{64})  (\S+)\n")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,119}")
_MAX_DEPTH = 10
_BLOCK = 1 << 20
_MANIFEST_LIMIT = 1 << 28  # bytes; a larger manifest is an attack, not a bag of ours


def sha256_file(path: Path) -> str:
    """SHA-256 of a regular file, hex; a link is refused by the system, never followed."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | getattr(os, "O_CLOEXEC", 0))
    with os.fdopen(descriptor, "rb") as file:
        return hashlib.file_digest(file, "sha256", _bufsize=_BLOCK).hexdigest()


def is_safe(path: str) -> bool:
    """Whether a relative path keeps to the closed alphabet: no "..", no empty part, no leading dot, no backslash."""
    parts = path.split("/")
    return len(parts) <= _MAX_DEPTH and all(_NAME.fullmatch(part) and not part.endswith(".") for part in parts)


def write_tags(root: Path, payload: Mapping[str, str], info: Mapping[str, str], *, more: tuple[str, ...] = ()) -> None:
    """Write bagit.txt, bag-info.txt and both manifests. `payload`: path -> digest; `more`: further tag files."""
    (root / "bagit.txt").write_text(DECLARATION, encoding="utf-8")
    (root / "bag-info.txt").write_text("".join(f"{key}: {value}\n" for key, value in info.items()), encoding="utf-8")
    lines = "".join(f"{digest}  {path}\n" for path, digest in sorted(payload.items()))
    (root / MANIFEST).write_text(lines, encoding="utf-8")
    tags = sorted((*_TAGS, *more))
    (root / TAG_MANIFEST).write_text("".join(f"{sha256_file(root / tag)}  {tag}\n" for tag in tags), encoding="utf-8")


def read_manifest(path: Path) -> dict[str, str]:
    """Path -> digest of a manifest.

    Raises:
        ValueError: it is not a strict manifest; the message names the line.
    """
    if path.is_symlink() or not path.is_file():
        raise ValueError(f"{path.name} is missing")
    if path.stat().st_size > _MANIFEST_LIMIT:
        raise ValueError(f"{path.name} is over {_MANIFEST_LIMIT} bytes")
    return parse_manifest(path.name, path.read_bytes())


def parse_manifest(name: str, content: bytes) -> dict[str, str]:
    """Path -> digest of a manifest's bytes, for who has hashed those same bytes.

    Raises:
        ValueError: it is not a strict manifest; the message names the line.
    """
    entries: dict[str, str] = {}
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{name} is not UTF-8") from error
    for number, line in enumerate(text.splitlines(keepends=True), start=1):
        match = _LINE.fullmatch(line)
        if not match or not is_safe(match[2]):
            raise ValueError(f"{name} line {number}: not a digest and a plain path: {line[:120]!r}")
        if match[2] in entries:
            raise ValueError(f"{name} line {number}: {match[2]} is listed twice")
        entries[match[2]] = match[1]
    return entries


def walk(root: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Every entry below `root` that is not a directory, as (relative path, lstat), in a stable order."""
    with os.scandir(root) as found:
        for entry in sorted(found, key=lambda item: item.name):
            if entry.is_dir(follow_symlinks=False):
                yield from ((f"{entry.name}/{below}", status) for below, status in walk(Path(entry.path)))
            else:
                yield entry.name, entry.stat(follow_symlinks=False)


def faults(
    root: Path,
    *,
    outside: Mapping[str, str] | None = None,
    tags: tuple[str, ...] = (),
    free: str = "",
    digest: Callable[[Path], str] = sha256_file,
) -> Iterator[str]:
    """What is wrong with the bag, one sentence per fault; nothing at all when it is exactly what it says.

    Args:
        outside: Files that the bag's manifests leave out but that must be there: path -> digest.
        tags: Further tag files that the tag manifest must list.
        free: A folder whose content the caller checks itself ("seal"); "" for none.
        digest: How a file is hashed; tests replace it to count reads.
    """
    try:
        listed = read_manifest(root / MANIFEST)
        listed_tags = read_manifest(root / TAG_MANIFEST)
    except ValueError as error:
        yield str(error)
        return
    if set(listed_tags) != {*_TAGS, *tags}:
        yield f"{TAG_MANIFEST} must list exactly {', '.join(sorted({*_TAGS, *tags}))}"
    if stray := next((path for path in listed if not path.startswith("data/")), None):
        yield f"{MANIFEST} lists {stray}, which is not below data/"
    declaration = root / "bagit.txt"
    if not declaration.is_file() or declaration.read_bytes() != DECLARATION.encode():
        yield "bagit.txt is not the declaration of a BagIt 1.0 bag"
    expected = {**(outside or {}), **listed, **listed_tags}
    present: set[str] = set()
    for path, status in walk(root):
        if path == TAG_MANIFEST or (free and path.startswith(f"{free}/")):
            continue
        present.add(path)
        if not stat.S_ISREG(status.st_mode):
            yield f"{path} is not a regular file (a link, a device or a pipe)"
        elif path not in expected:
            yield f"{path} is in no manifest"
        elif digest(root / path) != expected[path]:
            yield f"{path} was altered: its SHA-256 is not the one in the manifest"
    yield from (f"{path} is missing" for path in sorted(set(expected) - present))
