"""Does an SQLite database leave with every storage class, come back the same, and is each damage noticed?"""

import json
import math
import shutil
import sqlite3
import threading
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reversible import registry
from reversible.assets import Asset, Kind
from reversible.bundle.reader import Bundle
from reversible.bundle.writer import BundleWriter
from reversible.cli.main import _status
from reversible.errors import BundleError, ReversibleError, SourceError, UsageError
from reversible_exporters import sqlite_values, sqlite_witness
from reversible_exporters.sqlite import SQLiteExporter, SQLiteSettings
from reversible_exporters.sqlite_restore import restore, statements
from reversible_exporters.sqlite_restorer import SQLiteRestorer
from reversible_exporters.sqlite_session import Undecodable
from reversible_verifiers import sqlite_script

AT = datetime(2026, 11, 26, tzinfo=UTC)
GOOD = {"format.open_pct": 100.0, "format.two_readers_ok_pct": 100.0}
HARD: list[Any] = [
    None, 0, 5, -1, -(2**63), 2**63 - 1, 2**53 + 1, 1.5, -0.0, 0.0, 5e-324, -2.2250738585072014e-308,
    1.7976931348623157e308, math.inf, -math.inf, math.nan, 0.1, 1 / 3, 1e22, 1e15, 9.2233720368547758e18, "abc", "",
    "é\0x", "123", "1e400", " 7 ", "NULL", "integer:5", b"", b"\x00\xff", b"abc",
]  # fmt: skip
SCHEMA = """
CREATE TABLE a (id INTEGER PRIMARY KEY AUTOINCREMENT, n INT, r REAL, t TEXT, b BLOB, x, d DECIMAL(10, 2));
CREATE TABLE nokey (rowid TEXT, v);
CREATE TABLE without (k TEXT PRIMARY KEY, v) WITHOUT ROWID;
CREATE TABLE "strict" (i INT, r REAL, t TEXT, b BLOB, a ANY) STRICT;
CREATE TABLE g (a INT, v INT GENERATED ALWAYS AS (a * 2) VIRTUAL, s TEXT AS (a || 'x') STORED);
CREATE TABLE child (a_id INT REFERENCES a (id), b COLLATE NOCASE, UNIQUE (b), CHECK (b <> 'z;z'));
CREATE TABLE "we ird ""name; [x] é" ("" INT, "select" TEXT, `b``t`, [c d]); -- a comment ; here
CREATE TABLE empty (a INTEGER NOT NULL, b TEXT DEFAULT 'it''s;');
CREATE TABLE lonely (k TEXT PRIMARY KEY, k2 INTEGER PRIMARY_KEY);
CREATE TABLE descending (k INTEGER PRIMARY KEY DESC, v);
CREATE VIRTUAL TABLE words USING fts5 (body);
CREATE VIRTUAL TABLE places USING rtree (id, x0, x1);
INSERT INTO words VALUES ('hello world'), ('zoé'), ('hello again');
INSERT INTO places VALUES (1, 0.1, 0.2), (7, -1, 1);
CREATE INDEX i1 ON a (n) WHERE n > 1;
CREATE INDEX i2 ON a (lower(t) DESC);
CREATE VIEW v AS SELECT n, ';' AS s FROM a;
CREATE TRIGGER tr AFTER INSERT ON a WHEN new.n = 1 BEGIN UPDATE a SET n = CASE WHEN n THEN 2 END; SELECT 1; END;
CREATE TRIGGER tr2 INSTEAD OF DELETE ON v BEGIN SELECT 'end;'; END;
PRAGMA user_version = 7;
PRAGMA application_id = 99;
"""


def make(path: Path, *, encoding: str = "UTF-8") -> Path:
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA encoding = '{encoding}'")
        connection.executescript(SCHEMA)
        for n, value in enumerate(HARD):
            connection.execute("INSERT INTO a (n, r, t, b, x, d) VALUES (?, ?, ?, ?, ?, ?)", (value,) * 6)
            connection.execute("INSERT INTO nokey VALUES (?, ?)", (value, value))
            connection.execute("INSERT INTO without VALUES (?, ?)", (str(n), value))
            connection.execute("INSERT INTO descending VALUES (?, ?)", (n * 3, value))
            connection.execute('INSERT INTO "strict" (a) VALUES (?)', (value,))
        connection.execute("INSERT INTO a (id, t, x) VALUES (900, CAST(x'ff61' AS TEXT), CAST(x'00d8' AS TEXT))")
        connection.execute("INSERT INTO a (n) SELECT 5 FROM a")
        connection.execute("INSERT INTO g (a) VALUES (1), (NULL), ('q'), (1.5)")
        connection.execute("INSERT INTO child VALUES (1, 2), (NULL, 'b')")
        connection.execute("INSERT INTO \"strict\" VALUES (1, 2, '3', x'04', 5)")
        connection.execute('INSERT INTO "we ird ""name; [x] é" VALUES (1, 2, 3, 4)')
        connection.execute("INSERT INTO lonely VALUES (NULL, 1), (NULL, 1), ('a', 2)")
        connection.execute("DELETE FROM nokey WHERE rowid IS NULL")  # so that the rowids have holes
        connection.execute("ANALYZE")
    connection.close()
    return path


