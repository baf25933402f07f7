"""Is this folder the kit that its owner signed, and for which machines is it?

`kit.json` lists every file with its SHA-256 and says for which Python and system the wheels are; `kit.sig` is the
ECDSA signature over its bytes, as `openssl dgst -sha256 -verify` reads it. The kit's name is the SHA-256 of kit.json.
"""

import hashlib
import json
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from reversible.bundle import bag
from reversible.errors import BundleError, UsageError
from reversible.evidence.keys import PublicKey

FORMAT = "reversible-kit/1"
MANIFEST, SIGNATURE, SIGNER, LOCK, INSTALLER = (
    "kit.json",
    "kit.sig",
    "signer.pub.pem",
    "requirements.lock",
    "install.py",
)
UNLISTED = (MANIFEST, SIGNATURE, SIGNER)  # all other files are listed in kit.json
_LIMIT = 1 << 22  # bytes; ours take 8,000
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class Target:
    """The hosts that a kit is for: CPython of one minor version, on Linux with glibc.

    Attributes:
        python: "3.11".
        machine: As `uname -m` says it, "x86_64" or "aarch64".
        glibc: The oldest version of the C library that every wheel of the kit works with, "2.28".
    """

    python: str
    machine: str
    glibc: str

    def __str__(self) -> str:
        return f"Python {self.python} on {self.machine}, glibc {self.glibc} or newer"

    def to_json(self) -> dict[str, str]:
        return {"implementation": "cpython", "python": self.python, "machine": self.machine, "glibc": self.glibc}


@dataclass(frozen=True, kw_only=True)
class Kit:
    """A kit in a folder. `read` reads its list; `check` reads every byte."""

    root: Path
    id: str  # SHA-256 of kit.json, hex
    tool: str
    target: Target
    packages: Mapping[str, str]  # distribution -> version
    files: Mapping[str, str]  # path -> SHA-256, hex; kit.json and what signs it are not among them

    @classmethod
    def read(cls, root: Path) -> Self:
        """Read the list.

        Raises:
            UsageError: there is no kit.
            BundleError: its list is not one.
        """
        if not (root / MANIFEST).is_file():
            raise UsageError(f"{root}: no kit is there ({MANIFEST} is missing)", hint=f"reversible kit build {root}")
        content = (root / MANIFEST).read_bytes()[: _LIMIT + 1]
        try:
            document = json.loads(content)
            return cls(root=root, id=hashlib.sha256(content).hexdigest(), **_parts(document))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BundleError(f"{root}/{MANIFEST} is no list of a kit: {error}", hint="build the kit again") from error

    def check(self, signer: str) -> None:
        """Read every byte: the list is signed by the key with the fingerprint `signer`, and the files are the list's.

        Raises:
            BundleError: a file was altered, is missing or was added, or the signature is not that key's.
        """
        again = f"reversible kit build {self.root}   # into an empty folder"
        try:
            key = PublicKey.from_pem((self.root / SIGNER).read_bytes())
            signature = (self.root / SIGNATURE).read_bytes()
        except (OSError, ValueError) as error:
            raise BundleError(f"{self.root}: the kit is not signed: {error}", hint=again) from error
        if key.fingerprint != signer:
            raise BundleError(
                f"{self.root}: the kit is signed by the key {key.fingerprint}, not by {signer}",
                hint="ask who built it for the fingerprint of their key, by another way than the kit",
            )
        if not key.verifies(signature, (self.root / MANIFEST).read_bytes()):
            raise BundleError(f"{self.root}/{MANIFEST} is not what the key {signer[:16]}… signed", hint=again)
        present = dict(bag.walk(self.root))
        for path in sorted({*self.files, *present} - set(UNLISTED)):
            if path not in self.files:
                raise BundleError(f"{self.root}/{path} is in no list of the kit", hint=again)
            if path not in present or not stat.S_ISREG(present[path].st_mode):
                raise BundleError(f"{self.root}/{path} is missing from the kit", hint=again)
            if bag.sha256_file(self.root / path) != self.files[path]:
                raise BundleError(f"{self.root}/{path} was altered: its SHA-256 is not the kit's", hint=again)

    @property
    def size_bytes(self) -> int:
        return sum((self.root / path).stat().st_size for path in (*self.files, *UNLISTED))


def _parts(document: Any) -> dict[str, Any]:
    """The fields of a list that holds together."""
    if document["format"] != FORMAT:
        raise ValueError(f"its format is {document['format']!r}, not {FORMAT}")
    target = document["target"]
    files = {str(path): str(one["sha256"]) for path, one in document["files"].items()}
    for path, digest in files.items():
        if not path_is_plain(path) or not _SHA256.fullmatch(digest) or path in UNLISTED:
            raise ValueError(f"{path!r} is no file of a kit")
    return {
        "tool": str(document["tool"]),
        "target": Target(python=target["python"], machine=target["machine"], glibc=target["glibc"]),
        "packages": {one["name"]: one["version"] for one in document["packages"]},
        "files": files,
    }


def path_is_plain(path: str) -> bool:
    """Whether a path is a file's name, or one below wheels/: nothing that leads elsewhere."""
    return re.fullmatch(r"(wheels/)?[A-Za-z0-9][A-Za-z0-9._+!-]*", path) is not None
