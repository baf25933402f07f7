#!/usr/bin/env python3
"""Can this dossier be believed? One file that a person can read in an hour before running it.

    python3 verify.py DOSSIER --key FINGERPRINT [--tsa-certificate ROOT.pem] [--without-reports] [--json]

It needs Python 3.11 and the package `cryptography` (38 or later), opens no socket, runs nothing, and writes nothing. It
takes the same steps as `reversible evidence verify`, by code written apart from it, and lists each step that it could
not take: it cannot render a report again, so it never says "verified" of a dossier with reports unless you tell it that
you rely on the data alone (--without-reports).

A verify.py that came with a dossier is its sender's. Take it from the toolkit (`reversible evidence verifier`), or
compare its SHA-256 with the published one, or read it. A key that came with a dossier is its sender's too.

Exit status: 0 verified; 5 rejected; 3 no key was given (integrity only), or a step that is required could not be
taken; 2 it was called wrongly. What no signature shows: measurements made up before the seal.
"""

import argparse
import base64
import hashlib
import itertools
import json
import math
import re
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils

# --- what this version knows (filled in when the file is written) ------------------------------------------------

TOOL = "@TOOL@"
CATALOGUE_SHA256 = "@CATALOGUE_SHA256@"  # of data/clauses.yaml
CLAUSES_SHA256 = "@CLAUSES_SHA256@"  # of data/clauses.json, the part of the catalogue that judges
VERIFY_TXT_SHA256 = "@VERIFY_TXT_SHA256@"

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://in-toto.io/attestation/test-result/v0.1"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD = "application/vnd.in-toto+json"
FORMAT = "reversible-evidence/1"
SEAL, SIGNER = "seal/evidence.sigstore.json", "seal/signer.pub.pem"
MANIFEST, TAG_MANIFEST = "manifest-sha256.txt", "tagmanifest-sha256.txt"
TAGS = {"bag-info.txt", "bagit.txt", MANIFEST, "VERIFY.txt", "verify.py"}
PLAN, INVENTORY, RESULTS, RUN, VERDICTS, CATALOGUE, CLAUSES = (
    f"data/{name}"
    for name in (
        "plan.json", "inventory.json", "results.jsonl", "run.json", "verdicts.json", "clauses.yaml", "clauses.json",
    )
)  # fmt: skip
DOCUMENTS = (PLAN, INVENTORY, RESULTS, RUN, VERDICTS, CATALOGUE, CLAUSES)
REPORT = re.compile(r"data/report/report\.(fr|en)\.html")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,119}")
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
MAX_FILES, MAX_BYTES, MAX_DOCUMENT = 10_000, 1 << 32, 1 << 26
LEVELS = ("N0", "N1", "N2", "N3", "N4", "N5")
Document = dict[str, Any]


class NotRun(Exception):  # noqa: N818 - nothing went wrong
    """The step lacks something to look at."""


def refuse(message: str) -> NoReturn:
    raise ValueError(message)


class Case:
    """The dossier, read once, and what the steps before have found sound."""

    def __init__(self, root: Path, options: argparse.Namespace) -> None:
        self.options = options
        self.now = datetime.fromisoformat(options.at) if options.at else datetime.now(UTC)
        self.digests: dict[str, str] = {}
        self.contents: dict[str, bytes] = {}
        self.oddities = list(self.read(root, "")) if root.is_dir() and not root.is_symlink() else ["no directory"]
        self.sound: dict[str, Any] = {}

    def read(self, folder: Path, prefix: str) -> Iterator[str]:
        found = sorted(folder.iterdir())
        if prefix and not found:
            yield f"{prefix} is an empty directory"
        for full in found:
            path = prefix + full.name
            status = full.lstat()
            if not plain(path):
                yield f"{path!r} is not a plain name"
            elif stat.S_ISDIR(status.st_mode):
                yield from self.read(full, f"{path}/")
            elif not stat.S_ISREG(status.st_mode):
                yield f"{path} is not a regular file (a link, a device or a pipe)"
            elif status.st_nlink != 1:
                yield f"{path} has {status.st_nlink} names (a hard link)"
            elif len(self.digests) >= MAX_FILES or status.st_size > MAX_BYTES:
                yield f"{path}: too many files, or too large"
            else:
                digest, kept = hashlib.sha256(), bytearray()
                with full.open("rb") as file:
                    while block := file.read(1 << 20):
                        digest.update(block)
                        if not path.startswith("data/raw/") and len(kept) <= MAX_DOCUMENT:
                            kept += block
                self.digests[path], self.contents[path] = digest.hexdigest(), bytes(kept)

    def get(self, name: str, lack: str) -> Any:
        """What a step before has found sound; from anything else nothing is concluded."""
        return self.sound[name] if name in self.sound else _not_run(lack)

    def content(self, path: str) -> bytes:
        """The bytes of a file, when it is the one that its manifest lists."""
        listed = self.get("listed", "the manifests cannot be relied on")
        if path not in self.contents or self.digests[path] != listed.get(path):
            _not_run(f"{path} is not the file that was sealed")
        return self.contents[path]

    @property
    def statement(self) -> Any:
        return self.get("statement", "the seal cannot be read")

    @property
    def own(self) -> Any:
        return self.statement["predicate"]["reversible"]

    @property
    def documents(self) -> Any:
        return self.get("documents", "the documents cannot be relied on")


def _not_run(lack: str) -> NoReturn:
    raise NotRun(lack)


# --- 1 to 4: the files ---------------------------------------------------------------------------------------------


def plain(path: str) -> bool:
    parts = path.split("/")
    return len(parts) <= 10 and all(NAME.fullmatch(part) and not part.endswith(".") for part in parts)


def layout(case: Case) -> str:
    if case.oddities:
        refuse("; ".join(case.oddities[:5]))
    return f"{len(case.digests)} files, no link, no odd name"


def manifests(case: Case) -> str:
    if case.contents.get("bagit.txt") != b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n":
        refuse("bagit.txt is not the declaration of a BagIt 1.0 bag")
    payload, tags = manifest(case, MANIFEST), manifest(case, TAG_MANIFEST)
    if set(tags) != TAGS:
        refuse(f"{TAG_MANIFEST} must list exactly {', '.join(sorted(TAGS))}")
    bundle = {f"data/bundle/{MANIFEST}", f"data/bundle/{TAG_MANIFEST}"}
    known = {*DOCUMENTS, *bundle}
    strange = [path for path in payload if path not in known and not path.startswith("data/raw/")]
    if strange := [path for path in strange if not REPORT.fullmatch(path)]:
        refuse(f"{MANIFEST} lists what has no place in a dossier: {'; '.join(strange[:5])}")
    if absent := [path for path in DOCUMENTS if path not in payload]:
        refuse(f"{MANIFEST} does not list {'; '.join(absent)}")
    case.sound["listed"] = {**payload, **tags}
    return f"{len(payload)} files of the run and {len(tags)} tag files listed"


def manifest(case: Case, name: str, content: bytes | None = None) -> dict[str, str]:
    content = case.contents.get(name) if content is None else content
    if content is None:
        refuse(f"{name} is missing")
    found: dict[str, str] = {}
    for number, line in enumerate(content.split(b"\n")[:-1], start=1):
        match = re.fullmatch(rb"([0-9a-f]{64})  (\S+)", line)
        path = match[2].decode("ascii", "replace") if match else ""
        if not match or not plain(path):
            refuse(f"{name} line {number}: not a digest and a plain path: {line[:120]!r}")
        if path in found:
            refuse(f"{name} line {number}: {path} is listed twice")
        found[path] = match[1].decode()
    if "".join(f"{digest}  {path}\n" for path, digest in sorted(found.items())).encode() != content:
        refuse(f"{name} is not written the one way that we write it")
    return found