def exporter(path: Path, **others: Any) -> SQLiteExporter:
    return SQLiteExporter("shop", SQLiteSettings.model_validate({"path": str(path), **others}))


def export(path: Path, root: Path, **others: Any) -> Bundle:
    source = exporter(path, **others)
    with BundleWriter(root) as writer:
        try:
            for asset in source.discover():
                if asset.obstacle is None:
                    source.export(asset, writer)
                    writer.put_witness(asset, source.witness(asset))
                    writer.close_asset(asset, exporter="test", at=AT)
        finally:
            source.close()
        return writer.finish(about={"tool": "test"}, at=AT)


def asset_of(bundle: Bundle, name: str) -> Asset:
    return next(asset for asset in bundle.assets if asset.name == name)


def complaints(bundle: Bundle, asset: Asset) -> list[str]:
    said: list[str] = []
    for verifier in registry.verifiers().values():
        if asset.kind in verifier.kinds:
            try:
                for one in verifier.verify(asset, bundle):
                    if one.value != GOOD.get(one.metric, 0):
                        said += [f"{one.metric}: {place}" for place in one.places or ("?",)]
            except ReversibleError as error:
                said.append(error.message)
    return said


def everything(path: Path) -> dict[str, Any]:
    """Class and value of every cell with its rowid, and every definition: SQLite's own words."""
    connection = sqlite3.connect(path)
    connection.text_factory = lambda raw: raw.decode(errors="backslashreplace")
    found: dict[str, Any] = {
        "schema": sorted(
            connection.execute("SELECT type, name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%'").fetchall(),
            key=str,
        ),
        "sequence": connection.execute("SELECT * FROM sqlite_sequence ORDER BY 1").fetchall(),
    }
    for pragma in ("encoding", "user_version", "application_id", "page_size"):
        found[pragma] = connection.execute(f"PRAGMA {pragma}").fetchone()
    for name, without, kind in connection.execute("SELECT name, wr, type FROM pragma_table_list").fetchall():
        if kind not in ("table", "shadow") or name.startswith("sqlite_"):
            continue
        columns = [row[1] for row in connection.execute(f"PRAGMA table_xinfo({quoted(name)})")]
        fields = [f"typeof({quoted(one)}), quote({quoted(one)}), hex(CAST({quoted(one)} AS BLOB))" for one in columns]
        fields += [] if without else ["oid"]
        query = f"SELECT {', '.join(fields)} FROM {quoted(name)}"  # noqa: S608
        found[name] = sorted(connection.execute(query).fetchall(), key=str)
    connection.close()
    return found


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("sqlite") / "shop.db")


