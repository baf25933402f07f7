"""Does a token prove what it is said to prove, and nothing less?"""

import hashlib
import random
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier

import time_authority
from reversible.errors import DestinationError, EvidenceError, UsageError
from reversible.evidence import authority, der, timestamp
from reversible.evidence.authority import Authority
from time_authority import Party, party

MESSAGE = b"the signature of a statement"
NONCE = 0x7FEDCBA987654321


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tsa")


@pytest.fixture(scope="module")
def root(folder: Path) -> Party:
    return party(folder, "root", ca=True)


@pytest.fixture(scope="module")
def tsa(folder: Path, root: Party) -> Party:
    return party(folder, "tsa", root)


@pytest.fixture(scope="module")
def response(tsa: Party) -> bytes:
    return timestamp.granted(time_authority.reply(tsa, timestamp.request(MESSAGE, NONCE)))


def test_a_token_of_openssl_is_read_and_its_signer_found_below_the_pinned_root(
    response: bytes, root: Party, tsa: Party
) -> None:
    token = timestamp.read(response)
    timestamp.check_about(token, MESSAGE)
    timestamp.check_signer(token, [root.certificate])
    timestamp.check_signer(token, [tsa.certificate])

    assert abs(token.at - datetime.now(UTC)) < timedelta(minutes=5)
    assert (token.nonce, token.authority) == (NONCE, "CN=tsa")
    assert token.digest == hashlib.sha256(MESSAGE).digest()


def test_our_request_is_the_one_that_openssl_makes(folder: Path) -> None:
    (folder / "message").write_bytes(MESSAGE)
    theirs = time_authority.run("openssl", "ts", "-query", "-data", folder / "message", "-sha256", "-cert")
    parts = der.read(theirs).inside(der.SEQUENCE)
    nonce = next(one.integer for one in parts[1:] if one.tag == der.INTEGER)

    assert timestamp.request(MESSAGE, nonce) == theirs


def test_our_stored_answer_is_one_that_openssl_verifies(
    response: bytes, folder: Path, root: Party, stranger: Party
) -> None:
    assert openssl_accepts(response, folder, root)
    assert not openssl_accepts(response, folder, stranger)


@pytest.fixture(scope="module")
def stranger(folder: Path) -> Party:
    return party(folder, "stranger", ca=True)


def openssl_accepts(response: bytes, folder: Path, root: Party) -> bool:
    (folder / "message").write_bytes(MESSAGE)
    (folder / "token.tsr").write_bytes(response)
    argv = ["openssl", "ts", "-verify", "-in", folder / "token.tsr", "-data", folder / "message", "-CAfile", root.pem]
    return subprocess.run(argv, capture_output=True, check=False, timeout=30).returncode == 0


Signer = Callable[[Path, Party], Party]
DAY = timedelta(days=1)
BEFORE = time_authority.NOW - 90 * DAY

SIGNERS: dict[str, tuple[Signer, str]] = {
    "not for time stamping": (
        lambda folder, root: party(folder, "web", root, usage=(ExtendedKeyUsageOID.SERVER_AUTH,)), "stamping alone",
    ),
    "for any use": (lambda folder, root: party(folder, "any", root, usage=()), "time stamping alone"),
    "for one use more": (
        lambda folder, root: party(
            folder, "two", root, usage=(ExtendedKeyUsageOID.TIME_STAMPING, ExtendedKeyUsageOID.CODE_SIGNING)
        ), "time stamping alone",
    ),
    "for time stamping, not critical": (
        lambda folder, root: party(folder, "lax", root, critical=False), "time stamping alone",
    ),
    "expired": (lambda folder, root: party(folder, "old", root, end=BEFORE), "was not valid on"),
    "not yet valid": (
        lambda folder, root: party(folder, "new", root, start=time_authority.NOW + 90 * DAY), "was not valid on",
    ),
    "of an expired root": (
        lambda folder, root: party(folder, "orphan", party(folder, "old-root", ca=True, end=BEFORE)), "no authority",
    ),
    "self-made": (lambda folder, root: party(folder, "self"), "no authority that you pinned"),
    "below one that may not issue": (
        lambda folder, root: party(folder, "below", party(folder, "leaf", root)), "no authority that you pinned",
    ),
    "with a critical extension that nobody knows": (
        lambda folder, root: party(
            folder, "odd", root, more=(x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"\x05\x00"),)
        ), "critical extension",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("make", "reason"), SIGNERS.values(), ids=SIGNERS.keys())
def test_a_signer_that_no_time_can_be_taken_from_is_refused(
    folder: Path, root: Party, response: bytes, make: Signer, reason: str
) -> None:
    signer = make(folder, root)
    token = timestamp.read(time_authority.token_of(signer, time_authority.info_of(response)))
    timestamp.check_about(token, MESSAGE)
    with pytest.raises(ValueError, match=reason):
        timestamp.check_signer(token, [root.certificate])


def test_an_authority_with_an_rsa_key_serves_too_when_the_key_is_long_enough(folder: Path) -> None:
    """Most public authorities have one."""
    root = party(folder, "rsa-root", ca=True, bits=2048)
    for bits, good in ((2048, True), (1024, False)):
        leaf = party(folder, f"rsa-{bits}", root, bits=bits)
        response = timestamp.granted(time_authority.reply(leaf, timestamp.request(MESSAGE, NONCE)))
        if good:
            timestamp.check_signer(timestamp.read(response), [root.certificate])
            continue
        with pytest.raises(ValueError, match="too short"):
            timestamp.read(response)