def digests(case: Case) -> str:
    listed = case.get("listed", "the manifests cannot be relied on")
    if altered := [path for path, digest in listed.items() if case.digests.get(path, digest) != digest]:
        refuse(f"altered, their SHA-256 is not the listed one: {'; '.join(altered[:5])}")
    return f"{len(listed)} SHA-256 digests agree"


def names(case: Case) -> str:
    there = set(case.digests)
    should = {*case.get("listed", "the manifests cannot be relied on"), TAG_MANIFEST, SEAL, SIGNER}
    wrong = [f"{path} is missing" for path in sorted(should - there)]
    wrong += [f"{path} is in no manifest" for path in sorted(there - should)]
    if wrong:
        refuse("; ".join(wrong[:5]))
    return "nothing is missing and nothing was added"


# --- JSON that means one thing to every reader -----------------------------------------------------------------------


def strict(content: bytes) -> Any:
    if len(content) > MAX_DOCUMENT:
        refuse("it is too large")
    if content.startswith(b"\xef\xbb\xbf"):
        refuse("it begins with a byte order mark")
    try:
        value = json.loads(
            content.decode("utf-8"),
            object_pairs_hook=once,
            parse_constant=lambda name: refuse(f"{name} is not a JSON number"),
            parse_int=lambda digits: int(digits) if len(digits) <= 41 else refuse("an integer of too many digits"),
            parse_float=lambda text: float(text) if math.isfinite(float(text)) else refuse(f"{text[:40]} is too large"),
        )
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not JSON: {error}") from error
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    json.dumps(value, ensure_ascii=False).encode()  # half of a surrogate pair raises UnicodeEncodeError, a ValueError
    return value


def once(pairs: list[tuple[str, Any]]) -> Document:
    found: Document = {}
    for key, value in pairs:
        if key in found:
            refuse(f"the key {key[:60]!r} is there twice")
        found[key] = value
    return found


