"""What --json prints is what docs/json/ says: the real command line's own output, schema by schema."""

import io
import json
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from enum import StrEnum
from pathlib import Path
from typing import Any, get_args

import click
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import report_samples
from jsonschema import Draft202012Validator, ValidationError

import json_schemas
from reversible import answers, assets, clauses, judgement, storage_doctor
from reversible.clauses import model
from reversible.cli import evidence, restore
from reversible.cli.main import LazyGroup, _status, cli
from reversible.comparison import classes, results
from reversible.evidence import verify
from reversible.evidence.examination import Outcome
from reversible.levels import ProofLevel
from reversible.storage_doctor import bench, settings
from reversible_exporters import tabular

SCHEMAS = json_schemas.schemas()
OWN_SCHEMA = "schema"  # its document is a schema itself, of JSON Schema's own form
README = (json_schemas.FOLDER / "README.md").read_text(encoding="utf-8")

PLAN = """
version = 1
[contract]
title = "Shop"
customer = "Customer SA"
provider = "Vendor SA"
languages = ["en", "fr"]
[clauses]
profiles = ["baseline"]
[source.shop]
kind = "sqlite"
path = "shop.db"
include = ["client", "shop.db", "nothing.*"]
exclude = [{ pattern = "log", reason = "expires" }]
[destination]
kind = "local"
country = "FR"
"""


def said(verb: str, *argv: object, status: int = 0) -> Any:
    """The document of `reversible VERB ARGV --json`, shown to be of the verb's schema; stdout is no UTF-8 terminal."""
    out, err = io.TextIOWrapper(io.BytesIO(), encoding="latin-1"), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        ended = _status([*verb.split(), *map(str, argv), "--json"])
        out.flush()

    assert ended == status, err.getvalue()
    return json_schemas.parsed(verb.replace(" ", "-"), out.buffer.getvalue())  # type: ignore[attr-defined]


# --- the schemas ------------------------------------------------------------------------------------------------