@pytest.fixture(scope="module")
def faithful(database: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return export(database, tmp_path_factory.mktemp("bundle") / "b", part_rows=20)


@pytest.fixture
def copy(faithful: Bundle, tmp_path: Path) -> Bundle:
    return Bundle.open(Path(shutil.copytree(faithful.root, tmp_path / "copy")))


# --- everything leaves and comes back -----------------------------------------------------------------------------


def test_a_faithful_bundle_draws_no_complaint(faithful: Bundle) -> None:
    faithful.check()

    assert {asset.name: complaints(faithful, asset) for asset in faithful.assets} == {
        asset.name: [] for asset in faithful.assets
    }


def test_the_sample_holds_what_it_means_to_hold(faithful: Bundle) -> None:
    columns = {one["name"]: one for one in faithful.document(asset_of(faithful, "a"), "table.json")["columns"]}

    assert all(columns["x"]["classes"].values())
    assert faithful.document(asset_of(faithful, "nokey"), "table.json")["rowid"] == "_rowid_"
    assert any(path.name.endswith("exceptions.parquet") for path in faithful.parts(asset_of(faithful, "a")))


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["UTF-8", "UTF-16le", "UTF-16be"])
def test_the_restored_file_says_the_same_of_every_value(tmp_path: Path, encoding: str) -> None:
    database = make(tmp_path / "shop.db", encoding=encoding)
    bundle = export(database, tmp_path / "b")

    restored = restore(bundle, asset_of(bundle, "shop.db"), tmp_path / "again.db")

    assert everything(tmp_path / "again.db") == everything(database)
    assert [complaints(bundle, asset) for asset in bundle.assets] == [[] for _ in bundle.assets]
    assert restored.rows == sum(bundle.document(a, "table.json")["rows"] for a in bundle.assets if a.kind is Kind.TABLE)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again.db", "b", "shop.db"]
    with sqlite3.connect(tmp_path / "again.db") as again:
        assert again.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert again.execute("SELECT rowid FROM words WHERE words MATCH 'hello' ORDER BY 1").fetchall() == [(1,), (3,)]
        assert again.execute("SELECT id FROM places WHERE x0 > 0").fetchall() == [(1,)]


CELL = st.one_of(
    st.none(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.binary(max_size=9),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=9), st.sampled_from(HARD),
    st.binary(max_size=4).map(Undecodable),
)  # fmt: skip


@pytest.mark.slow
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.tuples(*[CELL] * 5), max_size=12), encoding=st.sampled_from(["UTF-8", "UTF-16le", "UTF-16be"]),
    types=st.lists(st.sampled_from(["INT", "REAL", "TEXT", "BLOB", "", "NUMERIC", "DATE"]), min_size=5, max_size=5),
)  # fmt: skip
def test_any_values_in_any_columns_come_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[Any, ...]], encoding: str, types: list[str]
) -> None:
    root = tmp_path_factory.mktemp("any")
    with sqlite3.connect(root / "s.db") as connection:
        connection.execute(f"PRAGMA encoding = '{encoding}'")
        connection.execute(f"CREATE TABLE t ({', '.join(f'c{n} {one}' for n, one in enumerate(types))})")
        connection.execute("CREATE TABLE s (x INTEGER PRIMARY KEY AUTOINCREMENT)")
        for row in rows:
            marks = [f"CAST(x'{cell.hex()}' AS TEXT)" if isinstance(cell, Undecodable) else "?" for cell in row]
            bound = [cell for cell in row if not isinstance(cell, Undecodable)]
            connection.execute(f"INSERT INTO t VALUES ({', '.join(marks)})", bound)  # noqa: S608
    connection.close()
    bundle = export(root / "s.db", root / "b", part_rows=5)
    restore(bundle, asset_of(bundle, "s.db"), root / "again.db")

    assert everything(root / "again.db") == everything(root / "s.db")
    assert complaints(bundle, asset_of(bundle, "t")) == []


def test_a_value_that_contradicts_its_columns_affinity_comes_back(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "s.db", isolation_level=None) as connection:
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, a, b, c)")
        connection.execute("CREATE TABLE s (x INTEGER PRIMARY KEY AUTOINCREMENT)")
        connection.execute("INSERT INTO t VALUES (4, 1.5, '12', 7.0), (9, 5, 3, 1)")
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute(
            "UPDATE sqlite_schema SET sql = 'CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, b INT, c INT)'"
            " WHERE name = 't'"
        )
    connection.close()
    bundle = export(tmp_path / "s.db", tmp_path / "b")
    restore(bundle, asset_of(bundle, "s.db"), tmp_path / "again.db")

    assert everything(tmp_path / "again.db") == everything(tmp_path / "s.db")
    assert [row[:2] for row in everything(tmp_path / "again.db")["t"]] == [("integer", "4"), ("integer", "9")]


@given(value=st.floats(allow_nan=False) | st.sampled_from([one for one in HARD if isinstance(one, float)][:-1]))
def test_the_engines_spelling_of_a_real_is_the_real(value: float) -> None:
    with sqlite3.connect(":memory:") as connection:
        column = sqlite_values.Column(
            name="c", source_type="", nullable=True, stored="real",
            classes={"integer": 0, "real": 1, "text": 0, "blob": 0},
        )  # fmt: skip
        cell = connection.execute(
            f"WITH t(c) AS (SELECT CAST(?{len(sqlite_witness.PARAMETERS) + 1} AS REAL))"  # noqa: S608
            f" SELECT {sqlite_witness.spelling(column, 'utf-8')} FROM t",
            [*sqlite_witness.PARAMETERS, value],
        ).fetchone()[0]
    connection.close()
    if math.isnan(value):
        assert cell is None
    else:
        assert sqlite_witness.read(cell, "utf-8")[1].hex() == value.hex()


