"""Does this kit hold what its owner signed, and can this host take it? If so, install it. No network, no other tool.

    python3 install.py --key FINGERPRINT [--into DIR]

The fingerprint is that of the owner's key: have it by another way than the kit. This file needs the standard library
alone, and runs nothing of the kit before the signature and every digest were checked; a Python that is too old gets
far enough to say so. Exit status: 0 installed, 2 wrong arguments, 5 altered or not signed, 6 this host cannot take it.
"""

import argparse
import base64
import ctypes
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, Optional, Tuple  # noqa: UP035 - see below

if sys.version_info < (3, 11):  # noqa: UP036 - all that stands above and the syntax below are good for 3.6
    sys.exit(f"error: Python 3.11 or newer is needed, this is {sys.version.split()[0]}\n  try: ls /usr/bin/python3*")

Point = Optional[Tuple[int, int]]  # noqa: UP006, UP045 - None is the point at infinity

FORMAT = "reversible-kit/1"
UNLISTED = ("kit.json", "kit.sig", "signer.pub.pem")
_UNPACKED = 4  # wheels unpack to three times their size; one more to be safe

# P-256: FIPS 186-4 D.1.2.3
_P = 2**256 - 2**224 + 2**192 + 2**96 - 1
_N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_B = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
_G = (
    0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
    0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
)
# SubjectPublicKeyInfo of an uncompressed P-256 point (RFC 5480): what stands before the two coordinates
_SPKI = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d03010703420004")


class Refused(Exception):  # noqa: N818 - it is not an error of ours
    """It cannot be installed: `status` is the exit status, `hint` the next command."""

    def __init__(self, status: int, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.status, self.hint = status, hint


def main() -> int:
    parser = argparse.ArgumentParser(description="Check this kit's signature and digests, then install it.")
    parser.add_argument("--key", metavar="FINGERPRINT", help="SHA-256 of the owner's public key, 64 hex digits")
    parser.add_argument("--into", metavar="DIR", default="reversible-venv", type=Path, help="a new directory")
    arguments = parser.parse_args()
    root = Path(__file__).resolve().parent
    try:
        if not arguments.key:
            raise Refused(
                2, "whose kit is it? the fingerprint of the owner's key is missing",
                "python3 install.py --key FINGERPRINT   # `reversible kit build` printed it",
            )  # fmt: skip
        document = check(root, arguments.key)
        check_host(document["target"])
        install(root, document, arguments.into.absolute())
    except Refused as error:
        print(f"error: {error}", file=sys.stderr)
        if error.hint:
            print(f"  try: {error.hint}", file=sys.stderr)
        return error.status
    return 0


# --- is it the kit? ---------------------------------------------------------------------------------------------


def check(root: Path, fingerprint: str) -> Dict[str, Any]:  # noqa: UP006
    """The kit's list, once the key with that fingerprint is shown to have signed it and every file is the list's.

    Raises:
        Refused: it is not.
    """
    wanted = "".join(fingerprint.lower().replace(":", "").split())
    try:
        listed, signature, pem = ((root / name).read_bytes() for name in UNLISTED)
        der = base64.b64decode("".join(pem.decode("ascii").split("-----")[2].split()), validate=True)
    except (OSError, ValueError, IndexError) as error:
        raise Refused(5, f"this is no whole kit: {error}") from error
    signer = hashlib.sha256(der).hexdigest()
    if signer != wanted:
        raise Refused(
            5, f"the kit is signed by the key {signer}, not by {wanted}",
            "ask its owner for the fingerprint, by another way than the kit",
        )  # fmt: skip
    if not verifies(der, signature, listed):
        raise Refused(5, f"kit.json is not what the key {wanted} signed: do not use this kit")
    document: Dict[str, Any] = json.loads(listed.decode("utf-8"))  # noqa: UP006
    if document.get("format") != FORMAT:
        raise Refused(5, f"kit.json is of the format {document.get('format')!r}: this installer knows {FORMAT}")
    present = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_symlink() or not path.is_dir()}
    for path in sorted(({*document["files"]} | present) - {*UNLISTED}):
        if path not in document["files"]:
            raise Refused(5, f"{path} is in no list of the kit: do not use this kit")
        if path not in present or (root / path).is_symlink():
            raise Refused(5, f"{path} is missing from the kit")
        digest = hashlib.sha256((root / path).read_bytes()).hexdigest()
        if digest != document["files"][path]["sha256"]:
            raise Refused(5, f"{path} was altered: its SHA-256 is {digest}, not the signed one: do not use this kit")
    return document


