"""A whole dry run to a second host with a real sshd, where the vendor has no route, and what must not work there."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from bundles import sample_bundle
from kits import shared_kit
from reversible.bundle.reader import Bundle
from reversible.destinations import ssh
from reversible.destinations.identity import Questions
from reversible.destinations.ssh import SshDestination
from reversible.destinations.ssh_line import Line
from reversible.errors import BundleError, DestinationError
from reversible.evidence.keys import SigningKey
from reversible.kit.manifest import Kit
from reversible_samples.postgres_server import PostgresServer
from reversible_samples.s3_servers import SeaweedFS
from ssh_host import SshHost, ssh_host, write_known

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SCALEWAY = {"/conf?format=json": json.dumps({"id": "1", "zone": "fr-par-1", "organization": "2", "project": "3"})}
VENDOR = "203.0.113.7:5432"  # RFC 5737: nobody's


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshHost]:
    with ssh_host(tmp_path_factory.mktemp("eu")) as running:
        yield running


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Kit, SigningKey]:
    return shared_kit(tmp_path_factory)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return sample_bundle(tmp_path_factory.mktemp("shop") / "shop")


@pytest.fixture
def destination(host: SshHost, built: tuple[Kit, SigningKey]) -> SshDestination:
    """With the kit kept there, so that it is installed once for all of these tests."""
    kit, key = built
    return SshDestination(
        host="eu-host", config=host.config, kit=kit, signer=key.fingerprint, folder=str(host.home / "kept"), keep=True,
        questions=Questions(provider="scaleway", leaving="Amazon Web Services"),
    )  # fmt: skip


# --- a line that breaks -----------------------------------------------------------------------------------------


def test_a_line_cut_half_way_goes_on_where_it_was(
    destination: SshDestination, bundle: Bundle, host: SshHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    destination.rerun(bundle.root, sources=[VENDOR], into=tmp_path / "first")  # the kit is there from now on
    large = sample_bundle(tmp_path / "large", noise_rows=1000)
    size = next(large.root.glob("data/table/*noise*/part-*.parquet")).stat().st_size
    assert size > 3_000_000
    host.cut(size - 200_000, 100_000)
    monkeypatch.setattr(ssh, "ATTEMPTS_WAIT_S", (0.1, 0.1))
    seen: list[Any] = []
    over_it = replace(destination, host="cut-line", recheck=False)

    rerun = over_it.rerun(
        large.root, sources=[VENDOR], into=tmp_path / "second", on_event=lambda one: seen.append(dict(one))
    )

    broke = [one for one in seen if one["event"] == "line"]
    parts = [one["from"] for one in seen if one["event"] == "sent" and one["asset"].endswith(".parquet")]
    assert len(broke) == 2
    assert all("the line to cut-line broke" in one["note"] for one in broke)
    assert parts.count(0) >= 1
    assert any(parts), "the part was sent anew, not from where it was cut: sshd keeps what it had handed on"
    assert rerun.level == "N3"
    assert {line["value"] for line in rerun.results if line["metric"] == "data.rows_missing"} == {0}


def test_a_line_that_breaks_each_time_ends_with_the_command_that_goes_on(
    destination: SshDestination, bundle: Bundle, host: SshHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssh, "ATTEMPTS_WAIT_S", (0.1,))
    host.cut(15_000, 15_000)  # before all of our far end is there
    with pytest.raises(DestinationError, match=r"^the line to cut-line broke") as broken:
        replace(destination, host="cut-line").rerun(bundle.root, sources=[], into=tmp_path / "into")

    assert "type the same command again" in broken.value.hint


def test_a_line_that_falls_silent_ends_what_runs_there(host: SshHost) -> None:
    """No reset, no end: the far end has only the clock to tell that nobody is there any more."""
    folder = host.home / "silent"
    with Line("eu-host", config=host.config) as line:
        line.ask("room", folder=str(folder), silence_s=3)
        agent = int(next(iter(line.run(["sh", "-c", "echo $PPID"]))))
        line._over.set()  # no sign of life from here on

        deadline = time.monotonic() + 30
        while Path(f"/proc/{agent}").exists():
            assert time.monotonic() < deadline, "it still waits"
            time.sleep(0.5)


# --- a host that gives no namespaces ------------------------------------------------------------------------------


def test_where_namespaces_are_forbidden_the_weaker_fence_is_named(
    destination: SshDestination, bundle: Bundle, tmp_path: Path
) -> None:
    there = replace(destination, host="no-namespaces", recheck=False)

    isolation = there.rerun(bundle.root, sources=[VENDOR], into=tmp_path).isolation

    assert isolation["fence"] == "seccomp"
    assert {"namespace", "bubblewrap", "unshare"} == set(isolation["stronger_fences_refused"])
    assert "names asked for are not seen: only the name server's address is" in isolation["limits"]
    refused = [one for one in isolation["canaries"] if one["target"] == VENDOR]
    assert {one["outcome"] for one in refused} == {"refused"}


# --- who answers, and may we? -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("known", "said", "hint"),
    [
        ("another_host_key", "its host key is not the one in known_hosts", "ssh-keygen -F"),
        (None, "its host key is not in known_hosts", "compare the fingerprint"),
    ],
)
def test_a_host_key_that_is_not_the_known_one_is_refused(
    host: SshHost, known: str | None, said: str, hint: str
) -> None:
    write_known(host, known)
    try:
        with pytest.raises(DestinationError, match=said) as refused, Line("eu-host", config=host.config):
            pass
    finally:
        write_known(host, "host_key")

    assert hint in refused.value.hint


def test_a_key_that_the_host_does_not_know_is_refused(host: SshHost, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text(host.config.read_text().replace(f"{host.root}/user_key", f"{host.root}/another_user_key"))

    with (
        pytest.raises(DestinationError, match="it refuses this user or key") as refused,
        Line("eu-host", config=config),
    ):
        pass
    assert refused.value.hint.startswith("ssh -v -F")


def test_a_host_that_does_not_exist_or_does_not_answer_says_which(host: SshHost, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text(f"Host nowhere\n  HostName nowhere.invalid\nHost closed\n  HostName {host.address}\n  Port 2\n")

    with pytest.raises(DestinationError, match="its name is unknown here"), Line("nowhere", config=config):
        pass
    with pytest.raises(DestinationError, match="connection refused"), Line("closed", config=config):
        pass


def test_a_host_without_python_says_what_to_install(host: SshHost) -> None:
    absent = Line("eu-host", config=host.config, pythons=("python4.2",))

    with pytest.raises(DestinationError, match=r"^eu-host: it has no python3$") as refused, absent:
        pass
    assert refused.value.hint.endswith("sudo apt-get install -y python3")


def test_a_disk_that_is_too_small_or_runs_full_says_so(
    host: SshHost, destination: SshDestination, bundle: Bundle, tmp_path: Path
) -> None:
    small = replace(destination, folder=str(host.root / "full/r"))
    with pytest.raises(DestinationError, match=r"has 0 MB free, \d+ MB are needed") as refused:
        small.rerun(bundle.root, sources=[], into=tmp_path)
    assert "df -h" in refused.value.hint

    with Line("eu-host", config=host.config) as line:
        line.ask("room", folder=str(host.root / "full/s"))
        line.send("put", iter([bytes(1 << 19)] * 2), path="big", offset=0, size=1 << 20, sha256="0" * 64)
        with pytest.raises(DestinationError, match="the disk is full"):
            line.answer()
        assert line.ask("ping", nonce="still here") == {"nonce": "still here"}  # an error ends the request alone


def test_a_path_that_leads_out_of_the_folder_is_refused_there(host: SshHost) -> None:
    with Line("eu-host", config=host.config) as line:
        line.ask("room", folder=str(host.home / "paths"))
        for path in ("../escape", "a/../../escape", "/etc/passwd", "", "a//b"):
            with pytest.raises(DestinationError, match="is no path of ours"):
                line.get(path, limit=10)


# --- a kit, or a host, that is not what it should be ------------------------------------------------------------


def test_a_kit_with_one_changed_byte_is_refused_before_anything_is_sent(
    destination: SshDestination, bundle: Bundle, host: SshHost, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(destination.kit.root, tmp_path / "kit"))
    wheel = next(path for path in copy.glob("wheels/click*"))
    content = bytearray(wheel.read_bytes())
    content[1000] ^= 1
    wheel.write_bytes(content)
    altered = replace(destination, kit=Kit.read(copy), folder=str(host.home / "altered"))

    with pytest.raises(BundleError, match=r"wheels/click\S+ was altered"):
        altered.rerun(bundle.root, sources=[], into=tmp_path)
    assert not (host.home / "altered").exists()


def test_a_kit_of_another_signer_or_with_other_code_is_refused(
    destination: SshDestination, bundle: Bundle, tmp_path: Path
) -> None:
    with pytest.raises(BundleError, match="not by 0000"):
        replace(destination, signer="0" * 64).rerun(bundle.root, sources=[], into=tmp_path)
    with pytest.raises(DestinationError, match="with other code than"):
        ssh.refuse_other_code(replace(destination.kit, files={}))


def test_a_host_that_lies_about_the_data_is_not_believed(
    destination: SshDestination, bundle: Bundle, host: SshHost, tmp_path: Path
) -> None:
    """Its root changes a verifier of the installed kit, so that a bundle with missing rows looks whole."""
    damaged = rows_dropped(bundle, tmp_path)
    destination.rerun(bundle.root, sources=[VENDOR], into=tmp_path / "honest")
    verifier = next((host.home / "kept/kits").glob("*-venv/lib/python3*/site-packages/reversible_verifiers/rows.py"))
    honest = verifier.read_text(encoding="utf-8")
    try:
        verifier.write_text(LYING, encoding="utf-8")
        shutil.rmtree(verifier.parent / "__pycache__", ignore_errors=True)
        checked = destination.rerun(damaged.root, sources=[VENDOR], into=tmp_path / "checked")
        believed = replace(destination, recheck=False).rerun(damaged.root, sources=[VENDOR], into=tmp_path / "believed")
    finally:
        verifier.write_text(honest, encoding="utf-8")

    found = {line["metric"]: line for line in checked.results if line["asset"] == "shop:table:orders"}
    assert found["data.rows_missing"]["status"] == "error"
    assert found["data.rows_missing"]["error"].startswith("the host says 0 on 100 % of the scope, this machine says 1")
    assert found["data.rows_extra"]["value"] == 0  # here both say the same
    taken = {line["metric"]: line["value"] for line in believed.results if line["asset"] == "shop:table:orders"}
    assert (
        taken["data.rows_missing"] == 0
    )  # without the second look the lie stands, and the evidence says whose word it is
    assert "the findings are the host's word alone: this machine measured none of them" in believed.isolation["limits"]


LYING = """
from reversible.assets import Kind
from reversible.findings import Finding