ALONE = [
    ("integer", ["i1", None, "i-9223372036854775808"], [1, None, -(2**63)], {}),
    ("integer", ["i1", 0.0], [1, None], {1: "real:0x0.0p+0"}),
    ("text", ["t", "tc3a9", None], ["", "é", None], {}),
    ("text", ["t61", "tff", "t62"], ["a", None, "b"], {1: "text-bytes:ff"}),
    ("blob", [None, "bff", "b", "b0001"], [None, b"\xff", b"", b"\0\1"], {}),
    ("blob", ["bff", "t61"], [b"\xff", None], {1: "text:a"}),
]


@pytest.mark.parametrize(("stored", "spelled", "values", "odd"), ALONE)
def test_what_the_engine_spells_is_read_in_whole_columns_as_cell_by_cell(
    stored: str, spelled: list[Any], values: list[Any], odd: dict[int, str]
) -> None:
    column = sqlite_values.Column(name="c", source_type="", nullable=True, stored=stored)
    cells = sqlite_witness.cells_of(spelled, column, "utf-8")

    assert (cells.values.to_pylist(), dict(cells.exceptions)) == (values, odd)
    assert cells.values.type == sqlite_values.ARROW[stored]


@given(CELL.filter(lambda cell: cell is not None and cell == cell))
def test_what_the_sidecar_spells_is_read_back(cell: Any) -> None:
    again = sqlite_values.unspelled(sqlite_values.spelled(cell))

    assert type(again) is type(cell)
    assert repr(again) == repr(cell)


@given(st.text(max_size=30))
def test_what_is_no_spelling_is_refused(text: str) -> None:
    try:
        value = sqlite_values.unspelled(text)
    except ValueError:
        return
    assert sqlite_values.spelled(value) == text


# --- only reading, in one snapshot --------------------------------------------------------------------------------


def test_an_export_changes_no_byte_of_the_database(tmp_path: Path) -> None:
    database = make(tmp_path / "shop.db")
    before = database.read_bytes()
    export(database, tmp_path / "b")

    assert database.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "shop.db"]


def test_rows_that_lie_in_the_wal_leave_and_later_ones_do_not(tmp_path: Path) -> None:
    writer = sqlite3.connect(tmp_path / "w.db", isolation_level=None)
    writer.execute("PRAGMA journal_mode = WAL")
    writer.execute("CREATE TABLE t (a)")
    writer.execute("INSERT INTO t VALUES (1), (2)")
    source = exporter(tmp_path / "w.db")
    with BundleWriter(tmp_path / "b") as bundle:
        (asset,) = (one for one in source.discover() if one.kind is Kind.TABLE)
        writer.execute("INSERT INTO t VALUES (3)")
        source.export(asset, bundle)
        writer.execute("DELETE FROM t")
        witness = source.witness(asset)
        source.close()
    writer.close()

    assert asset.rows == 2
    assert witness.facts["rows"] == 2
    (part,) = (tmp_path / "b.partial").rglob("part-00000.parquet")
    assert pq.read_table(part)["a"].to_pylist() == [1, 2]


def test_a_locked_database_gives_one_clear_error(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "l.db", isolation_level=None) as writer:
        writer.execute("CREATE TABLE t (a)")
        writer.execute("BEGIN EXCLUSIVE")
        source = exporter(tmp_path / "l.db", busy_timeout_s=0.1)
        with pytest.raises(SourceError, match="locked") as caught:
            list(source.discover())

        assert "busy_timeout_s" in caught.value.hint
        (answer,) = source.check()
        assert not answer.ok
    writer.close()


def test_no_witness_without_its_exports_snapshot(database: Path, tmp_path: Path) -> None:
    source = exporter(database)
    asset = next(one for one in source.discover() if one.name == "a")
    with BundleWriter(tmp_path / "b") as writer:
        source.export(asset, writer)
        source.close()
        with pytest.raises(SourceError, match="snapshot"):
            source.witness(asset)


