"""The whole line, as a user runs it: against a live vendor, interrupted, sabotaged, with rights missing."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import json_schemas
from reversible.assets import Asset
from reversible_samples.demo import SECRETS, Vendor, company

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

REVERSIBLE = [sys.executable, "-m", "reversible"]


def reversible(*argv: object, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [*REVERSIBLE, *map(str, argv)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=600)


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Vendor]]:
    """A live vendor, a live European storage, and the path of the exit plan that leads from one to the other."""
    root = tmp_path_factory.mktemp("company")
    os.environ["REVERSIBLE_KEY"] = str(root / "keys" / "key.pem")
    with company(root, lang="en") as vendor:
        yield root / "exit-plan.toml", vendor


@pytest.fixture
def vendor(live: tuple[Path, Vendor]) -> Path:
    return live[0]


def plan_with(plan: Path, tmp_path: Path, change: str, into: str, *, prefix: str, models: bool = True) -> Path:
    """A copy of the plan with one text replaced and a storage prefix of its own; without models it runs faster."""
    text = plan.read_text(encoding="utf-8")
    assert change in text
    if not models:
        start, end = text.index("[source.models]"), text.index("[destination]")
        text = text[:start] + text[end:]
    copy = tmp_path / "exit-plan.toml"
    copy.write_text(text.replace(change, into).replace("s3://sortie/essai", f"s3://sortie/{prefix}"), encoding="utf-8")
    return copy


@pytest.mark.parametrize("first", [signal.SIGKILL, signal.SIGINT])
def test_a_run_interrupted_in_every_phase_is_finished_by_the_same_command(
    vendor: Path, tmp_path: Path, first: signal.Signals
) -> None:
    plan = plan_with(vendor, tmp_path, "DEMO-2026", "KILL-2026", prefix=f"interrupted-{first.name}".lower())
    into = tmp_path / "run"
    command = ["dry-run", str(plan), "--into", str(into), "--lang", "en"]
    signals = [first, signal.SIGINT if first is signal.SIGKILL else signal.SIGKILL] * 3
    kept: dict[Path, int] = {}
    for phase, how in zip(["inventory", "export", "ship", "rerun", "evidence"], signals, strict=False):
        process = subprocess.Popen(
            [*REVERSIBLE, *command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            start_new_session=True,
        )  # fmt: skip
        wait_for(into, phase, process)
        os.killpg(process.pid, how)  # a terminal's Ctrl-C reaches every process of the group
        said = process.communicate(timeout=60)[1]

        assert process.returncode == (-signal.SIGKILL if how is signal.SIGKILL else 130), said
        assert not (into / "evidence").exists()
        assert "Traceback" not in said
        if how is signal.SIGINT:
            assert "try: reversible dry-run" in said
        if phase == "export":
            kept = finished_parts(into)
            assert kept

    done = reversible(*command)

    assert done.returncode == 0, done.stdout + done.stderr
    for path, written in kept.items():
        assert path.stat().st_mtime_ns == written, f"{path} was written again"
    assert half_written(into) == []
    assert files_with_secrets(into) == []


def half_written(root: Path) -> list[Path]:
    """What an interrupted step leaves, and a finished run must not hold."""
    return [path for path in root.rglob("*") if path.suffix in (".tmp", ".partial") or path.name.startswith("draft-")]


def files_with_secrets(root: Path) -> list[Path]:
    """The files that hold the value of a secret the plan refers to."""
    values = [os.environ[name].encode() for name in SECRETS]
    assert all(len(value) > 8 for value in values)
    files = [path for path in root.rglob("*") if path.is_file()]
    return [path for path in files if any(value in path.read_bytes() for value in values)]


def finished_parts(into: Path) -> dict[Path, int]:
    """Where the parts of the assets that the interrupted export had closed must stand in the end, and when written."""
    partial = into / "bundle.partial"
    entries = [json.loads(line) for line in (partial / "journal.jsonl").read_text().splitlines(keepends=True)[:-1]]
    closed = [Asset.from_json(entry["done"]["asset"]).folder for entry in entries if "done" in entry]
    parts = [path for folder in closed for path in (partial / folder).iterdir()]
    return {into / "bundle" / path.relative_to(partial): path.stat().st_mtime_ns for path in parts}


def wait_for(into: Path, phase: str, process: subprocess.Popen[str]) -> None:
    """Until the run is in the middle of the phase."""
    signs = {
        "inventory": lambda: (into / "run/journal.jsonl").exists(),
        "export": lambda: len(list((into / "bundle.partial").rglob("witness.json"))) > 3,
        "ship": lambda: (into / "bundle").exists(),
        "rerun": lambda: "shipped" in (into / "run/journal.jsonl").read_text() and (into / "destination").exists(),
        "evidence": lambda: any((into / "run").glob("draft-*")),
    }
    deadline = time.monotonic() + 300  # the models alone take a minute on two busy cores
    while not signs[phase]():
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        assert time.monotonic() < deadline, f"never reached {phase}"
        time.sleep(0.05)


def test_check_and_inventory_reach_everything(vendor: Path) -> None:
    check = reversible("check", vendor, "--json")
    inventory = reversible("inventory", vendor, "--json")

    assert check.returncode == 0, check.stdout + check.stderr
    assert json_schemas.parsed("check", check.stdout)["storage"]["kind"] == "s3"
    assets = {asset["id"]: asset for asset in json_schemas.parsed("inventory", inventory.stdout)["assets"]}
    assert assets["boutique:table:boutique.ligne"]["rows"] is not None
    assert sum(name.startswith("models:model:") for name in assets) == 3


def test_a_table_that_may_not_be_read_is_named_and_the_rest_goes_on(live: tuple[Path, Vendor], tmp_path: Path) -> None:
    import psycopg

    plan = plan_with(live[0], tmp_path, "DEMO-2026", "DENIED-2026", prefix="denied", models=False)
    admin = live[1].admin_url
    with psycopg.connect(admin, autocommit=True) as owner:
        owner.execute("REVOKE SELECT ON boutique.avis FROM exit_reader")
    try:
        done = reversible("dry-run", plan, "--into", tmp_path / "run", "--lang", "en")
    finally:
        with psycopg.connect(admin, autocommit=True) as owner:
            owner.execute("GRANT SELECT ON boutique.avis TO exit_reader")

    verdicts = json.loads((tmp_path / "run/evidence/data/verdicts.json").read_bytes())
    by_clause = {row["id"]: row["verdict"] for row in verdicts["clauses"]}
    assert done.returncode == 1
    assert "boutique.avis" in done.stdout + done.stderr
    assert "GRANT SELECT" in done.stderr
    assert by_clause["DAT-03"] == "FAILED"
    assert by_clause["DAT-04"] != "PROVEN"


@pytest.mark.skipif(shutil.which("unshare") is None, reason="a small disk is mounted in a namespace of its own")
@pytest.mark.parametrize("kibibytes", [8, 200, 600, 1_000, 1_400])
def test_a_full_disk_is_one_line_and_the_same_command_goes_on_where_there_is_room(
    vendor: Path, tmp_path: Path, kibibytes: int
) -> None:
    """The disk fills up at the seal, the export, the way back from the storage, the evidence and the reports."""
    text = vendor.read_text(encoding="utf-8")
    start, end = text.index("[source.documents]"), text.index("[destination]")
    small = tmp_path / "exit-plan.toml"
    one = 'include = ["boutique.avis"]\npg_dump = '
    small.write_text(
        (text[:start] + text[end:]).replace("pg_dump = ", one).replace("sortie/essai", f"sortie/full-{kibibytes}"),
        encoding="utf-8",
    )
    command = shlex.join([*REVERSIBLE, "dry-run", str(small), "--into", "run", "--lang", "en"])
    script = f"""
        mkdir {tmp_path}/disk && mount -t tmpfs -o size={kibibytes}k tmpfs {tmp_path}/disk || exit 99
        cd {tmp_path}/disk
        {command} > {tmp_path}/first.out 2> {tmp_path}/first.err; echo $? > {tmp_path}/first
        test -e run/evidence; echo $? > {tmp_path}/sealed
        mount -o remount,size=40000k {tmp_path}/disk
        {command} > {tmp_path}/again.out 2> {tmp_path}/again.err; echo $? > {tmp_path}/again
        find run -name '*.tmp' -o -name '*.partial' -o -name 'draft-*' > {tmp_path}/left
    """
    as_root = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    done = subprocess.run(["unshare", *as_root, "--mount", "sh", "-c", script], check=False, timeout=600)
    if done.returncode == 99:
        pytest.skip("no disk can be mounted here")

    said = [line for line in (tmp_path / "first.err").read_text().splitlines() if not re.search(r"\d s$", line)]
    assert (tmp_path / "first").read_text().strip() == "6", said
    assert len(said) == 2, said
    assert "no space left" in said[0]
    assert said[1].startswith("  try: ")
    assert (tmp_path / "sealed").read_text().strip() == "1"
    assert (tmp_path / "again").read_text().strip() == "1", (tmp_path / "again.err").read_text()  # tables unlisted
    assert (tmp_path / "left").read_text() == ""


def test_a_plan_that_leaves_everything_out_is_inconclusive_and_proves_no_content(vendor: Path, tmp_path: Path) -> None:
    nothing = 'exclude = [{ pattern = "*", reason = "none of it" }]\npg_dump = '
    text = vendor.read_text(encoding="utf-8")
    plan = tmp_path / "exit-plan.toml"
    start, end = text.index("[source.documents]"), text.index("[destination]")
    plan.write_text(
        (text[:start] + text[end:]).replace("pg_dump = ", nothing).replace("sortie/essai", "sortie/nothing"),
        encoding="utf-8",
    )
    done = reversible("dry-run", plan, "--into", tmp_path / "run", "--json")
    verdicts = json_schemas.parsed("dry-run", done.stdout)

    assert done.stdout.encode() == (tmp_path / "run/evidence/data/verdicts.json").read_bytes()
    assert done.returncode == 3, done.stderr
    assert verdicts["level"] == "N2"
    proven = {one["id"] for one in verdicts["clauses"] if one["verdict"] == "PROVEN"}
    assert proven <= {"GOV-02", "GOV-06"}  # sealed before, and re-checkable: true of an empty run too


def test_a_plan_runs_every_night_into_the_same_storage(vendor: Path, tmp_path: Path) -> None:
    for night in ("monday", "tuesday"):
        done = reversible("dry-run", vendor, "--into", tmp_path / night, "--lang", "en")

        assert done.returncode == 0, done.stdout + done.stderr


def test_a_plan_may_be_mended_as_long_as_nothing_has_left(vendor: Path, tmp_path: Path) -> None:
    wrong = plan_with(vendor, tmp_path, "exit_reader@", "nobody@", prefix="mended", models=False)
    refused = reversible("dry-run", wrong, "--into", tmp_path / "run", "--lang", "en")
    mended = plan_with(vendor, tmp_path, "DEMO-2026", "MENDED-2026", prefix="mended", models=False)
    exported = reversible("export", mended, "--into", tmp_path / "run", "--lang", "en")
    changed = plan_with(vendor, tmp_path, "DEMO-2026", "CHANGED-2026", prefix="mended", models=False)
    late = reversible("dry-run", changed, "--into", tmp_path / "run", "--lang", "en")

    assert refused.returncode == 4, refused.stderr
    assert exported.returncode == 0, exported.stderr
    assert late.returncode == 2
    assert "interrupted run of another plan" in late.stderr


def test_an_unreachable_source_and_a_wrong_password_are_one_line(vendor: Path, tmp_path: Path) -> None:
    nobody = plan_with(vendor, tmp_path, "@127.0.0.1:", "@127.0.0.1:1", prefix="nobody")
    unreachable = reversible("dry-run", nobody, "--into", tmp_path / "a", "--lang", "en")
    wrong = reversible(
        "dry-run", vendor, "--into", tmp_path / "b", "--lang", "en",
        environment={**os.environ, "SHOP_PASSWORD": "hunter2-not-it"},
    )  # fmt: skip

    for done in (unreachable, wrong):
        assert done.returncode in (2, 4), done.stderr
        assert "Traceback" not in done.stderr
        assert "hunter2" not in done.stderr
        assert not (tmp_path / "a/evidence").exists()
        assert not (tmp_path / "b/evidence").exists()


def shown_in_readme(command: str, output: str) -> list[str]:
    """The lines of the README's console block for `command` that `output` does not have, numbers and keys aside."""
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    block = readme.split(f"$ {command}\n")[1].split("```")[0].split("\n$ ")[0]
    said = {without_numbers(line) for line in output.splitlines()}
    return [line for line in block.splitlines() if line.strip("… ") and without_numbers(line) not in said]


