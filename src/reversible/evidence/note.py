"""Which log is this, how long, and with which root? One small text that can be mailed.

C2SP's checkpoint (tlog-checkpoint v1) inside its signed note, Ed25519: what independent witnesses read and cosign.
"""

import base64
import binascii
import hashlib
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

_ED25519 = b"\x01"
_LIMIT = 1 << 14


@dataclass(frozen=True)
class Checkpoint:
    """The state of a log: its name, its number of entries, its root hash."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"

    def signed(self, key: Ed25519PrivateKey) -> bytes:
        """The note, signed by the log."""
        signature = base64.b64encode(_identity(self.origin, key.public_key()) + key.sign(self.text.encode()))
        return f"{self.text}\n\u2014 {self.origin} {signature.decode()}\n".encode()


def read(content: bytes, vkey: str) -> Checkpoint:
    """The checkpoint of a note that the log's key signed; other signatures, of witnesses, may stand beside.

    Raises:
        ValueError: it is no note, or the log did not sign it.
    """
    origin, key = parse_key(vkey)
    text, separator, signatures = content[:_LIMIT].decode("utf-8").rpartition("\n\n")
    lines = f"{text}\n".splitlines()
    if not separator or len(lines) != 3 or not lines[1].isdigit() or lines[1] != str(int(lines[1])):
        raise ValueError("it is not a checkpoint")
    root = _plain(lines[2])
    found = Checkpoint(lines[0], int(lines[1]), root)
    if found.origin != origin or f"{text}\n" != found.text:
        raise ValueError(f"it is a checkpoint of {found.origin}, not of {origin}")
    for line in signatures.splitlines():
        mark, name, signature = [*line.split(" "), "", "", ""][:3]
        raw = _plain(signature)
        if mark == "\u2014" and name == origin and raw[:4] == _identity(origin, key):
            try:
                key.verify(raw[4:], found.text.encode())
            except InvalidSignature as error:
                raise ValueError("the log's signature on its checkpoint does not hold") from error
            return found
    raise ValueError("the log did not sign it")


def verifier_key(origin: str, key: Ed25519PublicKey) -> str:
    """The log's public key as C2SP writes it: name+id+key."""
    raw = _ED25519 + _raw(key)
    return f"{origin}+{_identity(origin, key).hex()}+{base64.b64encode(raw).decode()}"


def parse_key(vkey: str) -> tuple[str, Ed25519PublicKey]:
    """The name and the key of a log.

    Raises:
        ValueError: it is not a verifier key with Ed25519.
    """
    parts = vkey.split("+", 2)
    raw = _plain(parts[2]) if len(parts) == 3 else b""
    if raw[:1] != _ED25519 or len(raw) != 33:
        raise ValueError(f"{vkey[:80]!r} is not a log's key: name+id+key, Ed25519")
    key = Ed25519PublicKey.from_public_bytes(raw[1:])
    if _identity(parts[0], key).hex() != parts[1]:
        raise ValueError("the id of the log's key is not its own")
    return parts[0], key


def _identity(origin: str, key: Ed25519PublicKey) -> bytes:
    return hashlib.sha256(origin.encode() + b"\n" + _ED25519 + _raw(key)).digest()[:4]


def _raw(key: Ed25519PublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


def _plain(text: str) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("a base64 text is not one") from error
    if base64.b64encode(raw).decode() != text:
        raise ValueError("a base64 text is not written the one way")
    return raw