@pytest.mark.slow
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_broken_file_gives_an_error_or_the_truth(database: Path, tmp_path: Path, data: st.DataObject) -> None:
    raw = bytearray(database.read_bytes())
    for _ in range(data.draw(st.integers(1, 20))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    broken = tmp_path / "broken.db"
    broken.write_bytes(raw[: data.draw(st.integers(0, len(raw)))] if data.draw(st.booleans()) else raw)
    shutil.rmtree(tmp_path / "b", ignore_errors=True)
    shutil.rmtree(tmp_path / "b.partial", ignore_errors=True)
    try:
        bundle = export(broken, tmp_path / "b")
    except ReversibleError:
        return
    with sqlite3.connect(broken) as connection:
        for asset in bundle.assets:
            if asset.kind is Kind.TABLE:
                count = connection.execute(_count(asset)).fetchone()[0]
                assert bundle.document(asset, "table.json")["rows"] == count
    connection.close()


def test_a_message_of_sqlites_own_that_is_no_utf8_is_one_error(database: Path, tmp_path: Path) -> None:
    """It quotes the damaged name; Python then cannot decode the message itself."""
    raw = bytearray(database.read_bytes())
    raw[2829] = 0x80  # within a name of the schema: hypothesis found it
    (tmp_path / "broken.db").write_bytes(raw)

    with pytest.raises(SourceError, match="SQLite says"):
        list(exporter(tmp_path / "broken.db").discover())


def _count(asset: Asset) -> str:
    return f"SELECT count(*) FROM {quoted(asset.name)}"  # noqa: S608


@pytest.mark.parametrize("content", [b"", b"not a database at all, but long enough to look like one" * 100])
def test_what_is_no_database_is_no_empty_success(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.db").write_bytes(content)
    source = exporter(tmp_path / "x.db")

    with pytest.raises(SourceError):
        list(source.discover())
    assert not any(answer.ok for answer in source.check())
    with pytest.raises(SourceError, match="no such file"):
        list(exporter(tmp_path / "missing.db").discover())


def test_a_virtual_table_whose_rows_lie_elsewhere_is_named(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "v.db", isolation_level=None) as connection:
        connection.execute("CREATE TABLE t (a)")
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute(
            "INSERT INTO sqlite_schema VALUES ('table', 'far', 'far', 0,"
            " 'CREATE VIRTUAL TABLE far USING fts5vocab (words, row)')"
        )
    connection.close()
    assets = {asset.name: asset for asset in exporter(tmp_path / "v.db").discover()}

    assert "outside this file" in str(assets["far"].obstacle)


def test_threads_may_hand_the_exporter_over(database: Path) -> None:
    source = exporter(database)
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.extend(one.name for one in source.discover()))
    thread.start()
    thread.join()
    source.close()

    assert "a" in found


# --- damage -------------------------------------------------------------------------------------------------------


def edit(bundle: Bundle, name: str, change: Any, file: str = "part-00000.parquet") -> None:
    path = bundle.folder(asset_of(bundle, name)) / file
    table = pq.read_table(path)
    pq.write_table(change(table), path)


def replaced(column: str, row: int, value: Any) -> Any:
    def change(table: pa.Table) -> pa.Table:
        rows = table.to_pylist()
        rows[row][column] = value
        return pa.Table.from_pylist(rows, table.schema)

    return change


@pytest.mark.parametrize(
    ("file", "column", "row", "value"),
    [
        ("part-00001.parquet", "n", 19, 6),
        ("part-00000.exceptions.parquet", "text", 0, "integer:99"),
        ("part-00000.exceptions.parquet", "text", 1, "text:99"),
        ("part-00000.exceptions.parquet", "row", 0, 5),
        ("part-00000.exceptions.parquet", "column", 0, "t"),
    ],
)
def test_a_changed_value_or_class_is_caught(copy: Bundle, file: str, column: str, row: int, value: Any) -> None:
    edit(copy, "a", replaced(column, row, value), file)

    said = " ".join(complaints(copy, asset_of(copy, "a")))

    assert "data.cells_different" in said or "stands" in said, said


def test_a_lost_row_and_a_lost_sidecar_are_caught(copy: Bundle) -> None:
    edit(copy, "lonely", lambda table: table.slice(1))
    (copy.folder(asset_of(copy, "nokey")) / "part-00000.exceptions.parquet").unlink()

    assert "data.rows_missing" in " ".join(complaints(copy, asset_of(copy, "lonely")))
    assert any("data.cells_different" in said for said in complaints(copy, asset_of(copy, "nokey")))


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ("CREATE INDEX i1 ON a (n) WHERE n > 1;", "", "index i1"),
        ("n > 1", "n > 2", "index i1"),
        ("';' AS s", "'; ' AS s", "view v"),
        ("THEN 2 END; SELECT 1;", "THEN 3 END; SELECT 1;", "trigger tr"),
        ("DEFAULT 'it''s;'", "DEFAULT 'its;'", "table empty"),
        ("user_version = 7", "user_version = 8", "PRAGMA user_version"),
        ("USING fts5 (body)", "USING fts5 (corps)", "virtual table words"),
        ("CHECK (b <> 'z;z')", "CHECK (b <> 'z')", "table child"),
    ],
)
def test_a_definition_that_says_something_else_is_caught(copy: Bundle, old: str, new: str, place: str) -> None:
    asset = asset_of(copy, "shop.db")
    path = copy.folder(asset) / "schema.sql"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")

    assert any(place in said for said in complaints(copy, asset))