class Rows:
    metrics = frozenset({"data.rows_missing", "data.rows_extra"})
    kinds = frozenset({Kind.TABLE})

    def verify(self, asset, bundle):
        yield Finding("data.rows_missing", asset.id, 0, unit="count")
        yield Finding("data.rows_extra", asset.id, 0, unit="count")
"""


def rows_dropped(bundle: Bundle, tmp_path: Path) -> Bundle:
    """The bundle with the last row gone, and its manifests made to fit."""
    import pyarrow.parquet as pq

    from reversible.bundle import bag

    root = Path(shutil.copytree(bundle.root, tmp_path / "damaged"))
    part = next(root.glob("data/table/*/part-*.parquet"))
    table = pq.read_table(part)
    pq.write_table(table.slice(0, table.num_rows - 1), part)
    listed = bag.read_manifest(root / bag.MANIFEST)
    fresh = {path: bag.sha256_file(root / path) for path in listed}
    info = dict(line.split(": ", 1) for line in (root / "bag-info.txt").read_text().splitlines())
    bag.write_tags(root, fresh, info)
    found = Bundle.open(root)
    found.check()
    return found


def test_a_host_that_answers_for_another_bundle_is_refused(
    destination: SshDestination, bundle: Bundle, host: SshHost, tmp_path: Path
) -> None:
    """Between the re-run and the question for every byte, its root exchanges a file."""

    def exchange(event: Any) -> None:
        if event["event"] == "possession":
            part = next((host.home / "kept/bundles").glob(f"{bundle.digest}/data/table/*/part-*.parquet"))
            part.write_bytes(part.read_bytes() + b"x")

    with pytest.raises(DestinationError, match="does not hold the bundle that was sent"):
        destination.rerun(bundle.root, sources=[VENDOR], into=tmp_path, on_event=exchange)


def test_metadata_made_up_by_root_proves_nothing(
    destination: SshDestination, bundle: Bundle, host: SshHost, tmp_path: Path
) -> None:
    host.metadata(SCALEWAY)
    host.firmware({"sys_vendor": "Scaleway"})
    forged = destination.rerun(bundle.root, sources=[VENDOR], into=tmp_path / "forged")
    host.firmware({"sys_vendor": "3DS Outscale", "product_name": "3DS Outscale VM"})
    torn = destination.rerun(bundle.root, sources=[VENDOR], into=tmp_path / "torn")

    assert forged.level == torn.level == "N3"
    assert [one["outcome"] for one in forged.identity if one["forgeable_by_root"]] == ["agrees", "agrees"]
    assert values(forged)["dest.authenticated_signals"] == 0
    assert values(torn)["dest.identity_signals_conflict"] == 1


def values(rerun: Any) -> dict[str, Any]:
    return {one.metric: one.value for one in rerun.run_findings}


# --- the whole line ---------------------------------------------------------------------------------------------

PLAN = """
version = 1
[contract]
title = "Hosting"
customer = "Comptoir"
provider = "Amazon Web Services"
languages = ["en", "fr"]
[clauses]
profiles = ["baseline"]
[source.shop]
kind = "postgres"
url = "{url}"
password = "${{SHOP_PASSWORD}}"
pg_dump = "{pg_dump}"
[destination]
kind = "ssh"
host = "eu-host"
ssh_config = "ssh_config"
kit = "kit"
provider = "scaleway"
anchor = "Paris"
folder = "{folder}"
[destination.storage]
url = "s3://sortie/essai"
region = "eu-local"
endpoint_url = "{endpoint}"
access_key = "${{EU_ACCESS}}"
secret_key = "${{EU_SECRET}}"
[exit]
triggers = ["end of contract"]
scenarios = ["planned"]
roles = {{ runs = "operations" }}
alternatives = ["Scaleway"]
steps = ["export", "re-run"]
success_criteria = ["nothing is missing"]
duration_hours = 1.0
next_rehearsal = 2027-06-01
"""


def test_a_dry_run_to_a_second_host_names_each_signal_and_refuses_loc_01(
    host: SshHost, built: tuple[Kit, SigningKey], tmp_path: Path
) -> None:
    kit, key = built
    forget(host)
    host.metadata(SCALEWAY)  # root's own inventions: metadata and firmware both name the provider of the plan
    host.firmware({"sys_vendor": "Scaleway", "product_name": "SCW-DEV1-S"})
    (tmp_path / "kit").symlink_to(kit.root)
    (tmp_path / "ssh_config").symlink_to(host.config)
    with PostgresServer(tmp_path / "vendor") as vendor, SeaweedFS(tmp_path / "storage") as storage:
        fill(vendor)
        storage.client().create_bucket(Bucket="sortie")
        with carried(host.near, int(storage.endpoint_url.rpartition(":")[2])) as port:
            plan = PLAN.format(
                url=vendor.url_of("postgres"), pg_dump=vendor.pg_dump, folder=host.home / "kept",
                endpoint=f"http://{host.near}:{port}",
            )  # fmt: skip
            (tmp_path / "exit-plan.toml").write_text(plan, encoding="utf-8")
            environment = {
                **os.environ, "SHOP_PASSWORD": vendor.password, "EU_ACCESS": storage.access_key,
                "EU_SECRET": storage.secret_key, "REVERSIBLE_KEY": str(key.path),
            }  # fmt: skip
            check = reversible("check", tmp_path / "exit-plan.toml", environment=environment)
            command = ["dry-run", str(tmp_path / "exit-plan.toml"), "--into", str(tmp_path / "run"), "--lang", "en"]
            done = reversible(*command, environment=environment)

    assert re.search(r"ok +destination +kit \S+: \d+ packages for Python 3\.\d+ on", check.stdout), check.stdout
    assert re.search(r"ok +destination +host eu-host: Python 3\.\d+ on .*MB free", check.stdout), check.stdout
    assert done.returncode == 0, done.stdout + done.stderr
    data = tmp_path / "run/evidence/data"
    run = json.loads((data / "run.json").read_bytes())
    assert run["level"] == "N3"
    assert run["simulated"] is True  # the same kernel as this machine's
    assert run["destination"]["host"] == "eu-host"
    assert run["destination"]["via"] == "storage"
    assert run["isolation"]["host"] == "eu-host"
    assert run["isolation"]["fence"] in ("namespace", "bubblewrap")
    # outside the fence, too, the vendor does not exist there: its address is another machine's loopback
    assert [one["reached"] for one in run["isolation"]["outside"]] == [False]
    signals = {one["signal"]: one for one in run["identity"]}
    assert set(signals) == {"imds_content", "dmi_strings", "public_ip_asn", "storage_echo", "rtt_bound"}
    assert [signals[name]["outcome"] for name in ("imds_content", "dmi_strings")] == ["agrees", "agrees"]
    assert "it was read back from here, without TLS" in signals["storage_echo"]["says"]
    assert not any(one["authenticated"] for one in run["identity"])
    raw = {path.name for path in (data / "raw").iterdir()}
    assert {"identity-metadata.json", "identity-host.json", "identity-storage-echo.json"} <= raw
    measured = {line["metric"]: line["value"] for line in lines(data) if line["asset"] is None}
    assert measured["dest.identity_signals_agree"] == 2
    assert measured["dest.identity_signals_conflict"] == 0
    assert measured["dest.authenticated_signals"] == 0
    assert measured["dest.same_group_as_source"] is False
    assert measured["residual.route_to_source"] is False
    assert 0 < measured["dest.rtt_km_upper_bound"] < 1500
    verdicts = {one["id"]: one for one in json.loads((data / "verdicts.json").read_bytes())["clauses"]}
    assert verdicts["LOC-01"]["verdict"] == "PARTIAL"
    reasons = json.dumps(verdicts["LOC-01"]["reasons"])
    assert "dest.authenticated_signals" in reasons
    assert verdicts["LOC-02"]["verdict"] == "PARTIAL"
    assert verdicts["DAT-04"]["verdict"] != "FAILED"
    for lang, words in {"en": "instance metadata", "fr": "métadonnées"}.items():
        report = (data / f"report/report.{lang}.html").read_text(encoding="utf-8")
        assert words in report
        assert "scaleway" in report
    checked = reversible("evidence", "verify", tmp_path / "run/evidence", "--key", key.fingerprint)
    assert checked.returncode == 0, checked.stdout
    assert not (host.home / "kept").exists()  # nothing is left behind


def forget(host: SshHost) -> None:
    """The kit that the tests above left installed there, as if a run that keeps nothing had been cut after it."""
    for name in ("bundles", "runs"):
        shutil.rmtree(host.home / "kept" / name, ignore_errors=True)
    for marker in (host.home / "kept").glob("kits/*.kept"):
        marker.unlink()


def fill(vendor: PostgresServer) -> None:
    with psycopg.connect(vendor.url, autocommit=True) as connection:
        connection.execute("CREATE TABLE orders (id int PRIMARY KEY, customer text NOT NULL, amount numeric(10, 2))")
        connection.execute(
            "INSERT INTO orders SELECT n, 'customer ' || n % 97, n / 8.0 FROM generate_series(1, 5000) n"
        )
        connection.execute("ANALYZE")


@contextmanager
def carried(address: str, port: int) -> Iterator[int]:
    """The storage on this machine's loopback, also at its address on the cable: bytes there and back."""
    with socket.create_server((address, 0), backlog=64) as listener:

        def serve() -> None:
            while True:
                try:
                    far, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=carry, args=(far, port), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def carry(far: socket.socket, port: int) -> None:
    with far, socket.create_connection(("127.0.0.1", port)) as near:
        back = threading.Thread(target=pump, args=(near, far), daemon=True)
        back.start()
        pump(far, near)
        back.join()


def pump(one: socket.socket, other: socket.socket) -> None:
    with suppress(OSError):  # either end may go away at any time
        while block := one.recv(1 << 16):
            other.sendall(block)
    with suppress(OSError):
        other.shutdown(socket.SHUT_WR)


def lines(data: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (data / "results.jsonl").read_bytes().splitlines()]


def reversible(*argv: object, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "reversible", *map(str, argv)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=500)
