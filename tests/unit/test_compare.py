"""Two tables, value by value: all planted defects and no others, and never "equal" where something was not compared."""

import json
import math
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from reversible.cli.main import main
from reversible.comparison import fetching, two_sided
from reversible.comparison.results import Comparison, Outcome
from reversible.comparison.tables import open_table
from reversible.comparison.two_sided import compare_tables
from reversible.errors import BundleError, UsageError
from reversible.testing import defects


def written(table: pa.Table, path: Path, **options: Any) -> str:
    pq.write_table(table, path, **options)
    return str(path)


def compared(left: pa.Table, right: pa.Table, folder: Path, **options: Any) -> Comparison:
    one, other = written(left, folder / "left.parquet"), written(right, folder / "right.parquet")
    return compare_tables(open_table(one), open_table(other), **options)


@pytest.fixture(scope="module")
def planted() -> tuple[pa.Table, pa.Table, list[defects.Defect]]:
    table = defects.enriched(defects.lineitem(60_000))
    return (table, *defects.plant(table))


@pytest.mark.parametrize("key", [defects.KEY, ()], ids=["keyed", "keyless"])
def test_a_hundred_planted_defects_are_found_localised_and_classified_and_nothing_else(
    key: tuple[str, ...], planted: tuple[pa.Table, pa.Table, list[defects.Defect]], tmp_path: Path
) -> None:
    left, right, hundred = planted

    found = compared(left, right, tmp_path, key=key, limit=1000)

    score = defects.score(hundred, found.differences)
    assert {name: score[name] for name in ("planted", "found", "localised", "classified", "false", "missed")} == {
        "planted": 100, "found": 100, "localised": 100, "classified": 100, "false": 0, "missed": [],
    }  # fmt: skip
    assert (found.missing, found.extra, found.duplicated, found.changed, found.cells) == (10, 0, 10, 80, 80)
    assert found.listed_all


def test_the_score_sees_a_missed_a_false_and_a_misnamed_defect(
    planted: tuple[pa.Table, pa.Table, list[defects.Defect]], tmp_path: Path
) -> None:
    left, right, hundred = planted
    seen = compared(left, right, tmp_path, key=defects.KEY, limit=1000).differences

    assert defects.score(hundred, seen[1:])["found"] == 99
    assert defects.score(hundred[1:], seen)["false"] == 1
    assert defects.score([*hundred[:-1], defects.Defect("ulp", hundred[-1].key)], seen)["classified"] == 99


def test_another_order_of_rows_columns_and_row_groups_is_equal(tmp_path: Path) -> None:
    table = defects.enriched(defects.lineitem(5000))
    one = written(table, tmp_path / "one.parquet", compression="snappy")
    (tmp_path / "many").mkdir()
    reversed_rows = table.take(pa.array(range(4999, -1, -1))).select(table.column_names[::-1])
    written(reversed_rows.slice(0, 1234), tmp_path / "many/part-00000.parquet", row_group_size=100)
    written(reversed_rows.slice(1234), tmp_path / "many/part-00001.parquet", use_dictionary=False)

    found = compare_tables(open_table(one), open_table(str(tmp_path / "many")))

    assert found.outcome is Outcome.EQUAL
    assert found.digests[0] == found.digests[1]
    assert found.notes == ("the columns stand in another order",)


EQUAL = {
    "width of integers": (pa.array([1, 2], pa.int32()), pa.array([1, 2], pa.int64())),
    "scale of decimals": (
        pa.array([Decimal("1.50")], pa.decimal128(10, 2)),
        pa.array([Decimal("1.5000")], pa.decimal128(20, 4)),
    ),
    "dictionary": (pa.array(["a", "b"]), pa.array(["a", "b"]).dictionary_encode()),
    "unit of time": (pa.array([1], pa.timestamp("ms")), pa.array([1_000_000], pa.timestamp("ns"))),
    "NaN": (pa.array([math.nan]), pa.array([-math.nan])),
    "nested": (pa.array([[1, None], None]), pa.array([[1, None], None], pa.large_list(pa.int64()))),
    "empty": (pa.array([], pa.int64()), pa.array([], pa.int64())),
}


@pytest.mark.parametrize("name", EQUAL)
def test_what_is_only_stored_in_another_way_is_equal(name: str, tmp_path: Path) -> None:
    one, other = EQUAL[name]

    assert compared(pa.table({"c": one}), pa.table({"c": other}), tmp_path).outcome is Outcome.EQUAL