def test_an_intermediate_in_the_token_leads_to_the_pinned_root(folder: Path, root: Party) -> None:
    middle = party(folder, "middle", root, ca=True)
    leaf = party(folder, "below-middle", middle)
    answer = time_authority.reply(leaf, timestamp.request(MESSAGE, NONCE), extra=middle.pem)
    token = timestamp.read(timestamp.granted(answer))

    timestamp.check_signer(token, [root.certificate])
    timestamp.check_signer(token, [middle.certificate])


@pytest.mark.parametrize("pinned", ["stranger", "nobody"])
def test_a_token_of_an_authority_that_was_not_pinned_is_refused(response: bytes, stranger: Party, pinned: str) -> None:
    with pytest.raises(ValueError, match="no authority that you pinned"):
        timestamp.check_signer(timestamp.read(response), [stranger.certificate] if pinned == "stranger" else [])


def test_a_token_about_other_bytes_is_refused(response: bytes) -> None:
    with pytest.raises(ValueError, match="other bytes"):
        timestamp.check_about(timestamp.read(response), MESSAGE + b".")


def test_no_flip_of_any_bit_of_a_token_is_accepted(response: bytes, root: Party) -> None:
    """Not one: openssl lets through those in parameters, names and wrappers that no signature covers."""
    accepted = []
    for at in range(len(response)):
        altered = bytearray(response)
        altered[at] ^= 1 << at % 8
        try:
            token = timestamp.read(bytes(altered))
            timestamp.check_about(token, MESSAGE)
            timestamp.check_signer(token, [root.certificate])
            accepted.append(at)
        except (ValueError, timestamp.Unsupported):
            continue

    assert accepted == []


@pytest.mark.slow
def test_what_openssl_refuses_we_refuse(response: bytes, folder: Path, root: Party) -> None:
    """Mutations of every kind: were one accepted, openssl would have to accept it too."""
    dice, accepted = random.Random(20261127), []
    for _ in range(6_000):
        at, size = dice.randrange(len(response)), dice.randint(0, 4)
        altered = response[:at] + dice.randbytes(size) + response[at + dice.choice((size, size, 1)) :]
        try:
            token = timestamp.read(altered)
            timestamp.check_about(token, MESSAGE)
            timestamp.check_signer(token, [root.certificate])
        except (ValueError, timestamp.Unsupported):
            continue
        if altered != response:
            accepted.append(altered)

    assert [one for one in accepted if not openssl_accepts(one, folder, root)] == []
    assert accepted == []


def test_the_authority_over_http_gives_a_token_that_is_kept(tsa: Party, root: Party) -> None:
    with time_authority.serving(lambda query: time_authority.reply(tsa, query)) as server:
        kept = authority.ask(Authority(server.url, (root.certificate,)), MESSAGE)

    assert timestamp.read(kept).digest == hashlib.sha256(MESSAGE).digest()


def test_an_answer_to_another_request_is_refused(tsa: Party, root: Party) -> None:
    """A changed nonce: an old answer about the same bytes, or one that somebody on the way has kept."""
    stale = time_authority.reply(tsa, timestamp.request(MESSAGE, NONCE))
    for answer, reason in (
        (stale, "the number that was drawn"),
        (time_authority.reply(tsa, timestamp.request(b"other", NONCE)), "other bytes"),
        (der.write(der.SEQUENCE, der.write(der.SEQUENCE, der.integer(2))), "PKIStatus 2"),
        (b"", "cut short"),
        (b"\x30\x00", "no answer"),
    ):
        with time_authority.serving(lambda query, answer=answer: answer) as server, pytest.raises(
            EvidenceError, match=reason
        ):  # fmt: skip
            authority.ask(Authority(server.url, (root.certificate,)), MESSAGE)


def test_an_authority_that_is_away_is_another_matter_than_one_that_lies(tsa: Party, root: Party) -> None:
    for options in ({"status": 503}, {"kind": "text/html"}):
        with time_authority.serving(lambda query: b"later", **options) as server, pytest.raises(DestinationError):
            authority.ask(Authority(server.url, (root.certificate,)), MESSAGE)
    with pytest.raises(DestinationError, match="refused"):
        authority.ask(Authority(server.url, (root.certificate,)), MESSAGE)  # nobody listens any more


def test_the_authority_is_an_address_and_a_certificate(root: Party) -> None:
    environ = {authority.URL: "http://tsa.test/", authority.CERTIFICATE: str(root.pem)}

    assert authority.configured(None, None, {}) is None
    assert authority.configured(None, None, environ) == Authority("http://tsa.test/", (root.certificate,))
    for url, certificate in (
        ("http://tsa.test/", None), (None, root.pem), ("file:///etc/passwd", root.pem), ("http://u:p@h/", root.pem),
        ("http://tsa.test/", root.key_file), ("http://tsa.test/", "/nowhere.pem"),
    ):  # fmt: skip
        with pytest.raises(UsageError):
            authority.configured(url, certificate, {})
