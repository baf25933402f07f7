"""Whose signature is it?

One ECDSA P-256 key, made at first use. P-256 with SHA-256 because every tool that an auditor may have checks it:
openssl, sigstore, a smart card. A key is known by its fingerprint, the SHA-256 of its SubjectPublicKeyInfo, which
its owner gives to readers by another way than the dossier.
"""

import base64
import binascii
import hashlib
import os
import re
import secrets
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils

from reversible.errors import UsageError

_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # n of P-256, FIPS 186-4 D.1.2.3
_KEY_LIMIT = 1 << 14  # bytes; a P-256 key in PEM takes 250
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")


class PublicKey:
    """A P-256 public key."""

    def __init__(self, key: ec.EllipticCurvePublicKey) -> None:
        self._key = key
        der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        self._digest = hashlib.sha256(der).digest()

    @classmethod
    def from_pem(cls, content: bytes) -> "PublicKey":
        """Read a PEM file.

        Raises:
            ValueError: it is not the public key of a P-256 pair, in the one form that openssl writes.
        """
        if len(content) > _KEY_LIMIT:
            raise ValueError("it is too large for a public key")
        try:
            key = serialization.load_pem_public_key(content)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise ValueError("it is not a public key in PEM") from error
        if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
            raise ValueError("it is not a key on the curve P-256")
        return cls(key)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the SubjectPublicKeyInfo, hex."""
        return self._digest.hex()

    @property
    def hint(self) -> str:
        """The same digest as Sigstore bundles write it: base64."""
        return base64.b64encode(self._digest).decode()

    @property
    def pem(self) -> bytes:
        return self._key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Whether the owner of the private key signed the message; a signature has one accepted form, with low s."""
        try:
            r, s = utils.decode_dss_signature(signature)
            if s > _ORDER // 2 or utils.encode_dss_signature(r, s) != signature:
                return False
            self._key.verify(signature, message, ec.ECDSA(hashes.SHA256()))
        except (InvalidSignature, ValueError):
            return False
        return True


class SigningKey:
    """A private key. It shows its fingerprint and never itself."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, path: Path) -> None:
        self._key = key
        self.path = path
        self.public = PublicKey(key.public_key())

    @property
    def fingerprint(self) -> str:
        return self.public.fingerprint

    def sign(self, message: bytes) -> bytes:
        """ECDSA over SHA-256, DER. Same message, same bytes where the library can (RFC 6979); always with low s."""
        try:
            made = self._key.sign(message, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
        except UnsupportedAlgorithm:  # OpenSSL before 3.2
            made = self._key.sign(message, ec.ECDSA(hashes.SHA256()))
        r, s = utils.decode_dss_signature(made)
        return utils.encode_dss_signature(r, min(s, _ORDER - s))

    def __repr__(self) -> str:
        return f"SigningKey({self.fingerprint[:16]}…, {str(self.path)!r})"

    def __reduce__(self) -> str:
        raise TypeError("a signing key is not copied")


@dataclass(frozen=True)
class Pinned:
    """The key that a reader trusts, known by another way than the dossier: its fingerprint, perhaps all of it."""

    fingerprint: str
    key: PublicKey | None = None


def key_path(environ: Mapping[str, str] = os.environ) -> Path:
    """Where the signing key lies: $REVERSIBLE_KEY, else the user's configuration directory."""
    if chosen := environ.get("REVERSIBLE_KEY"):
        return Path(chosen)
    configuration = environ.get("XDG_CONFIG_HOME", "")
    if not configuration.startswith("/"):  # XDG Base Directory: "all paths must be absolute", others are ignored
        home = environ.get("HOME")
        if not home:
            raise UsageError(
                "no place for the signing key: HOME is not set", hint="export REVERSIBLE_KEY=/path/to/key.pem"
            )
        configuration = f"{home}/.config"
    return Path(configuration, "reversible", "key.pem")


def load_or_create(path: Path | None = None) -> SigningKey:
    """The signing key; made at first use, also when two processes come first at once.

    Raises:
        UsageError: the key cannot be read or made, others can read it, or it is not a P-256 key.
    """
    path = path or key_path()
    try:
        if not path.exists():
            _create(path)
        return SigningKey(_parse(_read_private(path), path), path)
    except OSError as error:
        raise UsageError(
            f"signing key {path}: {error.strerror}", hint="export REVERSIBLE_KEY=/a/directory/of/yours/key.pem"
        ) from error


def pinned(given: str | Path) -> Pinned:
    """The key that the reader names: a fingerprint in hex, grouped or not, or a PEM file.

    Raises:
        UsageError: it is neither.
    """
    if isinstance(given, str):
        plain = re.sub(r"[\s:]", "", given).lower().removeprefix("sha256")
        if _FINGERPRINT.fullmatch(plain):
            return Pinned(plain)
        if not Path(given).is_file():
            raise UsageError(
                f"{given[:80]!r} is neither a fingerprint (64 hex digits) nor a PEM file",
                hint="openssl pkey -pubin -in FILE.pem -outform DER | sha256sum",
            )
    try:
        key = PublicKey.from_pem(Path(given).read_bytes())
    except OSError as error:
        raise UsageError(f"key {given}: {error.strerror}", hint=f"ls -l {given}") from error
    except ValueError as error:
        raise UsageError(f"key {given}: {error}", hint=f"openssl pkey -pubin -in {given} -text -noout") from error
    return Pinned(key.fingerprint, key)


def in_groups(fingerprint: str) -> str:
    """A fingerprint for the eye and the telephone: sixteen groups of four."""
    return " ".join(fingerprint[start : start + 4] for start in range(0, len(fingerprint), 4))


def hint_fingerprint(hint: str) -> str:
    """The fingerprint that a Sigstore bundle's key hint stands for.

    Raises:
        ValueError: it is not the base64 of a SHA-256.
    """
    try:
        digest = base64.b64decode(hint, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("the key hint is not base64") from error
    if len(digest) != 32 or base64.b64encode(digest).decode() != hint:
        raise ValueError("the key hint is not a SHA-256")
    return digest.hex()


def _create(path: Path) -> None:
    """Write the key whole under another name, then link it: of two processes one wins, and both read the same key."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    content = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        try:
            os.link(draft, path)
        except FileExistsError:
            return  # the other process was first: its key is the key
    finally:
        draft.unlink()


def _read_private(path: Path) -> bytes:
    folder = path.parent.stat()
    if folder.st_mode & 0o022 and not folder.st_mode & stat.S_ISVTX:
        raise UsageError(f"signing key {path}: others can write to its directory", hint=f"chmod 700 {path.parent}")
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | getattr(os, "O_CLOEXEC", 0))
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise UsageError(f"signing key {path}: not a regular file", hint=f"ls -l {path}")
        if status.st_mode & 0o077:
            raise UsageError(
                f"signing key {path}: others can read it (mode {stat.S_IMODE(status.st_mode):04o})",
                hint=f"chmod 600 {path}",
            )
        if status.st_uid not in (os.geteuid(), 0):
            raise UsageError(f"signing key {path}: it belongs to another user", hint="export REVERSIBLE_KEY=~/key.pem")
        return file.read(_KEY_LIMIT + 1)


def _parse(content: bytes, path: Path) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(content, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:  # TypeError: it is encrypted
        raise UsageError(
            f"signing key {path}: it is not an unencrypted private key in PEM", hint=f"openssl pkey -in {path} -noout"
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise UsageError(
            f"signing key {path}: it is not a key on the curve P-256",
            hint="openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out another.pem",
        )
    return key
