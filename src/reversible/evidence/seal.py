"""How is a statement signed, and what may a signature look like?

A DSSE 1.0.2 envelope inside a Sigstore bundle v0.3, which other tools read too. There is exactly one way to write it
down: a seal that differs by one space, one base64 variant or one more signature is no seal. The algorithm comes from
the reader's key, never from the file.
"""

import base64
import binascii
from dataclasses import dataclass
from typing import Any

from reversible.evidence import strict_json
from reversible.evidence.keys import PublicKey, SigningKey

PAYLOAD_TYPE = "application/vnd.in-toto+json"
MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
LIMIT = 1 << 20  # bytes; ours take 5,000


@dataclass(frozen=True)
class Seal:
    """A statement's bytes, the one signature over them, which key is said to have made it, and a token about when.

    The token is about the signature, as Sigstore's are. It stands outside of what is signed, so it may come later.
    """

    payload: bytes
    signature: bytes
    hint: str
    timestamp: bytes | None = None

    def holds(self, key: PublicKey) -> bool:
        """Whether `key` signed these bytes."""
        return key.verifies(self.signature, preauthentication(self.payload))

    def to_bytes(self) -> bytes:
        return strict_json.compact_bytes(_bundle(self)) + b"\n"


def sign(payload: bytes, key: SigningKey) -> Seal:
    """Sign a statement."""
    return Seal(payload, key.sign(preauthentication(payload)), key.public.hint)


def read(content: bytes) -> Seal:
    """The seal that the bytes are.

    Raises:
        ValueError: they are not exactly what `Seal.to_bytes` writes.
    """
    document = strict_json.parse(content, limit=LIMIT)
    try:
        envelope = document["dsseEnvelope"]
        signatures = envelope["signatures"]
        material = document["verificationMaterial"]
        hint = material["publicKey"]["hint"]
        payload_type = envelope["payloadType"]
        if len(signatures) != 1:
            raise ValueError(f"{len(signatures)} signatures; there must be exactly one")
        payload, signature = _plain(envelope["payload"]), _plain(signatures[0]["sig"])
        stamps = material.get("timestampVerificationData", {"rfc3161Timestamps": ()})["rfc3161Timestamps"]
        timestamp = _plain(stamps[0]["signedTimestamp"]) if stamps else None
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise ValueError(f"it is not a Sigstore bundle with a DSSE envelope: {error}") from error
    if payload_type != PAYLOAD_TYPE:
        raise ValueError(f"its payload is of type {payload_type!r}, not {PAYLOAD_TYPE}")
    if not isinstance(hint, str):
        raise ValueError("its key hint is not a text")
    found = Seal(payload, signature, hint, timestamp)
    if found.to_bytes() != content:
        raise ValueError("it is not written the one way that a seal is: a member, a space or an encoding differs")
    return found


def preauthentication(payload: bytes, kind: str = PAYLOAD_TYPE) -> bytes:
    """DSSE's PAE: what is really signed, so that bytes of another type can never pass for a statement."""
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(payload), payload)


def _bundle(seal: Seal) -> dict[str, Any]:
    material: dict[str, Any] = {"publicKey": {"hint": seal.hint}}
    if seal.timestamp is not None:
        stamp = {"signedTimestamp": base64.b64encode(seal.timestamp).decode()}
        material["timestampVerificationData"] = {"rfc3161Timestamps": [stamp]}
    return {
        "mediaType": MEDIA_TYPE,
        "verificationMaterial": material,
        "dsseEnvelope": {
            "payload": base64.b64encode(seal.payload).decode(),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{"sig": base64.b64encode(seal.signature).decode()}],
        },
    }


def _plain(text: Any) -> bytes:
    if not isinstance(text, str):
        raise ValueError("a base64 text is not a text")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"a base64 text is not one: {error}") from error