def verbs(group: click.Group = cli, *above: str) -> Iterator[str]:
    """Every verb with --json, as its schema is called: "evidence-verify"."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from verbs(command, *above, name)
        elif command is not None and any("--json" in option.opts for option in command.params):
            yield "-".join((*above, name))


def test_every_verb_with_json_has_a_schema_and_every_schema_a_verb() -> None:
    assert isinstance(cli, LazyGroup)

    assert sorted(verbs()) == sorted([*SCHEMAS, OWN_SCHEMA])


@pytest.mark.parametrize("verb", SCHEMAS)
def test_every_schema_is_one_and_the_table_of_docs_names_it(verb: str) -> None:
    Draft202012Validator.check_schema(SCHEMAS[verb])

    spoken = re.sub("^(evidence|kit)-", r"\1 ", verb)
    row = re.search(rf"^\| `{spoken}\b.*$", README, re.MULTILINE)
    assert row, f"docs/json/README.md has no row for {verb}"
    assert f"]({verb}{json_schemas.SUFFIX})" in row[0]


def inner(schema: Any, at: str = "#") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(schema, dict):
        yield at, schema
        for key, value in schema.items():
            yield from inner(value, f"{at}/{key}")
    elif isinstance(schema, list):
        for number, value in enumerate(schema):
            yield from inner(value, f"{at}/{number}")


OPEN = {"evidence-show": ["#"]}  # a stranger's text stands in it


@pytest.mark.parametrize("verb", SCHEMAS)
def test_every_object_of_ours_is_closed_and_every_member_described(verb: str) -> None:
    objects = [(at, one) for at, one in inner(SCHEMAS[verb]) if one.get("type") == "object" and "properties" in one]
    closed = [at for at, one in objects if one.get("additionalProperties") is False]
    members = [(at, name, member) for at, one in objects for name, member in one["properties"].items()]
    definitions = SCHEMAS[verb].get("$defs", {})

    assert sorted({at for at, _ in objects} - set(closed)) == OPEN.get(verb, [])
    for at, name, member in members:
        target = definitions.get(member.get("$ref", "").rpartition("/")[2], member)
        counted = name in set(clauses.Verdict)  # described once, above
        assert counted or member.get("description") or target.get("description"), f"{verb}: {at}: {name}"


WORDS: list[tuple[str, str, set[Any]]] = [
    ("check", "operation/properties/outcome", set(storage_doctor.Outcome)),
    ("check", "operation/properties/need", set(get_args(bench.Need))),
    ("check", "storage/properties/checksum", set(get_args(settings.Checksum))),
    ("clauses", "check/properties/op", set(model.OPS)),
    ("clauses", "check/properties/basis", set(model.BASES)),
    ("clauses", "clause/properties/severity", set(model.SEVERITIES)),
    ("clauses", "clause/properties/kind", set(model.KINDS)),
    ("clauses", "clause/properties/proof_level", set(ProofLevel.__members__)),
    ("compare", "class", set(classes.Kind)),
    ("compare", "outcome", set(results.Outcome)),
    ("convert", "file_format", set(tabular.READERS)),
    ("dry-run", "answer/properties/basis", {*model.BASES, None}),
    ("dry-run", "answer/properties/op", set(model.OPS)),
    ("dry-run", "answer/properties/status", set(answers.Status)),
    ("dry-run", "clause/properties/severity", set(model.SEVERITIES)),
    ("dry-run", "clause/properties/verdict", set(clauses.Verdict)),
    ("dry-run", "level", set(ProofLevel.__members__)),
    ("evidence-verify", "conclusion", set(verify.Conclusion)),
    ("evidence-verify", "own/properties/level", set(ProofLevel.__members__)),
    ("evidence-verify", "step/properties/id", set(evidence._TITLES_FR)),
    ("evidence-verify", "step/properties/outcome", set(Outcome)),
    ("inventory", "asset/properties/kind", set(assets.Kind)),
    ("verify", "criterion/properties/op", set(model.OPS) - {"report"}),
    ("verify", "criterion/properties/status", set(answers.Status)),
    ("verify", "result/properties/status", set(judgement.STATUSES) - {"not-run"}),
]


@pytest.mark.parametrize(("verb", "place", "words"), WORDS, ids=[f"{verb} {place}" for verb, place, _ in WORDS])
def test_the_words_of_a_schema_are_those_of_the_code(verb: str, place: str, words: set[Any]) -> None:
    schema = SCHEMAS[verb]
    found = schema["$defs"] if place.split("/")[0] in schema.get("$defs", {}) else schema["properties"]
    for step in place.split("/"):
        found = found[step]

    assert set(found["enum"]) == {str(word) if isinstance(word, StrEnum) else word for word in words}


def test_a_document_of_another_shape_is_refused() -> None:
    document = {"plan": "p", "variables": []}
    json_schemas.parsed("init", json.dumps(document))
    for wrong in ({**document, "new": 1}, {"plan": "p"}, {"plan": "p", "names": []}, {"plan": "p", "variables": [1]}):
        with pytest.raises(ValidationError):
            json_schemas.parsed("init", json.dumps(wrong))
    for text in ('{"plan": NaN}', '{"plan": "p", "variables": []} {}', ""):
        with pytest.raises(ValueError, match=r"NaN|Extra data|Expecting value"):
            json_schemas.parsed("init", text)


# --- the catalogues ---------------------------------------------------------------------------------------------


def test_the_catalogues() -> None:
    every = said("clauses")
    assert said("clauses", "DAT-04") in every
    assert len(every) == len(clauses.load().clauses)
    assert {kind for one in said("verifiers") for kind in one["kinds"]} == set(assets.Kind)
    assert {"mysql", "postgres", "s3", "sagemaker", "sqlite"} <= {one["name"] for one in said("exporters")}


def test_the_schema_of_a_plan_is_a_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert _status(["schema", "--json"]) == 0
    schema = json.loads(capsys.readouterr().out)

    Draft202012Validator.check_schema(schema)
    assert "[schema]" not in README
    assert schema["$schema"] in README


# --- one small shop, without a vendor ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with an SQLite database and a plan to leave it; the current one."""
    root, before = tmp_path_factory.mktemp("shop"), Path.cwd()
    with sqlite3.connect(root / "shop.db") as connection:
        connection.executescript("""
            CREATE TABLE client (id INTEGER PRIMARY KEY, name TEXT NOT NULL, paid REAL);
            INSERT INTO client VALUES (1, 'Zoé', 1.5), (2, 'Ada', NULL), (3, '👩‍💻', -0.0);
            CREATE TABLE log (line TEXT);
            CREATE TABLE secret (line TEXT);
            CREATE VIEW paying AS SELECT name FROM client WHERE paid > 0;
        """)
    connection.close()
    (root / "exit-plan.toml").write_text(PLAN, encoding="utf-8")
    os.chdir(root)
    yield root
    os.chdir(before)


