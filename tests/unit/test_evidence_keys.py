"""Is the signing key made once, kept private, and known by its fingerprint?"""

import copy
import hashlib
import os
import pickle
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, utils

from reversible.errors import UsageError
from reversible.evidence import keys


@pytest.fixture
def key(tmp_path: Path) -> keys.SigningKey:
    return keys.load_or_create(tmp_path / "own" / "key.pem")


def test_the_first_use_makes_a_private_key_that_the_next_use_finds(tmp_path: Path) -> None:
    path = tmp_path / "reversible" / "key.pem"
    before = os.umask(0)
    try:
        made = keys.load_or_create(path)
    finally:
        os.umask(before)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert keys.load_or_create(path).fingerprint == made.fingerprint
    assert sorted(one.name for one in path.parent.iterdir()) == ["key.pem"]


def test_processes_that_come_first_at_once_get_the_same_whole_key(tmp_path: Path) -> None:
    path = tmp_path / "new" / "key.pem"
    code = (
        "import sys; from pathlib import Path; from reversible.evidence import keys; sys.stdin.read(1); "
        "print(keys.load_or_create(Path(sys.argv[1])).fingerprint)"
    )
    together = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    for one in together:
        assert one.stdin
        one.stdin.write("g")
        one.stdin.flush()
    found = {one.communicate(timeout=60)[0].strip() for one in together}

    assert all(one.returncode == 0 for one in together)
    assert found == {keys.load_or_create(path).fingerprint}


@pytest.mark.parametrize(
    ("environ", "path"),
    [
        ({"REVERSIBLE_KEY": "/keys/mine.pem", "XDG_CONFIG_HOME": "/x", "HOME": "/h"}, "/keys/mine.pem"),
        ({"XDG_CONFIG_HOME": "/x", "HOME": "/h"}, "/x/reversible/key.pem"),
        ({"XDG_CONFIG_HOME": "x", "HOME": "/h"}, "/h/.config/reversible/key.pem"),
        ({"XDG_CONFIG_HOME": "", "HOME": "/h"}, "/h/.config/reversible/key.pem"),
    ],
)
def test_the_key_lies_where_the_user_said_or_in_the_configuration_directory(environ: dict[str, str], path: str) -> None:
    assert keys.key_path(environ) == Path(path)


def test_without_a_home_the_variable_to_set_is_named() -> None:
    with pytest.raises(UsageError) as refused:
        keys.key_path({})
    assert "REVERSIBLE_KEY" in refused.value.hint


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o666, 0o620])
def test_a_key_that_others_can_read_is_refused_with_the_command_that_mends_it(tmp_path: Path, mode: int) -> None:
    path = keys.load_or_create(tmp_path / "own" / "key.pem").path
    path.chmod(mode)

    with pytest.raises(UsageError) as refused:
        keys.load_or_create(path)
    assert refused.value.hint == f"chmod 600 {path}"


def test_a_directory_that_others_can_write_to_is_refused(tmp_path: Path) -> None:
    path = keys.load_or_create(tmp_path / "own" / "key.pem").path
    path.parent.chmod(0o777)

    with pytest.raises(UsageError) as refused:
        keys.load_or_create(path)
    assert refused.value.hint == f"chmod 700 {path.parent}"


def _encrypted() -> bytes:
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
    )


def _plain(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


@pytest.mark.parametrize(
    "content",
    [
        b"", b"garbage", _encrypted(), _plain(ed25519.Ed25519PrivateKey.generate()),
        _plain(ec.generate_private_key(ec.SECP384R1())),
    ],
    ids=["empty", "garbage", "encrypted", "another algorithm", "another curve"],
)  # fmt: skip
def test_a_file_that_is_not_our_kind_of_key_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(content)
    path.chmod(0o600)

    with pytest.raises(UsageError, match=str(path)):
        keys.load_or_create(path)


def test_a_place_where_no_key_can_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"file/key\.pem"):
        keys.load_or_create(tmp_path / "file" / "key.pem")
    with pytest.raises(UsageError):
        keys.load_or_create(tmp_path)


def test_the_fingerprint_is_the_one_that_openssl_and_sha256sum_give(key: keys.SigningKey, tmp_path: Path) -> None:
    (tmp_path / "pub.pem").write_bytes(key.public.pem)
    der = subprocess.run(
        ["openssl", "pkey", "-pubin", "-in", tmp_path / "pub.pem", "-outform", "DER"], capture_output=True, check=True
    ).stdout

    assert key.fingerprint == hashlib.sha256(der).hexdigest()
    assert keys.hint_fingerprint(key.public.hint) == key.fingerprint


def test_the_same_message_gets_the_same_signature_with_low_s(key: keys.SigningKey) -> None:
    half = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551 // 2
    for number in range(20):
        made = key.sign(b"%d" % number)
        assert made == key.sign(b"%d" % number)
        assert utils.decode_dss_signature(made)[1] <= half
        assert key.public.verifies(made, b"%d" % number)
        assert not key.public.verifies(made, b"another")


def test_the_other_form_of_a_valid_signature_is_refused(key: keys.SigningKey) -> None:
    r, s = utils.decode_dss_signature(key.sign(b"message"))
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    high = utils.encode_dss_signature(r, order - s)

    key.public._key.verify(high, b"message", ec.ECDSA(hashes.SHA256()))  # mathematically it holds
    assert not key.public.verifies(high, b"message")
    assert not key.public.verifies(b"", b"message")
    assert not key.public.verifies(key.sign(b"message") + b"\0", b"message")


def test_a_key_shows_itself_nowhere(key: keys.SigningKey) -> None:
    number = str(key._key.private_numbers().private_value)
    assert number not in f"{key!r} {key} {vars(key.public)}"
    for leave in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            leave(key)


def test_a_pin_is_a_fingerprint_as_people_write_them_or_a_public_key_file(key: keys.SigningKey, tmp_path: Path) -> None:
    file = tmp_path / "signer.pem"
    file.write_bytes(key.public.pem)
    plain = key.fingerprint

    for given in (plain, plain.upper(), keys.in_groups(plain), f"SHA256:{plain}", file, str(file)):
        assert keys.pinned(given).fingerprint == plain


@pytest.mark.parametrize("given", ["", "abc", "ab" * 31, "ab" * 33, "no/such/file.pem"])
def test_a_pin_that_is_neither_is_refused(given: str) -> None:
    with pytest.raises(UsageError):
        keys.pinned(given)


def test_a_private_key_is_not_taken_for_a_public_one(key: keys.SigningKey) -> None:
    with pytest.raises(UsageError, match="not a public key"):
        keys.pinned(key.path)