def verifies(der: bytes, signature: bytes, message: bytes) -> bool:
    """Whether the key made the signature over the message.

    Args:
        der: The key, a SubjectPublicKeyInfo of P-256.
        signature: ECDSA with SHA-256 in DER, with low s.

    Source:
        FIPS 186-4 section 6.4 (ECDSA verification), in affine coordinates; only public numbers, so time may show.
    """
    if len(der) != len(_SPKI) + 64 or not der.startswith(_SPKI):
        return False
    x, y = int.from_bytes(der[-64:-32], "big"), int.from_bytes(der[-32:], "big")
    if not (x < _P and y < _P and (y * y - (x * x * x - 3 * x + _B)) % _P == 0):
        return False
    r, s = _numbers(signature)
    if not (0 < r < _N and 0 < s <= _N // 2):
        return False
    e, w = int.from_bytes(hashlib.sha256(message).digest(), "big"), pow(s, -1, _N)
    point = _add(_times(e * w % _N, _G), _times(r * w % _N, (x, y)))
    return point is not None and point[0] % _N == r


def _numbers(signature: bytes) -> Tuple[int, int]:  # noqa: UP006
    """r and s of a DER signature; (0, 0), which verifies nothing, for anything but its one right form."""

    def number(value: int) -> bytes:
        raw = value.to_bytes(value.bit_length() // 8 + 1, "big")  # a bit more, so that it reads as positive
        return b"\x02" + bytes([len(raw)]) + raw

    if not 8 <= len(signature) <= 72:
        return 0, 0
    size = min(signature[3], len(signature) - 6)
    r, s = int.from_bytes(signature[4 : 4 + size], "big"), int.from_bytes(signature[6 + size :], "big")
    if max(r, s) >> 256:
        return 0, 0
    body = number(r) + number(s)
    return (r, s) if b"\x30" + bytes([len(body)]) + body == signature else (0, 0)


def _add(one: Point, other: Point) -> Point:
    """The sum of two points of the curve."""
    if one is None or other is None:
        return other if one is None else one
    (x1, y1), (x2, y2) = one, other
    if x1 == x2 and (y1 + y2) % _P == 0:
        return None
    slope = (3 * x1 * x1 - 3) * pow(2 * y1, -1, _P) if one == other else (y2 - y1) * pow(x2 - x1, -1, _P)
    x = (slope * slope - x1 - x2) % _P
    return x, (slope * (x1 - x) - y1) % _P


def _times(factor: int, point: Point) -> Point:
    total: Point = None
    while factor:
        if factor & 1:
            total = _add(total, point)
        point, factor = _add(point, point), factor >> 1
    return total


# --- can this host take it? -------------------------------------------------------------------------------------


def check_host(target: Dict[str, str]) -> None:  # noqa: UP006
    """Raises Refused where the kit's wheels are for other hosts than this one."""
    here = host()
    if here["system"] != "Linux" or here["implementation"] != "cpython" or not here["glibc"]:
        raise Refused(
            6, f"a kit needs CPython on Linux with glibc; this is {here['implementation']} on {here['system']}",
            "use Debian, Ubuntu, Fedora or a Red Hat",
        )  # fmt: skip
    again = (
        f"reversible kit build KIT --python {here['python']} --machine {here['machine']}   # where the kit was built"
    )
    for key in ("python", "machine"):
        if here[key] != target[key]:
            raise Refused(
                6, f"the kit is for Python {target['python']} on {target['machine']}, this is Python {here['python']} "
                f"on {here['machine']}", again,
            )  # fmt: skip
    if _version(here["glibc"]) < _version(target["glibc"]):
        raise Refused(6, f"the kit needs glibc {target['glibc']}, this host has {here['glibc']}", again)


def host() -> Dict[str, str]:  # noqa: UP006
    """What this host is, in the kit's words."""
    try:
        ask = ctypes.CDLL(None).gnu_get_libc_version
        ask.restype = ctypes.c_char_p
        glibc = ask().decode("ascii")
    except (OSError, AttributeError):  # musl has no such function
        glibc = ""
    return {
        "system": platform.system(), "implementation": sys.implementation.name, "glibc": glibc,
        "python": f"{sys.version_info[0]}.{sys.version_info[1]}", "machine": platform.machine(),
    }  # fmt: skip


def _version(text: str) -> Tuple[int, ...]:  # noqa: UP006
    return tuple(int(part) for part in text.split(".") if part.isdigit())


# --- install ----------------------------------------------------------------------------------------------------


def install(root: Path, document: Dict[str, Any], into: Path) -> None:  # noqa: UP006
    """Make a virtual environment and let the kit's own pip install the wheels, by the lock with their digests.

    Raises:
        Refused: the directory exists, the disk is too small, or a step failed; nothing is left then.
    """
    if into.exists():
        raise Refused(2, f"{into} exists already", f"python3 {__file__} --key FINGERPRINT --into ANOTHER")
    try:
        into.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(into.parent).free
    except OSError as error:
        raise Refused(6, f"{into.parent}: {error.strerror}", "--into names another directory") from error
    needed = _UNPACKED * sum(one["size"] for one in document["files"].values())
    if free < needed:
        raise Refused(6, f"{into.parent}: {free >> 20} MB free, {needed >> 20} MB are needed", f"df -h {into.parent}")
    pip = root / document["installer"] / "pip"  # inside the wheel: Python runs a program in a zip file as it is
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8", "HOME": str(into)}
    steps = (
        [sys.executable, "-I", "-m", "venv", "--without-pip", str(into)],
        [
            str(into / "bin/python"), "-I", str(pip), "install", "--quiet", "--isolated", "--no-index", "--no-deps",
            "--no-cache-dir", "--disable-pip-version-check", "--root-user-action=ignore", "--require-hashes",
            "--find-links", str(root / "wheels"), "--requirement", str(root / "requirements.lock"),
        ],
    )  # fmt: skip
    for step in steps:
        done = subprocess.run(step, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        if done.returncode:
            shutil.rmtree(into, ignore_errors=True)
            lines = done.stdout.decode("utf-8", "replace").strip().splitlines() or ["no reason given"]
            full = any("No space left" in line for line in lines)
            raise Refused(6, f"it could not be installed: {lines[-1][:400]}", f"df -h {into.parent}" if full else "")
    print(f"{into}/bin/reversible verify BUNDLE --into FINDINGS")


if __name__ == "__main__":
    sys.exit(main())