@pytest.fixture(scope="module")
def bundle(shop: Path) -> Path:
    document = said("export", "exit-plan.toml", "--into", "run", "--lang", "en")
    assert "shop:table:client" in document["exported"]
    return shop / "run/bundle"


def test_a_plan_is_written(tmp_path: Path) -> None:
    assert said("init", tmp_path / "plan.toml", "--template", "--lang", "fr")["variables"]


def test_what_can_be_reached_and_what_is_there(shop: Path) -> None:
    assert said("check", "exit-plan.toml")["storage"] is None
    found = {one["name"]: one for one in said("inventory", "exit-plan.toml")["assets"]}

    assert found["client"]["rows"] == 3
    assert found["log"]["excluded"]
    assert found["secret"]["unlisted"]
    gone = shop / "gone.toml"
    gone.write_text(PLAN.replace("shop.db", "gone.db"), encoding="utf-8")
    assert not said("check", gone, status=4)["answers"][0]["ok"]


def test_an_error_prints_no_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert _status(["inventory", "absent.toml", "--json"]) == 2
    said = capsys.readouterr()

    assert said.out == ""
    assert "absent.toml" in said.err


def test_a_bundle_is_shipped_to_a_folder_of_any_name(bundle: Path, tmp_path: Path) -> None:
    there = os.fsdecode(os.fsencode(tmp_path) + b"/\xff")  # no UTF-8
    assert said("ship", bundle, there)["url"] == there
    assert said("ship", bundle, there)["sent"] == 0


def test_json_is_utf_8_whatever_the_terminal_speaks() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "reversible", "clauses", "LOC-01", "--json"], capture_output=True, check=False,
        env={**os.environ, "PYTHONIOENCODING": "latin-1"},
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert json_schemas.parsed("clauses", done.stdout)["id"] == "LOC-01"
    assert "é" in done.stdout.decode()


def test_a_database_is_put_back(bundle: Path, tmp_path: Path) -> None:
    document = said("restore", bundle, "--to", f"sqlite://{tmp_path}/again.db")

    assert {one["table"]: one["values"]["answer"] for one in document["tables"]} == {"client": "equal"}
    steps = SCHEMAS["restore"]["properties"]["refused"]["items"]["properties"]["step"]["enum"]
    assert set(document["restored"]) == set(steps)


def test_every_ending_of_a_restore_is_of_the_schema() -> None:
    from reversible.interfaces import Restored

    steps = [Restored(step=step, subject="t", rows=1) for step in ("schema", "rows", "sequence", "objects", "refresh")]
    steps += [one.refused("no") for one in steps]
    steps += [Restored(step=step, subject="x", seen="y") for step in ("note", "resume")]
    for ok in (True, False, None):
        steps += [Restored(step=step, subject=f"t {ok}", ok=ok) for step in restore._COMPARED]
    steps += [Restored(step="totals", subject="half", rows=3)]
    around = {"bundle": "b", "sha256": "0" * 64, "database": "d", "left_empty": ["z"], "status": restore.status(steps)}

    document = json_schemas.parsed("restore", json.dumps({**around, **restore.summary(steps)}))
    assert len(document["refused"]) == 5