def compact(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def indented(value: Any) -> bytes:
    return (json.dumps(value, ensure_ascii=False, sort_keys=True, indent=1, allow_nan=False) + "\n").encode()


def lines(values: Iterable[Any]) -> bytes:
    return b"".join((json.dumps(one, ensure_ascii=False, sort_keys=True) + "\n").encode() for one in values)


def moment(text: Any) -> datetime:
    at = datetime.fromisoformat(text) if isinstance(text, str) else refuse(f"{text!r} is not a time")
    return at if at.tzinfo is not None else refuse(f"the time {text} does not say its offset from UTC")


# --- 5 to 8: the seal -------------------------------------------------------------------------------------------------


def seal(case: Case) -> str:
    content = case.contents.get(SEAL)
    document = strict(content) if content is not None else refuse(f"{SEAL} is missing")
    try:
        envelope, material = document["dsseEnvelope"], document["verificationMaterial"]
        signatures, hint = envelope["signatures"], material["publicKey"]["hint"]
        if len(signatures) != 1:
            refuse(f"{len(signatures)} signatures; there must be exactly one")
        if envelope["payloadType"] != PAYLOAD:
            refuse(f"its payload is of type {envelope['payloadType']!r}, not {PAYLOAD}")
        payload, signature = unbase64(envelope["payload"]), unbase64(signatures[0]["sig"])
        stamps = material.get("timestampVerificationData", {"rfc3161Timestamps": []})["rfc3161Timestamps"]
        token = unbase64(stamps[0]["signedTimestamp"]) if stamps else None
        fingerprint = unbase64(hint).hex()
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise ValueError(f"it is not a Sigstore bundle with a DSSE envelope: {error}") from error
    again: Document = {"publicKey": {"hint": hint}}
    if token is not None:
        stamp = {"signedTimestamp": base64.b64encode(token).decode()}
        again["timestampVerificationData"] = {"rfc3161Timestamps": [stamp]}
    whole = {
        "mediaType": BUNDLE,
        "verificationMaterial": again,
        "dsseEnvelope": {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": PAYLOAD,
            "signatures": [{"sig": base64.b64encode(signature).decode()}],
        },
    }
    if compact(whole) + b"\n" != content or len(fingerprint) != 64:
        refuse("it is not written the one way that a seal is: a member, a space or an encoding differs")
    said = strict(payload)
    if compact(said) != payload:
        refuse("the statement is not written the one way that we write it")
    if not isinstance(said, dict) or said.get("_type") != STATEMENT:
        refuse(f"it does not hold an in-toto Statement ({STATEMENT})")
    if said.get("predicateType") != PREDICATE:
        refuse(f"its predicate is {said.get('predicateType')!r}, not {PREDICATE}")
    own = said["predicate"].get("reversible") if isinstance(said.get("predicate"), dict) else None
    if "subject" not in said or not isinstance(own, dict) or own.get("format") != FORMAT:
        refuse(f"its statement is not of the format {FORMAT}")
    moment(own.get("sealed_at"))
    for name in ("previous", "nonce"):
        if name not in own or not (own[name] is None or isinstance(own[name], str)):
            refuse(f"the statement's {name} is not a text")
    asked = own.get("authority", ())
    if asked is not None and not (isinstance(asked, dict) and isinstance(asked.get("url"), str) and len(asked) == 2):
        refuse("the statement's authority is not one")
    case.sound.update(statement=said, payload=payload, signature=signature, hint=fingerprint, token=token)
    return "one signature, over one in-toto statement"


def unbase64(text: Any) -> bytes:
    return base64.b64decode(text, validate=True) if isinstance(text, str) else refuse("a base64 text is not a text")


def key(case: Case) -> str:
    content = case.contents.get(SIGNER)
    found = serialization.load_pem_public_key(content) if content is not None else refuse(f"{SIGNER} is missing")
    form = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    if not isinstance(found, ec.EllipticCurvePublicKey) or found.curve.name != "secp256r1":
        refuse("it is not a key on the curve P-256")
    if found.public_bytes(*form) != content:
        refuse(f"{SIGNER} holds more than one key in its plain form")
    fingerprint = hashlib.sha256(found.public_bytes(serialization.Encoding.DER, form[1])).hexdigest()
    case.sound.update(enclosed=found, fingerprint=fingerprint)
    named = case.get("hint", "the seal cannot be read")
    if named != fingerprint:
        refuse(f"the seal names the key {named}, {SIGNER} is {fingerprint}")
    if case.options.key is None:
        _not_run(f"no key was given: anybody can have sealed this. The enclosed key is {fingerprint}")
    if fingerprint != case.options.key:
        refuse(f"sealed by the key {fingerprint}, not by {case.options.key}")
    return f"sealed by the key that you gave, {fingerprint}"


def signature(case: Case) -> str:
    payload = case.get("payload", "the seal cannot be read")
    found = case.get("enclosed", "there is no key to check it with")
    signed = b"DSSEv1 %d %s %d %s" % (len(PAYLOAD), PAYLOAD.encode(), len(payload), payload)
    made = case.sound["signature"]
    try:
        r, s = utils.decode_dss_signature(made)
        low = s <= P256_ORDER // 2 and utils.encode_dss_signature(r, s) == made  # one form only
        found.verify(made if low else b"", signed, ec.ECDSA(hashes.SHA256()))
    except Exception as error:
        raise ValueError("the signature does not hold: the statement is not what the key's owner signed") from error
    if case.options.key is None:
        return "it holds under the enclosed key, which proves no origin"
    if case.sound["fingerprint"] != case.options.key:
        refuse("it was made by another key than the one that you gave")
    return "ECDSA P-256 over SHA-256 holds"


def subject(case: Case) -> str:
    digest = case.digests.get(TAG_MANIFEST)
    if case.statement["subject"] != [{"name": TAG_MANIFEST, "digest": {"sha256": digest}}]:
        refuse("the statement is about other files than these")
    return f"the statement is about {TAG_MANIFEST}, sha256 {digest}"


# --- 9: the time (RFC 3161, RFC 5652, RFC 5816) -----------------------------------------------------------------------

HASHES = {"2.16.840.1.101.3.4.2.1": "sha256", "2.16.840.1.101.3.4.2.2": "sha384", "2.16.840.1.101.3.4.2.3": "sha512"}
SIGNATURES = {
    **{f"1.2.840.10045.4.3.{n}": name for n, name in ((2, "sha256"), (3, "sha384"), (4, "sha512"))},
    **{f"1.2.840.113549.1.1.{n}": name for n, name in ((11, "sha256"), (12, "sha384"), (13, "sha512"))},
    "1.2.840.113549.1.1.1": "",
}
TST_INFO = bytes.fromhex("060b2a864886f70d0109100104")  # the OID's own encoding


def time(case: Case) -> str:
    token, asked = case.get("token", "the seal cannot be read"), case.own["authority"]
    if token is None and asked is None:
        _not_run("claimed: the time is what the sealing machine says; no time-stamping authority was asked")
    if token is None:
        _not_run(f"pending: {asked['url']} was to be asked, and there is no token yet")
    try:
        at, signer, others = token_of(token, case.sound["signature"])
        if not case.options.tsa:
            _not_run(f"claimed: a token says {at.isoformat()}, but no --tsa-certificate was given to trust it by")
        usage = [one for one in signer.extensions if one.oid == x509.ExtendedKeyUsage.oid]
        if not usage or not usage[0].critical or [one.dotted_string for one in usage[0].value] != ["1.3.6.1.5.5.7.3.8"]:
            refuse(f"the certificate of {signer.subject.rfc4514_string()} is not for time stamping alone")
        if reason := chain(signer, case.options.tsa, others, at, 0):
            refuse(reason)
    except NotRun:
        raise
    except Exception as error:
        raise ValueError(f"the time-stamp token proves nothing: {error}") from error
    if at > case.now + timedelta(days=1):
        refuse(f"the token is of {at.isoformat()}: that is to come")
    case.sound["proved"] = at
    return f"proved: it existed at {at.isoformat()}, says {signer.subject.rfc4514_string()}"


def der(content: bytes) -> list[tuple[int, bytes, bytes]]:
    """The DER values in these bytes, one after the other: tag, content, whole encoding."""
    found = []
    while content:
        if len(content) < 2 or content[0] & 0x1F == 0x1F:
            refuse("a DER value is cut short")
        size, start = content[1], 2
        if size & 0x80:
            start += size & 0x7F
            digits = content[2:start]
            size = int.from_bytes(digits, "big")
            if not 1 <= len(digits) <= 4 or len(digits) != start - 2 or digits[0] == 0 or size < 0x80:
                refuse("a DER length is not in its shortest form")
        if start + size > len(content):
            refuse("a DER value is cut short")
        found.append((content[0], content[start : start + size], content[: start + size]))
        content = content[start + size :]
    return found


def inside(value: tuple[int, bytes, bytes], tag: int) -> list[tuple[int, bytes, bytes]]:
    return der(value[1]) if value[0] == tag else refuse(f"DER tag {tag:#04x} is expected, found {value[0]:#04x}")


def oid(value: tuple[int, bytes, bytes]) -> str:
    numbers, number = [], 0
    for byte in value[1] if value[0] == 6 else b"":
        number = number << 7 | byte & 0x7F
        if not byte & 0x80:
            numbers.append(number)
            number = 0
    top = min(numbers[0] // 40, 2)
    return ".".join(map(str, (top, numbers[0] - 40 * top, *numbers[1:])))


def algorithm(value: tuple[int, bytes, bytes]) -> str:
    name, *parameters = inside(value, 0x30)
    return oid(name) if [one[2] for one in parameters] in ([], [b"\5\0"]) else refuse("an algorithm has parameters")


def token_of(content: bytes, signed: bytes) -> tuple[datetime, x509.Certificate, list[x509.Certificate]]:
    """The token's time and signer's certificate, once it is about `signed` and its own signature holds."""
    (response,) = der(content) or refuse("it is cut short")
    status, info = inside(response, 0x30)
    if status[2] != b"\x30\x03\x02\x01\x00":
        refuse("its wrapper is not written the one way that we write it")
    kind, explicit = inside(info, 0x30)
    version, announced, encapsulated, certificates, *rest, signers = inside(inside(explicit, 0xA0)[0], 0x30)
    ((*_, signer_info),) = (inside(signers, 0x31),) if len(inside(signers, 0x31)) == 1 else refuse("not one signer")
    content_type, octets = inside(encapsulated, 0x30)
    if oid(kind) != "1.2.840.113549.1.7.2" or version[1] != b"\3" or content_type[2] != TST_INFO:
        refuse("it is not a time-stamp token")
    if certificates[0] != 0xA0 or any(one[0] != 0xA1 for one in rest):
        refuse("it does not hold its signer's certificate")
    (inner,) = inside(octets, 0xA0)
    tst = inner[1] if inner[0] == 4 else refuse("its content is no octet string")
    number, identifier, digest_id, attributes, signature_id, made = inside(signer_info, 0x30)
    name = HASHES[algorithm(digest_id)]
    if [algorithm(one) for one in inside(announced, 0x31)] != [algorithm(digest_id)]:
        refuse("the digest that it announces is not the one that its signer uses")
    others = [x509.load_der_x509_certificate(one[2]) for one in der(certificates[1])]
    issuer, serial = inside(identifier, 0x30) if number[1] == b"\1" else refuse("its signer is not named by issuer")
    serial_number = int.from_bytes(serial[1], "big", signed=True)
    mine = [one for one in others if (one.serial_number, one.issuer.public_bytes()) == (serial_number, issuer[2])]
    signer = mine[0] if mine else refuse("it does not hold its signer's certificate")
    said: dict[str, list[tuple[int, bytes, bytes]]] = {}
    for one in inside(attributes, 0xA0):
        kind_of, values = inside(one, 0x30)
        said[oid(kind_of)] = inside(values, 0x31) if oid(kind_of) not in said else refuse("an attribute twice")
    if [one[2] for one in said["1.2.840.113549.1.9.3"]] != [TST_INFO]:
        refuse("its signer signed another type of content")
    if [one[1] for one in said["1.2.840.113549.1.9.4"]] != [hashlib.new(name, tst).digest()]:
        refuse("its signer signed another content")
    named = 0
    for attribute, default in (("1.2.840.113549.1.9.16.2.12", "sha1"), ("1.2.840.113549.1.9.16.2.47", "sha256")):
        for value in said.get(attribute, []):
            identity = inside(inside(inside(value, 0x30)[0], 0x30)[0], 0x30)
            used = HASHES[algorithm(identity.pop(0))] if identity[0][0] == 0x30 else default
            der_bytes = signer.public_bytes(serialization.Encoding.DER)
            if identity[0][1] != hashlib.new(used, der_bytes, usedforsecurity=False).digest():
                refuse("what its signer signed names another certificate")
            named += 1
    if not named:
        refuse("what its signer signed names no certificate")
    chosen = getattr(hashes, (SIGNATURES[algorithm(signature_id)] or name).upper())()
    message = b"\x31" + attributes[2][1:]  # signed as a SET, sent with another tag
    holds(signer, made[1], message, chosen)
    version, _, imprint, _, at, *optional = inside(der(tst)[0], 0x30)
    hashed, digest = inside(imprint, 0x30)
    if version[1] != b"\1" or algorithm(hashed) != "2.16.840.1.101.3.4.2.1" or len(der(tst)) != 1:
        refuse("it is not about a SHA-256")
    if digest[1] != hashlib.sha256(signed).digest():
        refuse("it is about other bytes than these")
    if any(one[0] == 0xA1 for one in optional):
        refuse("it has an extension")
    if at[0] != 0x18 or not re.fullmatch(rb"\d{14}(\.\d*[1-9])?Z", at[1]):
        refuse("it holds no time")
    whole, _, fraction = at[1].decode().removesuffix("Z").partition(".")
    when = datetime.strptime(whole, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    return when + timedelta(microseconds=int(fraction[:6].ljust(6, "0"))), signer, others


def holds(certificate: x509.Certificate, made: bytes, message: bytes, chosen: hashes.HashAlgorithm) -> None:
    """Raises unless the certificate's key signed the message."""
    public = certificate.public_key()
    try:
        if isinstance(public, ec.EllipticCurvePublicKey):
            public.verify(made, message, ec.ECDSA(chosen))
        elif isinstance(public, rsa.RSAPublicKey) and public.key_size >= 2048:
            public.verify(made, message, padding.PKCS1v15(), chosen)
        else:
            refuse("its key is of a kind that is not checked here")
    except ValueError:
        raise
    except Exception as error:
        raise ValueError("its signature does not hold") from error


def chain(
    current: x509.Certificate, pinned: list[x509.Certificate], pool: list[x509.Certificate], at: datetime, depth: int
) -> str:
    """Empty when a path leads from `current` to a pinned certificate, else why none does."""
    known = {one.oid.dotted_string: one for one in current.extensions}
    name = current.subject.rfc4514_string()
    start = current.not_valid_before_utc if hasattr(current, "not_valid_before_utc") else None
    start = start or current.not_valid_before.replace(tzinfo=UTC)
    end = current.not_valid_after_utc if hasattr(current, "not_valid_after_utc") else None
    end = end or current.not_valid_after.replace(tzinfo=UTC)
    if not start <= at <= end:
        return f"the certificate of {name} was not valid on {at.isoformat()}"
    if any(
        one.critical and key not in ("2.5.29.15", "2.5.29.19", "2.5.29.32", "2.5.29.37") for key, one in known.items()
    ):
        return f"the certificate of {name} has a critical extension that we do not know"
    if depth:
        basic = known["2.5.29.19"].value if "2.5.29.19" in known else None
        usage = known["2.5.29.15"].value if "2.5.29.15" in known else None
        long = basic is not None and basic.path_length is not None and basic.path_length < depth - 1
        if basic is None or not basic.ca or long or (usage is not None and not usage.key_cert_sign):
            return f"{name} may not issue certificates"
    if current in pinned:
        return ""
    reason = f"{name} was issued by no authority that you pinned"
    for issuer in [*pinned, *pool] if depth < 6 else []:
        if issuer != current and issuer.subject == current.issuer:
            try:
                chosen = current.signature_hash_algorithm or refuse("its signature names no digest")
                holds(issuer, current.signature, current.tbs_certificate_bytes, chosen)
            except ValueError:
                continue
            reason = chain(issuer, pinned, pool, at, depth + 1)
            if not reason:
                break
    return reason


# --- 10 to 13: the documents, the clauses, the planned checks ---------------------------------------------------------

FINDING = ("metric", "asset", "value", "unit", "seen", "facts", "places", "files", "coverage", "projected", "error")


def documents(case: Case) -> str:
    found: Document = {}
    for path in DOCUMENTS:
        content = case.content(path)
        try:
            if path == CATALOGUE:
                continue
            if path == RESULTS:
                if content and not content.endswith(b"\n"):
                    refuse("its last line is cut short")
                value: Any = [strict(line) for line in content.split(b"\n")[:-1]]
                written = lines(value)
            else:
                value = strict(content)
                written = indented(value)
            if written != content:
                refuse("it is not written the one way that we write it")
            SHAPES.get(path, lambda _: None)(value)
        except (TypeError, KeyError, AttributeError, ValueError) as error:
            raise ValueError(f"{path}: {error}") from error
        found[path] = value
    case.sound["documents"] = found
    return f"{len(found[RESULTS])} results on {len(found[INVENTORY])} assets"


def shape_of_inventory(assets: Any) -> None:
    ids = [asset_id(one) for one in assets]
    if len(set(ids)) != len(ids):
        refuse("an asset is there twice")
    for one in assets:
        if set(one) - {"source", "kind", "name", "rows", "size_bytes", "obstacle", "excluded"}:
            refuse("an asset has a member that nobody knows")


def asset_id(one: Document) -> str:
    if one["kind"] not in ("table", "database", "objects", "model"):
        refuse(f"{one['kind']!r} is no kind of asset")
    return f"{one['source']}:{one['kind']}:{one['name']}"


def shape_of_results(results: list[Document]) -> None:
    for number, line in enumerate(results, start=1):
        where = f"line {number}: "
        if set(line) != {*FINDING, "status"}:
            refuse(f"{where}its members are not those of a finding")
        if line["status"] not in ("measured", "error", "not-run"):
            refuse(f"{where}its status is {line['status']!r}")
        if (line["status"] == "measured") != (line["value"] is not None):
            refuse(f"{where}its status is {line['status']}, its value {line['value']!r}")
        if not is_number(line["coverage"]) or not 0 <= line["coverage"] <= 1:
            refuse(f"{where}its coverage is {line['coverage']!r}, not a share from 0 to 1")
        typed(line, str, "metric", "unit", "seen", "error")
        typed(line, bool, "projected")
        typed(line, list, "places", "files")


def shape_of_plan(plan: Document) -> None:
    if plan["format"] != "reversible-plan/1":
        refuse(f"its format is {plan['format']!r}, not reversible-plan/1")
    moment(plan["sealed_at"])
    typed(plan, str, "tool", "catalogue_sha256", "exit_plan_sha256")
    typed(plan, dict, "exit_plan", "verifiers", "facts")
    typed(plan, list, "profiles", "flags", "criteria", "run_metrics", "documents")


def shape_of_run(run: Document) -> None:
    if run["format"] != "reversible-run/1":
        refuse(f"its format is {run['format']!r}, not reversible-run/1")
    typed(run, str, "run_id", "level")
    typed(run, bool, "simulated")
    typed(run, dict, "bundle")
    typed(run, list, "events")
    if run["level"] not in LEVELS:
        refuse(f"{run['level']!r} is not a proof level")
    for text in (run["started_at"], run["finished_at"], *(event["at"] for event in run["events"])):
        moment(text)


def shape_of_verdicts(verdicts: Document) -> None:
    typed(verdicts, list, "clauses")
    typed(verdicts, int, "exit_status")


def typed(document: Document, kind: type, *keys: str) -> None:
    for one in keys:
        if type(document[one]) is not kind:
            refuse(f"{one} is not of type {kind.__name__}")


SHAPES: dict[str, Callable[[Any], None]] = {
    INVENTORY: shape_of_inventory,
    RESULTS: shape_of_results,
    PLAN: shape_of_plan,
    RUN: shape_of_run,
    VERDICTS: shape_of_verdicts,
}


def catalogue(case: Case) -> str:
    plan, digest = case.documents[PLAN], case.digests[CATALOGUE]
    if digest != plan["catalogue_sha256"]:
        refuse(f"the plan sealed the catalogue {plan['catalogue_sha256']}, {CATALOGUE} is {digest}")
    judging = case.documents[CLAUSES]
    if plan["tool"] == TOOL and digest != CATALOGUE_SHA256:
        refuse(f"{TOOL} comes with the catalogue {CATALOGUE_SHA256}, {CATALOGUE} is {digest}")
    if (digest == CATALOGUE_SHA256) and case.digests[CLAUSES] != CLAUSES_SHA256:
        refuse(f"{CLAUSES} does not say what {CATALOGUE} says")
    if judging["catalogue_sha256"] != digest:
        refuse(f"{CLAUSES} is about another catalogue")
    case.sound["clauses"] = judging
    if digest != CATALOGUE_SHA256:
        _not_run(f"the catalogue is that of {plan['tool']}, which is not at hand to compare: {digest}")
    return f"sealed in the plan, and the one that comes with {TOOL}"


def criteria(case: Case) -> str:
    plan, judging = case.documents[PLAN], case.get("clauses", "the catalogue cannot be relied on")
    written = plan["exit_plan"].get("clauses") or {}
    for name in ("profiles", "flags"):
        if list(written.get(name, ())) != plan[name]:
            refuse(f"the sealed {name} {plan[name]} are not those of the exit plan")
    if indented(plan["exit_plan"].get("facts") or {}) != indented(plan["facts"]):
        refuse("the sealed facts are not those that the exit plan states")
    made = catalogue_criteria(judging, plan["profiles"])
    for override in written.get("criterion", ()):
        overridden(judging, made, override)
    if indented(made) != indented(plan["criteria"]):
        refuse("the sealed criteria are not those that the exit plan and the catalogue give")
    return f"{len(made)} criteria follow from the exit plan and the catalogue"


def catalogue_criteria(judging: Document, profiles: list[str]) -> list[Document]:
    """Every check of every clause that the profiles switch on; "baseline" always is."""
    on = {"baseline", *profiles}
    if not on <= set(judging["profiles"]):
        refuse(f"unknown profiles: {on - set(judging['profiles'])}")
    found = []
    for clause in judging["clauses"]:
        for check in clause["checks"] if on & set(clause["profiles"]) else ():
            if check.get("only_profile", "baseline") in on:
                made = {"clause": clause["id"], "required": True, **check}
                made = {name: value for name, value in made.items() if not (name == "coverage" and value is False)}
                if "unless" in made:
                    bound = float(made["unless"].rpartition("then <= ")[2])
                    waits = [
                        one["id"] for one in clause["documents"] if one.get("when", "").startswith(check["metric"])
                    ]
                    made["unless"] = {"text": made["unless"], "value": bound, "document": waits[0]}
                found.append(made)
    return found


def overridden(judging: Document, made: list[Document], override: Document) -> None:
    """The contract's own number in the place of the catalogue's; a law's may be made stricter, never laxer."""
    mine = [one for one in made if (one["clause"], one["metric"]) == (override["clause"], override["metric"])]
    if not mine:
        refuse(f"the plan's profiles do not switch {override['clause']} {override['metric']} on")
    for one in mine:
        new, own = override["value"], one.get("value")
        if not fits(new, judging["metrics"][one["metric"]]["type"]) or one["op"] == "report":
            refuse(f"{new!r} is no threshold for {one['metric']}")
        if one.get("basis") == "law" and own is not None and not satisfies(new, one["op"], own):
            refuse(f"{new} is laxer than the law's {one['op']} {own}")
        one["required"] = one["required"] or (own is None and "value_from" not in one)
        for gone in ("value_from", "unless"):
            one.pop(gone, None)
        one.update(value=new, basis=override["basis"])
        if override.get("note"):
            one["note"] = override["note"]


def planned(case: Case) -> dict[tuple[str, str | None], int]:
    """Every check that plan and inventory ask for, and how often."""
    plan = case.documents[PLAN]
    leaving = [one for one in case.documents[INVENTORY] if one.get("excluded") is None and one.get("obstacle") is None]
    checks: list[tuple[str, str | None]] = [(metric, None) for metric in plan["run_metrics"]]
    for verifier in plan["verifiers"].values():
        mine = [one for one in leaving if one["kind"] in verifier["kinds"]]
        checks += [(metric, asset_id(one)) for one in mine for metric in verifier["metrics"]]
    counts = dict.fromkeys(checks, 0)
    for check in checks:
        counts[check] += 1
    return counts


def answers(case: Case) -> str:
    wanted = planned(case)
    if twice := [check for check, times in wanted.items() if times > 1]:
        refuse(f"{twice[0][0]} is planned twice")
    given: dict[tuple[str, str | None], int] = {}
    for line in case.documents[RESULTS]:
        check = (line["metric"], line["asset"])
        given[check] = given.get(check, 0) + 1
    wrong = [f"no answer to {one[0]} on {one[1] or 'the run'}" for one in wanted if one not in given]
    wrong += [f"nobody planned {one[0]} on {one[1] or 'the run'}" for one in given if one not in wanted]
    wrong += [f"two answers to {one[0]} on {one[1] or 'the run'}" for one, times in given.items() if times > 1]
    if wrong:
        refuse("; ".join(wrong[:5]))
    return f"{len(wanted)} planned checks, each answered once"


# --- 14: the verdicts, judged again (the catalogue's verdict_logic, in its order) -------------------------------------


def is_number(value: Any) -> bool:
    return type(value) is int or (type(value) is float and not math.isnan(value))


def fits(value: Any, kind: str) -> bool:
    if kind == "set":
        return isinstance(value, list) and all(isinstance(one, str) for one in value)
    return is_number(value) if kind == "number" else type(value) is {"bool": bool, "string": str}[kind]


def satisfies(value: Any, op: str, threshold: Any) -> bool:
    if op == "==":
        both = isinstance(value, list) and isinstance(threshold, list)
        return set(value) == set(threshold) if both else value == threshold
    return bool({"<=": value <= threshold, ">=": value >= threshold, "abs<=": abs(value) <= threshold}[op])


def off_by(value: Any, op: str, threshold: Any) -> float:
    """How far a number lies on the bad side; larger is worse."""
    if not is_number(value) or not is_number(threshold):
        return 0.0
    return float({"<=": value, ">=": -value, "abs<=": abs(value), "==": abs(value - threshold)}.get(op, 0))


class Judge:
    """Judges each clause from the plan, the results and the run: the same rules as `verdict_logic` in clauses.yaml."""

    def __init__(self, case: Case) -> None:
        found = case.documents
        answers(case)
        self.clauses = case.get("clauses", "the catalogue cannot be relied on")
        self.plan, self.run, self.metrics = found[PLAN], found[RUN], self.clauses["metrics"]
        self.by_metric: dict[str, list[Document]] = {}
        for line in sorted(found[RESULTS], key=lambda one: one["asset"] or ""):
            self.by_metric.setdefault(line["metric"], []).append(line)
        self.planned_metrics = {metric for metric, _ in planned(case)}
        self.day = moment(self.run["finished_at"]).astimezone(UTC).date()
        level = LEVELS.index(self.run["level"])
        self.reached = min(level, 3) if self.run["simulated"] else level  # a stand-in shows N3 at most
        present = {one["kind"] for one in found[INVENTORY]}
        kinds: dict[str, set[str]] = {}
        for verifier in self.plan["verifiers"].values():
            for metric in verifier["metrics"]:
                kinds.setdefault(metric, set()).update(verifier["kinds"])
        self.moot = {metric for metric, those in kinds.items() if present and not those & present}
        unknown = (self.planned_metrics | set(self.plan["facts"])) - set(self.metrics)
        if unknown:
            refuse(f"no metric of the clause catalogue: {sorted(unknown)[0]}")
        typed_ = {name for name, metric in self.metrics.items() if metric["producer"] == "contract"}
        if self.planned_metrics & typed_ or set(self.plan["facts"]) - typed_:
            refuse("a typed number is planned as a check, or a measured one is typed")

    def value(self, metric: str) -> Any:
        """The value of a metric of the whole run, typed or measured; None when there is none of its type."""
        found = self.plan["facts"].get(metric)
        for line in self.by_metric.get(metric, ()):
            found = line["value"] if line["asset"] is None else found
        return found if fits(found, self.metrics[metric]["type"]) else None

    def answer(self, criterion: Document, bound: Any = None) -> Document:
        """met, missed or unanswered, on which share of the scope, and whether a person typed it."""
        metric, op = self.metrics[criterion["metric"]], criterion["op"]
        decides = op != "report" and ("value" in criterion or "value_from" in criterion)
        threshold = self.value(criterion["value_from"]) if "value_from" in criterion else criterion.get("value")
        threshold = threshold if bound is None else bound
        found: Document = {
            **criterion, "decides": decides, "needed": criterion["required"] and decides,
            "typed": metric["producer"] == "contract", "status": "unanswered", "share": 0.0, "projected": False,
            "threshold": threshold, "value": None, "asset": None,
        }  # fmt: skip
        if decides and threshold is None:
            return found
        taken = self.by_metric.get(criterion["metric"], [])
        if found["typed"]:
            typed_value = self.plan["facts"].get(criterion["metric"])
            line = {"value": typed_value, "asset": None, "coverage": 1.0, "projected": False}
            taken = [line] if typed_value is not None else []
        good = [one for one in taken if one["value"] is not None and fits(one["value"], metric["type"])]
        missed = [one for one in good if decides and not satisfies(one["value"], op, threshold)]
        if not missed and (not taken or len(good) < len(taken)):
            return found  # unanswered: one planned measurement that is not there is enough
        shares = [
            min(one["coverage"], max(0.0, one["value"] / 100)) if criterion.get("coverage") else one["coverage"]
            for one in good
        ]
        found.update(status="missed" if missed else "met", share=min(shares))
        found["projected"] = any(one["projected"] for one in good)
        worst = max(missed or good, key=lambda one: off_by(one["value"], op, threshold))
        found.update(value=worst["value"], asset=worst["asset"])
        return found

    def clause(self, clause: Document) -> Document:
        """One clause's verdict, with what the indices need of it."""
        given = {"id": clause["id"], "clause": clause, "answers": [], "documents": [], "open": False}
        if self.off(clause):
            return {**given, "verdict": "NOT_APPLICABLE", "low": 0.0, "high": 0.0, "shown": 0, "measurable": False}
        papers = [self.document(clause, one) for one in clause["documents"]]
        accepted = {one["id"] for one in papers if one["status"] == "accepted"}
        counting = [one for one in self.plan["criteria"] if one["clause"] == clause["id"] and self.counts(clause, one)]
        remaining = [one for one in counting if one["metric"] not in self.moot]
        if any(
            one["required"] and one["op"] != "report" and ("value" in one or "value_from" in one) for one in remaining
        ):
            counting = remaining
        found = []
        for one in counting:
            unless = one.get("unless")
            found.append(self.answer(one, unless["value"] if unless and unless["document"] in accepted else None))
        needed = [one for one in found if one["needed"]]
        open_ = [one for one in needed if one["status"] == "unanswered"]
        missed = [one for one in found if one["status"] == "missed"]
        measured = [one for one in needed if one["status"] == "met" and not one["typed"]]
        short = self.reached < LEVELS.index(clause["proof_level"])
        verdict = self.rule(found, papers, open_, missed, measured, short)
        whole = [one for one in measured if one["share"] >= 1 and not one["projected"]]
        held = bool(measured) and len(whole) == len(measured) and not open_ and not missed
        full = verdict == "PROVEN" or (held and verdict in ("PARTIAL", "DOCUMENT_NEEDED"))
        low, high = {"PROVEN": (1.0, 1.0), "DOCUMENT_NEEDED": (1.0, 1.0), "NOT_TESTED": (0.0, 1.0)}.get(
            verdict, (0.0, 0.0)
        )
        if verdict == "PARTIAL":
            high = 0.0 if missed else min((float(one["share"]) for one in measured), default=1.0)
            low = high if not open_ and not short and not any(one["projected"] for one in measured) else 0.0
        return {
            **given, "verdict": verdict, "answers": found, "documents": papers, "open": bool(open_), "low": low,
            "high": high, "shown": self.reached if full else 0,
            "measurable": any(one["needed"] and not one["typed"] for one in found),
            "expires_on": self.expires(clause, verdict, found, papers),
        }  # fmt: skip

    def rule(
        self, found: list[Document], papers: list[Document], open_: list[Document], missed: list[Document],
        measured: list[Document], short: bool,
    ) -> str:  # fmt: skip
        fails = [one for one in missed if one.get("else") != "PARTIAL" and (one["required"] or one.get("on_false"))]
        if fails or any(one["status"] == "contradicts" for one in papers):  # 2, 3
            return "FAILED"
        if open_:  # 4
            return "PARTIAL" if measured else "NOT_TESTED"
        if missed or any(one["share"] < 1 or one["projected"] for one in measured) or (measured and short):  # 5
            return "PARTIAL"
        if any(one["status"] == "missing" for one in papers):  # 6
            return "DOCUMENT_NEEDED"
        shown = [
            one for one in found
            if one["status"] == "met" and one["decides"] and one["share"] >= 1 and not one["typed"] | one["projected"]
        ]  # fmt: skip
        if shown and not short:  # 8
            return "PROVEN"
        behind = any(one["needed"] for one in found) or any(one["status"] == "accepted" for one in papers)
        return "DOCUMENTED" if behind else "NOT_TESTED"  # 7

    def off(self, clause: Document) -> bool:
        """Rule 1, with the flags of Data Act art. 31."""
        on = [name for name in clause["profiles"] if name in self.plan["profiles"] or name == "baseline"]
        sources = {name: self.clauses["sources"][name] for name in clause["sources"]}
        articles = {
            name: [part.strip() for part in re.split(r",| and ", one["article"]) if re.match(r"\s*\d", part)] or ["-"]
            for name, one in sources.items()
            if "Data Act" in one["text"]
        }
        numbers = [int(found[0]) for those in articles.values() for one in those if (found := re.match(r"\d+", one))]
        if "test_version" in self.plan["flags"] and on == ["data_act"] and any(23 <= one <= 31 for one in numbers):
            return True
        lifted = ("23(d)", "29", "30(1)", "30(3)")
        if "custom_built" in self.plan["flags"] and all(
            name in articles
            and all(
                any(one == off or (one.startswith(f"{off}(") and "-" not in one) for off in lifted)
                for one in articles[name]
            )
            for name in clause["sources"]
        ):
            return True
        return not on

    def counts(self, clause: Document, criterion: Document) -> bool:
        if "only_profile" in criterion and criterion["only_profile"] not in self.plan["profiles"]:
            return False
        if criterion.get("only_if") == "sampled":
            wanted = {check["metric"] for check in clause["checks"]}
            sampled = any(
                line["value"] is not None and (line["coverage"] < 1 or line["facts"].get("sampled") is True)
                for metric in wanted
                for line in self.by_metric.get(metric, ())
            )
            if not sampled and not self.by_metric.get(criterion["metric"]):  # planned: it counts, answered or not
                return False
        start, end = criterion.get("from", "0001-01-01"), criterion.get("until", "9999-12-31")
        return bool(start <= self.day.isoformat() <= end)

    def document(self, clause: Document, wanted: Document) -> Document:
        received = [one for one in self.plan["documents"] if (one["clause"], one["id"]) == (clause["id"], wanted["id"])]
        needed = wanted.get("required", True) and self.when(wanted.get("when"))
        days = [
            date.fromisoformat(one["read_on"])
            for one in received
            if one["read_by"].strip()
            and date.fromisoformat(one["read_on"]) <= self.day + timedelta(days=1)
            and date.fromisoformat(one["read_on"]) + timedelta(days=clause["validity_days"]) >= self.day
        ]
        status = "contradicts" if any(one["opinion"] != "accepts" for one in received) else "accepted" if days else ""
        return {
            "id": wanted["id"], "status": status or ("missing" if needed else "not-required"), "needed": needed,
            "read_on": max(days, default=None),
        }  # fmt: skip

    def when(self, text: str | None) -> bool:
        """Whether the condition under which a document is required holds; an unknown number requires it."""
        if text is None:
            return True
        metric, op, number = text.split(" ")
        value, bound = self.value(metric), float(number)
        if not isinstance(value, int | float):
            return True
        return {
            ">": value > bound,
            ">=": value >= bound,
            "<": value < bound,
            "<=": value <= bound,
            "==": value == bound,
        }[op]

    def expires(self, clause: Document, verdict: str, found: list[Document], papers: list[Document]) -> str | None:
        if verdict in ("FAILED", "NOT_TESTED"):
            return None
        days = [one["read_on"] for one in papers if one["read_on"] and one["status"] == "accepted"]
        days += [self.day] if any(one["status"] == "met" for one in found) else []
        return (min(days) + timedelta(days=clause["validity_days"])).isoformat() if days else None

    def whole(self) -> Document:
        """verdicts.json, without its sentences."""
        all_ = [self.clause(one) for one in self.clauses["clauses"]]
        counts: dict[str, int] = {}
        blocking: dict[str, int] = {}
        for one in all_:
            counts[one["verdict"]] = counts.get(one["verdict"], 0) + 1
            if one["clause"]["severity"] == "blocking":
                blocking[one["verdict"]] = blocking.get(one["verdict"], 0) + 1
        levels = [
            one["shown"] for one in all_
            if one["clause"]["severity"] == "blocking" and one["verdict"] not in ("NOT_APPLICABLE", "DOCUMENTED")
        ]  # fmt: skip
        cap = 49 if "FAILED" in blocking else 79 if "NOT_TESTED" in blocking else None
        papers = [one for each in all_ for one in each["documents"] if one["needed"]]
        accepted = sum(one["status"] == "accepted" for one in papers)
        untested = [
            one for one in all_
            if one["clause"]["severity"] == "blocking" and LEVELS.index(one["clause"]["proof_level"]) <= self.reached
            and one["verdict"] in ("NOT_TESTED", "PARTIAL") and (one["open"] or one["verdict"] == "NOT_TESTED")
        ]  # fmt: skip
        return {
            "format": "reversible-verdicts/1",
            "catalogue_sha256": self.plan["catalogue_sha256"],
            "level": self.run["level"],
            "simulated": self.run["simulated"],
            "headline": {
                "level": LEVELS[min(levels, default=1 if blocking.get("DOCUMENTED") else 0)], "blocking": blocking,
            },
            "counts": counts,
            "measured_index": {"low": self.index(all_, "low", cap), "high": self.index(all_, "high", cap), "cap": cap},
            "dossier_index": {
                "value": 100 * accepted / len(papers) if papers else None, "accepted": accepted,
                "required": len(papers),
            },
            "exit_status": 1 if "FAILED" in counts else 3 if untested else 0,
            "clauses": [self.told(one) for one in all_],
        }  # fmt: skip

    def index(self, all_: list[Document], end: str, cap: int | None) -> float:
        weights = self.clauses["weights"]
        counted = [one for one in all_ if one["measurable"] and one["verdict"] != "NOT_APPLICABLE"]
        total = sum(weights[one["clause"]["severity"]] for one in counted)
        if not total:
            return 0.0
        value: float = 100 * math.fsum(weights[one["clause"]["severity"]] * one[end] for one in counted) / total
        return value if cap is None else min(value, float(cap))

    def told(self, one: Document) -> Document:
        clause = one["clause"]
        return {
            "id": clause["id"], "family": clause["family"], "severity": clause["severity"], "kind": clause["kind"],
            "required_level": clause["proof_level"], "verdict": one["verdict"], "expires_on": one.get("expires_on"),
            "documents": [{"id": paper["id"], "status": paper["status"]} for paper in one["documents"]],
            "answers": [
                {
                    "metric": each["metric"], "op": each["op"] if each["decides"] else "report",
                    "threshold": each["threshold"], "basis": each.get("basis"), "required": each["needed"],
                    "status": each["status"], "coverage": each["share"], "projected": each["projected"],
                    "value": each["value"], "asset": each["asset"],
                }
                for each in one["answers"]
            ],
        }  # fmt: skip


def verdicts(case: Case) -> str:
    given = json.loads(case.content(VERDICTS))
    again = Judge(case).whole()
    told = {one["id"]: one for one in given["clauses"]}
    for one in given["clauses"]:  # the sentences and places that explain a verdict are not written again here
        one.pop("reasons")
        for each in one["answers"]:
            for word in ("reason", "unit", "places"):
                each.pop(word)
            if each["status"] == "unanswered":
                each["asset"] = None
    if indented(given) != indented(again):
        mine = {one["id"]: one["verdict"] for one in again["clauses"]}
        differ = [
            f"{name} is {verdict}, not {told[name]['verdict'] if name in told else 'left out'}"
            for name, verdict in mine.items()
            if name not in told or told[name]["verdict"] != verdict
        ]
        differ += [name for name in again if indented(again[name]) != indented(given.get(name))]
        refuse(f"{VERDICTS} is not what the rules make of the sealed results: {'; '.join(differ[:5])}")
    return f"{len(told)} clauses judged again, the same; the sentences that explain them are not written again here"


# --- 15 to 20: what is left -------------------------------------------------------------------------------------------

LISTS = {
    "PROVEN": "passedTests",
    "FAILED": "failedTests",
    **dict.fromkeys(("PARTIAL", "DOCUMENTED", "DOCUMENT_NEEDED", "NOT_TESTED"), "warnedTests"),
}


def summary(case: Case) -> str:
    plan, run, given, own = case.documents[PLAN], case.documents[RUN], case.documents[VERDICTS], case.own
    listed, contract = case.get("listed", ""), plan["exit_plan"].get("contract") or {}
    tests: dict[str, list[str]] = {"passedTests": [], "warnedTests": [], "failedTests": []}
    for one in given["clauses"]:
        if one["verdict"] != "NOT_APPLICABLE":
            tests[LISTS[one["verdict"]]].append(one["id"])
    failed = tests["failedTests"] or given["exit_status"] != 0
    warned = tests["warnedTests"] or not tests["passedTests"]
    found = [one["verdict"] for one in given["clauses"]]
    order = ("PROVEN", "PARTIAL", "DOCUMENTED", "DOCUMENT_NEEDED", "NOT_TESTED", "FAILED", "NOT_APPLICABLE")
    again: Document = {
        "_type": STATEMENT,
        "subject": [{"name": TAG_MANIFEST, "digest": {"sha256": case.digests.get(TAG_MANIFEST, "")}}],
        "predicateType": PREDICATE,
        "predicate": {
            "result": "FAILED" if failed else "WARNED" if warned else "PASSED",
            "configuration": [{"name": path, "digest": {"sha256": listed[path]}} for path in (PLAN, CATALOGUE)],
            **{name: sorted(ids) for name, ids in tests.items()},
            "reversible": {
                "format": FORMAT,
                "tool": plan["tool"],
                "run_id": run["run_id"],
                "organisation": contract.get("customer"),
                "provider": contract.get("provider"),
                "contract": contract.get("reference") or contract.get("title"),
                "level": run["level"],
                "simulated": run["simulated"],
                "exit_status": given["exit_status"],
                "counts": {verdict: found.count(verdict) for verdict in order},
                "plan_sha256": listed[PLAN],
                "results_sha256": listed[RESULTS],
                "run_sha256": listed[RUN],
                "verdicts_sha256": listed[VERDICTS],
                **{name: own[name] for name in ("sealed_at", "previous", "nonce", "authority")},
            },
        },
    }
    if compact(again) != compact(case.statement):
        said = case.statement
        pairs = ((again, said), (again["predicate"], said["predicate"]), (again["predicate"]["reversible"], own))
        differ = [
            name for mine, theirs in pairs for name in sorted({*mine, *theirs} - {"predicate", "reversible"})
            if name not in mine or name not in theirs or compact(mine[name]) != compact(theirs[name])
        ]  # fmt: skip
        refuse(f"the signed statement does not follow from the documents: {'; '.join(differ[:5])}")
    return f"result {again['predicate']['result']}, the lists and every digest follow from the documents"


def bundle(case: Case) -> str:
    run = case.documents[RUN]
    tags, own = case.content(f"data/bundle/{TAG_MANIFEST}"), case.content(f"data/bundle/{MANIFEST}")
    digest = hashlib.sha256(tags).hexdigest()
    if digest != run["bundle"].get("sha256"):
        refuse(f"the run verified the bundle {run['bundle'].get('sha256')}, these manifests are of {digest}")
    if manifest(case, TAG_MANIFEST, tags).get(MANIFEST) != hashlib.sha256(own).hexdigest():
        refuse(f"data/bundle/{MANIFEST} is not the one that the bundle's tag manifest lists")
    return f"bundle sha256 {digest}"


def times(case: Case) -> str:
    plan, run = case.documents[PLAN], case.documents[RUN]
    first, started, ended = moment(plan["sealed_at"]), moment(run["started_at"]), moment(run["finished_at"])
    closed = moment(case.own["sealed_at"])
    steps = [("the plan was sealed", first), ("the run began", started), ("the run ended", ended)]
    for before, after in [*itertools.pairwise(steps), (steps[2], ("the dossier was sealed", closed))]:
        in_order(before, after)
    for event in run["events"]:
        what = (f"the event {event['event']!r}", moment(event["at"]))
        in_order(steps[0], what)
        in_order(what, steps[2])
    if closed > case.now + timedelta(days=1):
        refuse(f"the dossier was sealed on {closed.isoformat()}: that is to come")
    proved = case.sound.get("proved")
    if proved is not None and closed > proved + timedelta(hours=1):
        refuse(f"it says it was sealed at {closed.isoformat()}, its token is of {proved.isoformat()}")
    said = "" if proved is None else f", {proved.isoformat()} at the latest as proved"
    return f"in order, sealed {closed.isoformat()} as claimed{said}"


def in_order(first: tuple[str, datetime], then: tuple[str, datetime]) -> None:
    if first[1] > then[1]:
        refuse(f"{then[0]} at {then[1].isoformat()}, before {first[0]} at {first[1].isoformat()}")


def reports(case: Case) -> str:
    found = sorted(path for path in case.contents if REPORT.fullmatch(path))
    if not found:
        _not_run("the dossier holds no report")
    for path in found:
        case.content(path)
    _not_run(f"{', '.join(found)} cannot be rendered again here: rely on the data, or run reversible")


def instructions(case: Case) -> str:
    tool = case.documents[PLAN]["tool"]
    if tool != TOOL:
        _not_run(f"sealed by {tool}, this is of {TOOL}")
    if case.digests.get("VERIFY.txt") != VERIFY_TXT_SHA256:
        refuse(f"VERIFY.txt is not the one that {TOOL} writes: do not follow it")
    if case.contents.get("verify.py") != Path(__file__).read_bytes():
        refuse(f"verify.py is not the one that {TOOL} writes: do not run it")
    return f"VERIFY.txt and verify.py are those that {TOOL} writes"


def log(case: Case) -> str:
    _not_run("a log lies outside of the dossier: reversible evidence verify --log, or reversible history")


def expected(case: Case) -> str:
    own, asked, said = case.own, case.options, []
    for name in ("organisation", "plan_sha256", "nonce"):
        wanted = getattr(asked, name)
        if wanted is not None:
            said.append(name if own.get(name) == wanted else refuse(f"{name} is {own.get(name)!r}, not {wanted!r}"))
    if asked.max_age_days is not None:
        age = (case.now - moment(own["sealed_at"])) / timedelta(days=1)
        said.append("age" if age <= asked.max_age_days else refuse(f"it was sealed {age:.1f} days ago"))
    return f"as expected: {', '.join(said)}" if said else _not_run("nothing was asked for")


# --- the whole --------------------------------------------------------------------------------------------------------

STEPS: tuple[Callable[[Case], str], ...] = (
    layout, manifests, digests, names, seal, key, signature, subject, time, documents, catalogue, criteria, answers,
    verdicts, summary, bundle, times, reports, instructions, log, expected,
)  # fmt: skip


def examine(root: Path, options: argparse.Namespace) -> Document:
    case, taken = Case(root, options), []
    asked = any(getattr(options, name) is not None for name in ("organisation", "plan_sha256", "nonce", "max_age_days"))
    optional = {"expected": not asked, "log": True, "time": not options.tsa, "reports": options.without_reports}
    for step in STEPS:
        try:
            outcome, detail = "passed", step(case)
        except NotRun as lack:
            outcome, detail = "not-run", str(lack)
        except Exception as error:  # noqa: BLE001 - forged documents may break any reader: what breaks one is rejected
            known = isinstance(error, ValueError)
            outcome, detail = "failed", str(error) if known else f"it cannot be computed: {error!r}"
        required = not optional.get(step.__name__, False)
        taken.append({"id": step.__name__, "outcome": outcome, "detail": detail, "required": required})
    if any(one["outcome"] == "failed" for one in taken):
        conclusion = "rejected"
    elif options.key is None:
        conclusion = "integrity-only"
    else:
        whole = all(one["outcome"] == "passed" or not one["required"] for one in taken)
        conclusion = "verified" if whole else "incomplete"
    status = {"verified": 0, "rejected": 5}.get(conclusion, 3)
    return {"conclusion": conclusion, "exit_status": status, "steps": taken}


def arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dossier", type=Path)
    parser.add_argument("--key", help="the signer's fingerprint: 64 hex digits, known by another way")
    parser.add_argument("--tsa-certificate", dest="tsa", type=Path, help="PEM certificates that are trusted for time")
    parser.add_argument("--without-reports", action="store_true", help="you rely on the data, on no report")
    parser.add_argument("--organisation")
    parser.add_argument("--plan-sha256", dest="plan_sha256")
    parser.add_argument("--nonce")
    parser.add_argument("--max-age-days", dest="max_age_days", type=float)
    parser.add_argument("--at", help="the time to judge by, ISO 8601 with its offset; this machine's clock")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(argv)
    if options.key is not None:
        options.key = re.sub(r"[\s:]", "", options.key).lower()
        if not re.fullmatch(r"[0-9a-f]{64}", options.key):
            parser.error("--key is 64 hex digits")
    try:
        pem = b"" if options.tsa is None else options.tsa.read_bytes()
        found = re.findall(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", pem, re.DOTALL)
        pinned = [x509.load_pem_x509_certificate(one) for one in found]
    except (OSError, ValueError) as error:
        parser.error(f"--tsa-certificate: {error}")
    if options.tsa is not None and not pinned:
        parser.error("--tsa-certificate holds no certificate in PEM")
    options.tsa = pinned
    return options


def main(argv: list[str] | None = None) -> int:
    options = arguments(argv)
    found = examine(options.dossier, options)
    if options.json:
        sys.stdout.write(json.dumps(found, indent=1) + "\n")
        return int(found["exit_status"])
    apart = " (the data; no report was looked at)" if options.without_reports and not found["exit_status"] else ""
    sys.stdout.write(f"{found['conclusion'].upper()}{apart}\n")
    for one in found["steps"]:
        shown = "".join(letter if letter.isprintable() else "?" for letter in one["detail"])
        sys.stdout.write(f"  {one['outcome']:<8} {one['id']:<13} {shown}\n")
    sys.stdout.write("What no signature shows: measurements made up before the seal.\n")
    return int(found["exit_status"])


if __name__ == "__main__":
    sys.exit(main())
