"""Is there one way to write a seal, and does everything else count as none?"""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reversible.evidence import keys, seal, strict_json


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> keys.SigningKey:
    return keys.load_or_create(Path(tmp_path_factory.mktemp("k")) / "own" / "key.pem")


def test_a_seal_is_read_back_and_holds_under_its_key_alone(key: keys.SigningKey, tmp_path: Path) -> None:
    made = seal.sign(b'{"a":1}', key)
    found = seal.read(made.to_bytes())

    assert found == made
    assert found.holds(key.public)
    assert not found.holds(keys.load_or_create(tmp_path / "other" / "key.pem").public)
    assert not seal.Seal(b'{"a":2}', made.signature, made.hint).holds(key.public)


def test_the_preauthentication_encoding_is_that_of_the_dsse_protocol() -> None:
    # https://github.com/secure-systems-lab/dsse/blob/master/protocol.md: "DSSEv1" SP LEN(type) SP type SP LEN SP body
    assert seal.preauthentication(b"hello") == b"DSSEv1 28 application/vnd.in-toto+json 5 hello"


def _envelope(document: dict[str, Any]) -> dict[str, Any]:
    envelope: dict[str, Any] = document["dsseEnvelope"]
    return envelope


def _put(document: dict[str, Any], **changes: Any) -> None:
    _envelope(document).update(changes)


CHANGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "no signature": lambda document: _put(document, signatures=[]),
    "a second signature": lambda document: _put(document, signatures=_envelope(document)["signatures"] * 2),
    "another payload type": lambda document: _put(document, payloadType="application/json"),
    "a key id": lambda document: _envelope(document)["signatures"][0].update(keyid="mine"),
    "an algorithm of its own choice": lambda document: _envelope(document)["signatures"][0].update(alg="none"),
    "an extra member": lambda document: document.update(note="hello"),
    "an extra member inside": lambda document: document["verificationMaterial"].update(tlogEntries=[]),
    "another media type": lambda document: document.update(mediaType="application/json"),
    "a hint that is no text": lambda document: document["verificationMaterial"]["publicKey"].update(hint=7),
    "no hint": lambda document: document["verificationMaterial"].clear(),
    "a payload that is no text": lambda document: _put(document, payload=7),
    "a payload that is not base64": lambda document: _put(document, payload="e30"),
    "base64 for web addresses": lambda document: _put(document, payload=base64.urlsafe_b64encode(b"\xff\xfe").decode()),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_seal_with_anything_else_in_it_is_none(key: keys.SigningKey, change: Callable[[Any], object]) -> None:
    document = json.loads(seal.sign(b"{}", key).to_bytes())
    change(document)

    with pytest.raises(ValueError, match=r"."):
        seal.read(strict_json.compact_bytes(document) + b"\n")


@pytest.mark.parametrize(
    "rewrite",
    [
        lambda content: content[:-1],
        lambda content: content + b"\n",
        lambda content: b" " + content,
        lambda content: json.dumps(json.loads(content), indent=1).encode(),
        lambda content: json.dumps(dict(reversed(list(json.loads(content).items())))).encode(),
        lambda content: content.replace(b'"hint"', b'"\\u0068int"'),
        lambda content: b"[]",
        lambda content: b"7",
        lambda content: b"",
    ],
)
def test_the_same_seal_written_another_way_is_none(key: keys.SigningKey, rewrite: Callable[[bytes], bytes]) -> None:
    with pytest.raises(ValueError, match=r"."):
        seal.read(rewrite(seal.sign(b"{}", key).to_bytes()))