@pytest.mark.parametrize(("name", "status"), [("Zoé", 0), ("Zoe", 1)])
def test_a_record_is_proven(bundle: Path, tmp_path: Path, name: str, status: int) -> None:
    record = {"id": 1, "name": name, "paid": 1.5}
    (tmp_path / "record.json").write_text(json.dumps(record), encoding="utf-8")
    into = tmp_path / "proof.json"
    proof = said("prove", bundle, "client", "--record", tmp_path / "record.json", "--into", into, status=status)

    assert proof["times"] == 1 - status
    assert said("prove", "--check", into, "--root", proof["root"], status=status) == proof


def test_two_tables_are_compared(tmp_path: Path) -> None:
    left = {"id": [1, 2, 3, 4, 4], "price": [1.5, 2.0, None, 4.0, 4.0], "name": ["Zoé", "b ", "", "d", "d"]}
    right = {"id": [1, 2, 3, 5, 5], "price": [1.25, 2.0, 0.0, 5.0, 5.0], "name": ["ZoÃ©", "b", None, "e", "e"]}
    pq.write_table(pa.table({**left, "old": [1] * 5, "t": [1] * 5}), tmp_path / "left.parquet")
    pq.write_table(pa.table({**right, "new": [1] * 5, "t": ["1"] * 5}), tmp_path / "right.parquet")
    found = said("compare", tmp_path / "left.parquet", tmp_path / "right.parquet", "--key", "id", status=1)

    assert found["rows"]["missing"] and found["rows"]["extra"] and found["cells"]  # noqa: PT018 - there is each
    assert found["columns_on_one_side"]
    assert found["columns_of_another_type"]
    assert {one["column"] for one in found["differences"]} == {"", "price", "name"}
    same = said("compare", tmp_path / "left.parquet", tmp_path / "left.parquet")
    assert (same["outcome"], same["differences"]) == ("equal", [])


def test_a_file_is_converted(tmp_path: Path) -> None:
    (tmp_path / "orders.csv").write_text("id,paid,extra\n1,2.50,a\n2,x,b\n3,\n+4,1,d\n", encoding="utf-8")
    (tmp_path / "orders.toml").write_text(
        'leave_out = ["extra"]\n[columns]\nid = "int64"\npaid = "decimal(9,2)"\n', encoding="utf-8"
    )
    files = (tmp_path / "orders.csv", "--schema", tmp_path / "orders.toml")
    document = said("convert", *files, "--into", tmp_path / "orders", status=1)

    assert document["left_out"] == ["extra"]
    assert document["first_set_aside"]
    assert document["columns"]["paid"]["set_aside"]


@pytest.mark.parametrize("sample", ["good", "sabotaged", "poor", "hostile"])
def test_verdicts_of_every_sort(sample: str) -> None:
    verdicts = getattr(report_samples, sample)().verdicts

    json_schemas.parsed("dry-run", json.dumps(verdicts))
    json_schemas.parsed("demo", json.dumps(verdicts))
    with pytest.raises(ValidationError):
        json_schemas.parsed("demo", json.dumps({**verdicts, "new": 1}))


@pytest.mark.slow
def test_a_run_its_bundle_its_dossier_and_its_reports(
    shop: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("REVERSIBLE_KEY", str(tmp_path / "key.pem"))
    verdicts = said("dry-run", "exit-plan.toml", "--into", "whole", "--lang", "en", status=1)
    assert {one["status"] for clause in verdicts["clauses"] for one in clause["answers"]} == set(answers.Status)

    found = said("verify", "whole/bundle", status=0)
    assert {one["status"] for one in found["criteria"]} == {"met"}
    dossier = shop / "whole/evidence"
    shown = said("evidence show", dossier)
    assert set(shown) == set(SCHEMAS["evidence-show"]["$defs"]["genuine"]["properties"])
    alone = said("evidence verify", dossier, status=3)
    assert said("evidence verify", dossier, "--key", alone["sealed_by"])["conclusion"] == "verified"
    assert len(said("report", dossier, "--into", tmp_path)["reports"]) == 2