@pytest.mark.parametrize(
    "text", ["CREATE TABLE t (a", "CREATE TABLE t (a); SELECT 'x", "CREATE TRIGGER t BEGIN SELECT 1;"]
)
def test_a_script_cut_short_is_refused_by_all_three_readers(text: str) -> None:
    for reader in (sqlite_script.statements, sqlite_script.by_engine):
        with pytest.raises(ValueError, match=r"ends inside|never closed"):
            reader(text)
    with pytest.raises(BundleError):
        list(statements(text))


def test_the_command_restores_and_compares_with_the_witness(
    faithful: Bundle, database: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "again.db"
    status = _status(["restore", str(faithful.root), "--to", f"sqlite://{target}", "--json"])
    document = json.loads(capsys.readouterr().out)

    assert status == 0, document
    assert everything(target) == everything(database)
    assert _status(["restore", str(faithful.root), "--to", f"sqlite://{target}"]) == 0  # nothing is put back


def test_a_complete_restore_is_compared_again_and_never_called_incomplete(faithful: Bundle, tmp_path: Path) -> None:
    """As after a kill between its last step and its end."""
    bundle, base = faithful, asset_of(faithful, "shop.db")
    tables = [one for one in bundle.assets if one.kind is Kind.TABLE]
    restorer = SQLiteRestorer(f"sqlite://{tmp_path}/x.db")
    first, second = (list(restorer.restore(bundle, base, tables)) for _ in range(2))
    with closing(sqlite3.connect(tmp_path / "x.db")) as connection, connection:
        connection.execute("DELETE FROM lonely")
    with pytest.raises(UsageError, match="exists already"):
        list(restorer.restore(bundle, base, tables))

    assert [one for one in [*first, *second] if one.ok is False] == []
    assert {one.step for one in second} == {"resume", "totals", "values"}
    assert "holds this bundle already" in second[0].seen


def test_a_restored_table_that_is_not_the_witnesss_is_said(copy: Bundle, tmp_path: Path) -> None:
    edit(copy, "lonely", replaced("k", 2, "b"))
    table = asset_of(copy, "lonely")
    steps = list(SQLiteRestorer(f"sqlite://{tmp_path}/x.db").restore(copy, asset_of(copy, "shop.db"), [table]))

    assert [(one.step, one.ok) for one in steps if one.step in ("totals", "values")] == [
        ("totals", True),
        ("values", False),
    ]


@pytest.mark.parametrize("more", ["ATTACH DATABASE 'x' AS y;", "INSERT INTO a (n) VALUES (1);"])
def test_a_schema_that_does_more_than_create_is_refused(copy: Bundle, tmp_path: Path, more: str) -> None:
    path = copy.folder(asset_of(copy, "shop.db")) / "schema.sql"
    path.write_bytes(path.read_bytes() + more.encode())

    with pytest.raises(BundleError, match="more than create"):
        restore(copy, asset_of(copy, "shop.db"), tmp_path / "x.db")


def test_a_restore_never_touches_what_stands_there(faithful: Bundle, tmp_path: Path) -> None:
    target = tmp_path / "there.db"
    target.write_bytes(b"mine")

    with pytest.raises(UsageError):
        restore(faithful, asset_of(faithful, "shop.db"), target)
    assert target.read_bytes() == b"mine"


def test_a_restore_that_fails_leaves_nothing(copy: Bundle, tmp_path: Path) -> None:
    edit(copy, "a", replaced("text", 0, "nonsense"), "part-00000.exceptions.parquet")

    with pytest.raises(BundleError):
        restore(copy, asset_of(copy, "shop.db"), tmp_path / "again.db")
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]
