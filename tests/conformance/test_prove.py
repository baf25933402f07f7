"""`reversible prove` finds a row that a person wrote down, and says so when there is none."""

import json
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from conformance.paths import bundled
from reversible.cli.main import main
from reversible.fingerprint import Column
from reversible.fingerprint.strong_record import record_of

TABLE = pa.table({
    "id": pa.array([1, 2, 2]), "name": ["Zoé", None, None],
    "price": pa.array([Decimal("1.50"), None, None], pa.decimal128(9, 2)),
    "born": pa.array([date(1980, 1, 2), None, None]), "at": pa.array([0, 1, 1], pa.timestamp("us", "UTC")),
    "raw": pa.array([b"\xff", b"", b""]), "ratio": pa.array([0.1, float("nan"), float("nan")]),
    "ok": pa.array([True, None, None]),
})  # fmt: skip
FIRST = {"id": 1, "name": "Zoé", "price": "1.5", "born": "1980-01-02", "at": "1970-01-01T00:00:00Z", "raw": "ff",
         "ratio": 0.1, "ok": True}  # fmt: skip
SECOND = {"id": 2, "name": None, "price": None, "born": None, "at": "1970-01-01 00:00:00.000001Z", "raw": "",
          "ratio": "NaN", "ok": None}  # fmt: skip


def prove(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        main(["prove", *argv])
    said = capsys.readouterr()
    return int(left.value.code or 0), said.out, said.err


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return bundled(TABLE, TABLE, "", tmp_path).root


def written(folder: Path, name: str, document: Any) -> str:
    (folder / name).write_text(json.dumps(document))
    return str(folder / name)


@pytest.mark.parametrize(("record", "times"), [(FIRST, 1), (SECOND, 2), ({**FIRST, "price": 1.51}, 0)])
def test_a_record_is_proven_and_the_proof_checked(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], record: dict[str, Any], times: int
) -> None:
    file = written(tmp_path, "record.json", record)
    into = tmp_path / "proof.json"
    status, proof, said = prove(capsys, str(bundle), "pair", "--record", file, "--json", "--into", str(into))
    root = json.loads(proof)["root"]

    assert (status, json.loads(proof)["times"]) == (0 if times else 1, times)
    assert root in said
    assert json.loads(into.read_text()) == json.loads(proof)
    check = ("--check", str(tmp_path / "proof.json"), "--root")
    assert prove(capsys, *check, root)[0] == status
    assert prove(capsys, *check, root, "--record", file)[0] == status
    assert prove(capsys, *check, "0" * 64)[0] == 5
    assert prove(capsys, *check, root, "--record", written(tmp_path, "other.json", {**record, "id": 9}))[0] == 5


def test_the_root_of_the_source_must_be_that_of_the_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path, "record.json", FIRST)
    (tmp_path / "good").mkdir()
    (tmp_path / "bad").mkdir()
    good = bundled(TABLE, TABLE, "", tmp_path / "good", seen=TABLE).root
    bad = bundled(TABLE, TABLE.slice(0, 2), "", tmp_path / "bad", seen=TABLE).root

    status, said, _ = prove(capsys, str(good), "pair", "--record", file)
    assert status == 0
    assert "the source's witness has the same root" in said
    status, out, said = prove(capsys, str(bad), "pair", "--record", file)
    assert (status, out) == (5, "")
    assert "not those of the source" in said


@pytest.mark.parametrize(
    "record",
    [
        {"id": 1}, {**FIRST, "more": 1}, {**FIRST, "id": "one"}, {**FIRST, "id": 1.5}, {**FIRST, "ok": 1},
        {**FIRST, "price": "1.505"}, {**FIRST, "at": "1970-01-01 00:00:00"}, {**FIRST, "name": 5}, [],
    ],
)  # fmt: skip
def test_what_is_no_record_of_this_table_is_a_usage_error(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], record: Any
) -> None:
    status, out, _ = prove(capsys, str(bundle), "pair", "--record", written(tmp_path, "record.json", record))

    assert (status, out) == (2, "")


def test_an_exception_is_written_as_one() -> None:
    columns = [Column("d", "date")]

    assert record_of(columns, {"d": {"exception": "infinity"}}) == b"\2\0\0\0\10infinity"