def without_numbers(line: str) -> str:
    return re.sub(r"\s*\d[\d.,]*", "#", line.partition("[")[0]).rstrip()


def test_the_sabotaged_demo_fails_and_names_every_fault_at_its_place(tmp_path: Path) -> None:
    done = reversible("demo", tmp_path / "demo", "--sabotage", "--lang", "en")

    assert done.returncode == 1, done.stdout + done.stderr
    for place in (
        "boutique.ligne.remise",
        "boutique.avis",
        "boutique.commande.passee_le",
        "archives/",
        "digits-transformer",
    ):
        assert place in done.stdout, place
    assert shown_in_readme("reversible demo --sabotage", done.stdout + done.stderr) == []


def test_the_demo_holds_and_its_dossier_is_checked_by_openssl_alone(tmp_path: Path) -> None:
    done = reversible("demo", tmp_path / "demo", "--lang", "en")
    assert done.returncode == 0, done.stdout + done.stderr
    assert shown_in_readme("make demo", done.stdout + done.stderr) == []

    evidence = tmp_path / "demo/run/evidence"
    verdicts = json.loads((evidence / "data/verdicts.json").read_bytes())
    results = [json.loads(line) for line in (evidence / "data/results.jsonl").read_bytes().splitlines()]
    assert verdicts["counts"].get("FAILED", 0) == 0
    assert verdicts["level"] == "N3"
    open_ = {(line["asset"], line["metric"]) for line in results if line["asset"] and line["status"] != "measured"}
    assert open_ == set()
    fingerprint = re.search(r"--key ([0-9a-f]{64})", done.stdout)
    assert fingerprint
    assert reversible("evidence", "verify", evidence, "--key", fingerprint[1]).returncode == 0
    assert reversible("evidence", "verify", evidence).returncode == 3

    (evidence / "data/results.jsonl").write_bytes(
        (evidence / "data/results.jsonl").read_bytes().replace(b'"value": 0', b'"value": 1', 1)
    )
    assert reversible("evidence", "verify", evidence, "--key", fingerprint[1]).returncode == 5


def test_the_demo_replaces_only_a_directory_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("x")

    done = reversible("demo", tmp_path / "mine")

    assert done.returncode == 2
    assert (tmp_path / "mine/thesis.txt").read_text() == "x"
    shutil.rmtree(tmp_path / "mine")
