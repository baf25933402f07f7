"""Where is the seam of a dump, and does a value become the text that PostgreSQL reads back as the same?"""

from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reversible.assets import Asset, Kind
from reversible.bundle.writer import BundleWriter
from reversible.cli import restore
from reversible.errors import BundleError
from reversible_exporters import postgres_restore_rows, postgres_restore_script

DUMP = """--
-- PostgreSQL database dump
--

\\restrict abc
SET statement_timeout = 0;
SELECT pg_catalog.set_config('search_path', '', false);
--
-- Name: f; Type: FUNCTION; Schema: s; Owner: o
--

CREATE FUNCTION s.f() RETURNS text LANGUAGE sql AS $_$
--
-- Name: evil; Type: INDEX; Schema: s; Owner: o
--
CREATE INDEX evil ON s.t (a);
$_$;
--
-- Name: g; Type: FUNCTION; Schema: s; Owner: o
--

CREATE FUNCTION s.g() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 2; END;
--
-- Name: t; Type: TABLE; Schema: s; Owner: o; Type: INDEX; Schema: s; Owner: o
--

CREATE TABLE s.t (a text DEFAULT E'\\';', b "x;""y" /* ; /* ; */ */);
--
-- Name: i; Type: INDEX; Schema: s; Owner: o
--

CREATE INDEX i ON s.t USING btree (a);
--
-- Name: r; Type: RULE; Schema: s; Owner: o
--

CREATE RULE r AS ON INSERT TO s.t DO INSTEAD ( SELECT 1;
 SELECT 2; );
--
-- Name: TABLE t; Type: ACL; Schema: s; Owner: o
--

GRANT SELECT ON TABLE s.t TO PUBLIC;
\\unrestrict abc
"""


def test_the_seam_lies_before_the_first_index_and_no_text_that_imitates_one_moves_it() -> None:
    before, after = postgres_restore_script.split(DUMP)

    assert [one.sql.split("(")[0].split("=")[0].strip() for one in before] == [
        "SET statement_timeout", "SELECT pg_catalog.set_config", "CREATE FUNCTION s.f", "CREATE FUNCTION s.g",
        "CREATE TABLE s.t",
    ]  # fmt: skip
    assert [one.subject for one in after] == ["INDEX s.i", "RULE s.r", "ACL s.TABLE t"]
    assert before[2].sql.endswith("$_$;")
    assert after[1].sql.endswith("SELECT 2; );")
    assert [one.is_setting for one in before] == [True, True, False, False, False]


def test_a_dump_without_indexes_ends_before_its_grants() -> None:
    start = DUMP.index("-- Name: i")

    before, after = postgres_restore_script.split(DUMP[:start] + DUMP[DUMP.index("-- Name: TABLE t") :])

    assert before[-1].sql.startswith("CREATE TABLE s.t")
    assert [one.kind for one in after] == ["ACL"]


@pytest.mark.parametrize("sql", ["SELECT 1", "SELECT 'x;", 'SELECT "x;', "SELECT $$ x;", "/* x", "SELECT (1;"])
def test_a_dump_that_is_cut_short_is_refused(sql: str) -> None:
    with pytest.raises(BundleError, match="cut short"):
        list(postgres_restore_script.statements(sql))


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        ([0.1, -0.0, 5e-324, float("inf"), None], pa.float64(), ["0.1", "-0", "5e-324", "inf", None]),
        ([0.3, 16777216.0, 1e-45], pa.float32(), ["0.3", "16777216", "1e-45"]),
        ([Decimal("0.00000001"), Decimal("-1.10000000")], pa.decimal128(38, 8), ["1E-8", "-1.10000000"]),
        ([date(1, 1, 1), date(9999, 12, 31)], pa.date32(), ["0001-01-01", "9999-12-31"]),
        ([time(1, 2, 3, 4)], pa.time64("us"), ["01:02:03.000004"]),
        ([datetime(1, 1, 1, microsecond=1)], pa.timestamp("us"), ["0001-01-01 00:00:00.000001"]),  # noqa: DTZ001
        ([datetime(2026, 1, 1, tzinfo=UTC)], pa.timestamp("us", "UTC"), ["2026-01-01 00:00:00.000000Z"]),
        ([b"", b"\x00\xff", None, b"\\"], pa.binary(), ["\\x", "\\x00ff", None, "\\x5c"]),
        ([True, None], pa.bool_(), ["true", None]),
        (["NULL", "", None], pa.string(), ["NULL", "", None]),
    ],
)
def test_a_value_becomes_the_text_that_is_read_back_as_it(values: list[Any], kind: Any, expected: list[Any]) -> None:
    array = pa.array([None, *values], kind)[1:]  # an offset, as a slice of a batch has

    assert postgres_restore_rows.text(array).to_pylist() == expected


def test_a_type_without_text_is_refused() -> None:
    with pytest.raises(BundleError, match="has no text"):
        postgres_restore_rows.text(pa.array([[1]]))


def part(folder: Path, odd: list[tuple[int, str, str]]) -> Path:
    path = folder / "part-00000.parquet"
    pq.write_table(pa.table({"a": pa.array([None, date(2026, 1, 1)]), 'b"': ["", None], "g": [1, 2]}), path)
    columns = [pa.array(list(one)) for one in zip(*odd, strict=True)]
    pq.write_table(pa.table(columns, names=["row", "column", "text"]), folder / "part-00000.exceptions.parquet")
    return path


def test_an_exception_takes_its_place_again_and_null_is_not_the_empty_text(tmp_path: Path) -> None:
    path = part(tmp_path, [(0, "a", "infinity")])

    assert b"".join(postgres_restore_rows.copied(path, ["a", 'b"'])) == b'"infinity",""\n"2026-01-01",\n'


@pytest.mark.parametrize(
    ("odd", "said"),
    [
        ([(1, "a", "infinity")], "both a value and an exception"),
        ([(2, "a", "infinity")], "not in its part"),
        ([(0, "z", "infinity")], "not a column"),
    ],
)
def test_an_exception_without_a_place_is_refused(tmp_path: Path, odd: list[tuple[int, str, str]], said: str) -> None:
    path = part(tmp_path, odd)

    with pytest.raises(BundleError, match=said):
        list(postgres_restore_rows.copied(path, ["a", 'b"']))


def test_rows_without_columns_are_empty_lines(tmp_path: Path) -> None:
    path = tmp_path / "part-00000.parquet"
    pq.write_table(pa.table({"reversible_row": pa.array([None] * 70_000, pa.bool_())}), path)

    assert b"".join(postgres_restore_rows.copied(path, [])) == b"\n" * 70_000


def test_a_table_that_the_source_refused_is_never_a_whole_restore(tmp_path: Path) -> None:
    """The bundle has no rows of it: the target has the empty table, and nothing to compare it with."""
    at = datetime(2026, 11, 24, tzinfo=UTC)
    database = Asset(source="shop", kind=Kind.DATABASE, name="shop")
    with BundleWriter(tmp_path / "b") as writer:
        writer.close_asset(database, exporter="test", at=at)
        for name, error in (("s.kept", ""), ("s.refused", "SELECT denied")):
            writer.close_asset(Asset(source="shop", kind=Kind.TABLE, name=name), exporter="test", at=at, error=error)
        bundle = writer.finish(about={}, at=at)
    found = restore.lost(bundle, database)

    assert {one.subject for one in found} == {"s.refused"}
    assert restore.status(found) == 3
    assert "SELECT denied" in found[0].seen