DIFFERENT = {
    "sign of zero": (pa.array([0.0, 1.0]), pa.array([-0.0, 1.0])),
    "NULL for NaN": (pa.array([math.nan, 1.0]), pa.array([None, 1.0])),
    "int64 beyond 2**53": (pa.array([1 << 60]), pa.array([1 << 60 | 1])),
    "the last digit of 38": (
        pa.array([Decimal(10**37)], pa.decimal128(38, 0)),
        pa.array([Decimal(10**37 + 1)], pa.decimal128(38, 0)),
    ),
    "one nanosecond": (pa.array([1000], pa.timestamp("ns")), pa.array([1001], pa.timestamp("ns"))),
    "a zone": (pa.array([1], pa.timestamp("us")), pa.array([1], pa.timestamp("us", "UTC"))),
    "int and float": (pa.array([1]), pa.array([1.0])),
    "a trailing space": (pa.array(["a"]), pa.array(["a "])),
    "order in a list": (pa.array([[1, 2]]), pa.array([[2, 1]])),
    "one row twice": (pa.array(["a", "b"]), pa.array(["a", "b", "b"])),
    "two rows doubled, two dropped": (pa.array(["a", "b", "c", "d"]), pa.array(["a", "a", "b", "b"])),
    "a row of NULL": (pa.array([1, None]), pa.array([1, 1])),
    "empty": (pa.array([1]), pa.array([], pa.int64())),
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_what_differs_is_never_equal(name: str, tmp_path: Path) -> None:
    one, other = DIFFERENT[name]
    left, right = pa.table({"c": one}), pa.table({"c": other})

    assert compared(left, right, tmp_path).outcome is Outcome.DIFFERENT
    assert compared(right, left, tmp_path).outcome is Outcome.DIFFERENT


def test_a_key_may_repeat_and_be_null(tmp_path: Path) -> None:
    left = pa.table({"k": [1, 1, 1, None, None, 2], "v": ["a", "b", "c", "x", "y", "z"]})
    right = pa.table({"k": [1, 1, 1, None, None, 2], "v": ["c", "a", "B", "y", "X", "z"]})

    found = compared(left, right, tmp_path, key=("k",))

    said = {(one.row["k"], one.left, one.right, str(one.explanation.kind)) for one in found.differences}
    assert said == {(1, "b", "B", "case"), (None, "x", "X", "case")}
    assert (found.missing, found.extra, found.changed) == (0, 0, 2)


def test_keyless_rows_with_duplicates_are_paired_by_likeness(tmp_path: Path) -> None:
    rows = [("a", 1, True), ("a", 1, True), ("b", 2, False), ("c", 3, None)]
    other = [("a", 1, True), ("b", 2, True), ("c", 3, None), ("c", 3, None), ("d", 9, False)]
    tables = [pa.table(dict(zip("xyz", map(list, zip(*one, strict=True)), strict=True))) for one in (rows, other)]

    found = compared(*tables, tmp_path)

    assert [(one.column, one.row["x"], str(one.explanation.kind)) for one in found.differences] == [
        ("z", "b", "inverted"),
        ("", "a", "missing row"),
        ("", "c", "duplicate row"),
        ("", "d", "extra row"),
    ]


def test_a_whole_column_of_one_damage_is_counted_and_listed_up_to_the_limit(tmp_path: Path) -> None:
    moments = pa.array(range(0, 3_600_000_000 * 3000, 3_600_000_000), pa.int64()).cast(pa.timestamp("us"))
    left = pa.table({"id": range(3000), "at": moments})
    later = pc.add(moments, pa.scalar(3_600_000_000, pa.duration("us")))
    for key in (("id",), ()):
        found = compared(left, left.set_column(1, "at", later), tmp_path, key=key, limit=5)

        assert found.cells == 3000
        assert [dict(one.kinds) for one in found.summaries.values()] == [
            {one.differences[0].explanation: 3000 for one in [found]}
        ]
        assert len(found.differences) == 5
        assert not found.listed_all


@pytest.mark.parametrize("key", [("id",), ()], ids=["keyed", "keyless"])
def test_more_rows_than_fit_are_compared_piece_by_piece(
    key: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(two_sided, "_MOST_ROWS", 100)
    left = pa.table({"id": range(1000), "v": [f"v{n}" for n in range(1000)]})
    right = left.set_column(1, "v", pa.array([f"v{n} " for n in range(1000)]))

    found = compared(left, right, tmp_path, key=key)

    assert (found.changed, found.cells, found.missing, found.extra) == (1000, 1000, 0, 0)
    assert [str(one.kind) for one in found.summaries["v"].kinds] == ["trimming"]


def test_too_many_rows_without_anything_to_pair_by_are_counted_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(two_sided, "_MOST_ROWS", 100)
    left = pa.table({"a": range(1000), "v": [f"v{n}" for n in range(1000)]})
    right = pa.table({"a": range(5000, 6000), "v": [f"w{n}" for n in range(1000)]})

    found = compared(left, right, tmp_path)

    assert (found.missing, found.extra, found.unpaired) == (1000, 1000, 1000)
    assert found.outcome is Outcome.DIFFERENT
    assert not found.listed_all


def test_what_another_reader_gives_is_believed_only_when_it_hashes_alike(
    planted: tuple[pa.Table, pa.Table, list[defects.Defect]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left, right, hundred = planted
    real, asked = fetching._read, []

    def lying(database: Any, table: Any, part: Any, rows: Any) -> pa.Table:
        asked.append(part)
        found = real(database, table, part, rows)
        return found.set_column(0, found.column_names[0], pa.nulls(found.num_rows, found.schema.field(0).type))

    monkeypatch.setattr(fetching, "_read", lying)
    found = compared(left, right, tmp_path, key=defects.KEY, limit=1000)

    assert asked
    assert defects.score(hundred, found.differences)["classified"] == 100


def test_the_sidecar_of_exceptions_counts(tmp_path: Path) -> None:
    table = pa.table({"id": [1, 2], "d": pa.array([None, 20_000], pa.date32())})
    for name in ("whole", "lost"):
        (tmp_path / name).mkdir()
        written(table, tmp_path / name / "part-00000.parquet")
    sidecar = pa.table({"row": pa.array([0], pa.int64()), "column": ["d"], "text": ["infinity"]})
    written(sidecar, tmp_path / "whole/part-00000.exceptions.parquet")

    found = compare_tables(open_table(str(tmp_path / "whole")), open_table(str(tmp_path / "lost")), key=("id",))

    assert [(one.row["id"], str(one.explanation.kind)) for one in found.differences] == [(1, "exception lost")]


def test_a_column_that_cannot_be_compared_is_never_equal(tmp_path: Path) -> None:
    union = pa.UnionArray.from_sparse(pa.array([0], pa.int8()), [pa.array([1])])
    try:
        written(pa.table({"id": [1], "u": union}), tmp_path / "u.parquet")
    except pa.ArrowNotImplementedError:  # Parquet has no union: the state is made by hand
        table = open_table(written(pa.table({"id": [1]}), tmp_path / "u.parquet"))
        from dataclasses import replace

        table = replace(table, strange={"u": "union has no fingerprint"})
    found = compare_tables(table, table)

    assert found.outcome is Outcome.NOT_COMPARED
    assert found.to_json()["not_compared"] == {"u": "union has no fingerprint"}


def test_a_missing_column_is_a_difference(tmp_path: Path) -> None:
    found = compared(pa.table({"a": [1], "b": [2]}), pa.table({"a": [1], "c": [2]}), tmp_path)

    assert found.outcome is Outcome.DIFFERENT
    assert found.other_columns == ("b", "c")


def test_two_sites_get_the_same_fingerprint_with_the_same_challenge(tmp_path: Path) -> None:
    table = pa.table({"a": [1, 2, 3]})

    one = compared(table, table, tmp_path, challenge="agreed")
    other = compared(table, table, tmp_path, challenge="agreed")

    assert one.digests == other.digests
    assert one.digests != compared(table, table, tmp_path).digests


# --- the command ------------------------------------------------------------------------------------------------


def run(*argv: object) -> int:
    with pytest.raises(SystemExit) as left:
        main(["compare", *map(str, argv)])
    return int(left.value.code or 0)


def test_the_command_says_what_differs_in_both_languages(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    left = written(pa.table({"id": [1, 2, 3], "nom": ["Zoé", "b", "c"]}), tmp_path / "l.parquet")
    right = written(pa.table({"id": [1, 2], "nom": ["ZoÃ©", "b"]}), tmp_path / "r.parquet")

    assert run(left, right, "--key", "id", "--lang", "fr") == 1
    french = capsys.readouterr().out
    assert run(left, right, "--key", "id", "--lang", "en") == 1
    english = capsys.readouterr().out

    assert "✗ DIFFÉRENTES" in french
    assert "nom [id=1]\n    ZoÃ© au lieu de Zoé (mauvais encodage)" in french
    assert "* [id=3]\n    ligne absente" in french
    assert "✗ DIFFERENT" in english
    assert "nom [id=1]\n    ZoÃ© instead of Zoé (mojibake)" in english


def test_the_command_gives_one_json_document_and_exit_0_when_equal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    left = written(pa.table({"id": [1]}), tmp_path / "l.parquet")

    assert run(left, left, "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["format"] == "reversible-comparison/1"
    assert document["outcome"] == "equal"


def test_a_wrong_path_a_wrong_key_and_a_broken_file_have_their_status(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    left = written(pa.table({"id": [1]}), tmp_path / "l.parquet")
    (tmp_path / "broken.parquet").write_bytes(Path(left).read_bytes()[:-10])

    assert run(left, tmp_path / "nothing.parquet") == 2
    assert run(left, left, "--key", "nobody") == 2
    assert run(left, tmp_path / "broken.parquet") == 5
    assert "broken.parquet" in capsys.readouterr().err


def test_a_folder_of_two_kinds_of_files_or_of_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mixed").mkdir()
    written(pa.table({"id": [1]}), tmp_path / "mixed/a.parquet")
    written(pa.table({"other": ["x"]}), tmp_path / "mixed/b.parquet")

    with pytest.raises(BundleError, match=r"b\.parquet"):
        open_table(str(tmp_path / "mixed"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="no Parquet"):
        open_table(str(tmp_path / "empty"))
