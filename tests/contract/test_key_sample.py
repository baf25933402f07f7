"""A large table of MariaDB, MySQL or SQLite that is compared by a sample: the rows that the hash of their key draws."""

# ruff: noqa: S608 - the numbers of rows in fixed statements

import hashlib
import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from test_mysql import run, series, started

from reversible.assets import Asset, Kind
from reversible.bundle.reader import Bundle
from reversible.bundle.writer import BundleWriter
from reversible.findings import Finding
from reversible.interfaces import Exporter, Restored, Restorer
from reversible_exporters.mysql import MySQLExporter, MySQLSettings
from reversible_exporters.mysql_restore import MySQLRestorer
from reversible_exporters.sqlite import SQLiteExporter, SQLiteSettings
from reversible_exporters.sqlite_restorer import SQLiteRestorer
from reversible_samples.mariadb_server import MariaDBServer
from reversible_verifiers.rows import Rows
from reversible_verifiers.values import Values

AT = datetime(2026, 11, 27, tzinfo=UTC)
ROWS, WANTED = 20_000, 2_000
CELLS, BOUND, MISSING, EXTRA = (
    "data.cells_different", "data.mismatch_rate_ub95", "data.rows_missing", "data.rows_extra",
)  # fmt: skip
MYSQL = [
    "CREATE TABLE big (id int PRIMARY KEY, price decimal(12,3) NOT NULL, name varchar(20), at datetime(6))",
    "INSERT INTO big SELECT seq, seq * 0.125, CONCAT('n', seq % 977), '2026-01-01' + INTERVAL seq MINUTE"
    f" FROM {series(ROWS)}",
    "CREATE TABLE keyless (id int, name text)",
    f"INSERT INTO keyless SELECT seq % 100, 'n' FROM {series(9000)}",
    "CREATE TABLE small (id int PRIMARY KEY, name text)",
    f"INSERT INTO small SELECT seq, 'n' FROM {series(500)}",
    "CREATE TABLE coded (code varchar(9) COLLATE utf8mb4_bin NOT NULL, region enum('a', 'b', '') NOT NULL, v bit(9),"
    " at timestamp(3) NOT NULL, UNIQUE u (code, region, at))",
    "INSERT INTO coded SELECT CONCAT('É', seq DIV 2), 1 + seq % 2, seq % 512, '2026-01-01 00:00:00.5'"
    f" FROM {series(9000)}",
    "CREATE TABLE floats (f double PRIMARY KEY, v int)",
    f"INSERT INTO floats SELECT seq / 7e9, seq FROM {series(9000)}",
    "CREATE TABLE nullable (a int, v int, UNIQUE (a))",
    f"INSERT INTO nullable SELECT NULLIF(seq, 5), seq FROM {series(9000)}",
    "CREATE TABLE parted (id int, y int, v int, PRIMARY KEY (y, id)) PARTITION BY LIST (y)"
    " (PARTITION one VALUES IN (0), PARTITION two VALUES IN (1))",
    f"INSERT INTO parted SELECT seq, seq % 2, seq FROM {series(9000)}",
]  # fmt: skip
SQLITE = f"""
CREATE TABLE big (id INTEGER PRIMARY KEY, price REAL NOT NULL, name TEXT, at TEXT);
WITH RECURSIVE s (seq) AS (SELECT 1 UNION ALL SELECT seq + 1 FROM s WHERE seq < {ROWS})
INSERT INTO big SELECT seq, seq * 0.125, 'n' || (seq % 977), datetime('2026-01-01', seq || ' minutes') FROM s;
CREATE TABLE keyless (id, name);
INSERT INTO keyless SELECT id % 100, 'n' FROM big LIMIT 9000;
CREATE TABLE small (id INTEGER PRIMARY KEY, name TEXT);
INSERT INTO small SELECT id, 'n' FROM big LIMIT 500;
CREATE TABLE coded (code, region, v, PRIMARY KEY (code, region)) WITHOUT ROWID;
INSERT INTO coded SELECT CASE id % 4 WHEN 0 THEN id WHEN 1 THEN id / 7.0 WHEN 2 THEN 'É' || id
  ELSE CAST(CAST('ÿ' || id AS BLOB) AS TEXT) END, CASE WHEN id % 2 THEN CAST(id AS BLOB) ELSE 'x' END, id
  FROM big LIMIT 9000;
INSERT INTO coded VALUES (CAST(x'ff00' AS TEXT), x'', 1);
"""


@dataclass(frozen=True)
class Source:
    """One product with the tables above."""

    product: str
    schema: str  # what stands before a table's name in an asset's
    build: Callable[..., Exporter]
    restorer: Callable[[str], Restorer]  # into a new database of that name

    def exporter(self, **more: Any) -> Exporter:
        return self.build(**{"sample_above_rows": 1000, "sample_rows": WANTED, "seed": "sealed", **more})


def of_mysql(server: MariaDBServer) -> Source:
    os.environ |= {"TEST_MYSQL": server.password, "MYSQL_PWD": server.password}
    run(server, *MYSQL)

    def build(**more: Any) -> Exporter:
        given = {"url": server.url, "password": "${TEST_MYSQL}", "part_rows": 15_000, **more}
        return MySQLExporter("shop", MySQLSettings.model_validate(given))

    def restorer(name: str) -> Restorer:
        run(server, f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
        return MySQLRestorer(server.url_of("root", name))

    return Source(server.product, "comptoir.", build, restorer)


def of_sqlite(folder: Path) -> Source:
    with closing(sqlite3.connect(folder / "source.db")) as connection:
        connection.executescript(SQLITE)

    def build(**more: Any) -> Exporter:
        given = {"path": str(folder / "source.db"), "part_rows": 15_000, **more}
        return SQLiteExporter("shop", SQLiteSettings.model_validate(given))

    return Source("SQLite", "", build, lambda name: SQLiteRestorer(f"sqlite:{folder / name}.db"))


@pytest.fixture(scope="module", params=["SQLite", "MariaDB", pytest.param("MySQL", marks=pytest.mark.slow)])
def source(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Source]:
    folder = tmp_path_factory.mktemp(str(request.param))
    if request.param == "SQLite":
        yield of_sqlite(folder)
        return
    with started(str(request.param), folder / "server") as server:
        yield of_mysql(server)


def export(exporter: Exporter, root: Path) -> Path:
    with closing(exporter), BundleWriter(root) as writer:
        for asset in exporter.discover():
            exporter.export(asset, writer)
            writer.put_witness(asset, exporter.witness(asset))
            writer.close_asset(asset, exporter="test", at=AT)
        writer.finish(about={"tool": "test"}, at=AT)
    return root


@pytest.fixture(scope="module")
def faithful(source: Source, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(source.exporter(), tmp_path_factory.mktemp("bundle") / "b")


@pytest.fixture
def copy(faithful: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(faithful, tmp_path / "copy"))


def asset_of(root: Path, name: str = "big") -> Asset:
    return next(
        one for one in Bundle.open(root).assets if one.kind is Kind.TABLE and one.name.rpartition(".")[2] == name
    )


def findings(root: Path, name: str = "big") -> dict[str, Finding]:
    bundle = Bundle.open(root)
    return {one.metric: one for verifier in (Rows(), Values()) for one in verifier.verify(asset_of(root, name), bundle)}


def sampled(root: Path) -> set[str]:
    bundle = Bundle.open(root)
    tables = [one for one in bundle.assets if one.kind is Kind.TABLE and "sample" in bundle.witness(one).facts]
    return {one.name.rpartition(".")[2] for one in tables}


def drawn_ids(source: Source, root: Path) -> set[int]:
    """The sample of `big`, as anyone draws it again who reads docs/fingerprint.md, section 8: from the copy alone."""
    fact = Bundle.open(root).witness(asset_of(root)).facts["sample"]
    prefix = hashlib.sha256(json.dumps([fact["seed"], f"{source.schema}big"]).encode()).hexdigest()
    word = "integer {}" if source.product == "SQLite" else "{}"
    below = fact["rate"] * 2.0**52

    def number(row: int) -> int:
        key = word.format(row).encode().hex()
        key = key if source.product == "SQLite" else key.upper()
        return int(hashlib.sha256(f"{prefix} {key}".encode()).hexdigest()[:13], 16)

    return {row for row in range(1, ROWS + 1) if number(row) < below}


def parts(root: Path) -> list[Path]:
    return list(Bundle.open(root).parts(asset_of(root), "part-?????.parquet"))


def rewrite(root: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    """Change all rows of `big` at once, and write them into the first part; the others keep none."""
    first, *others = parts(root)
    table = pa.concat_tables([pq.read_table(one) for one in (first, *others)])
    pq.write_table(change(table), first)
    for one in others:
        pq.write_table(table.slice(0, 0), one)


def with_name(row: int, name: str) -> Callable[[pa.Table], pa.Table]:
    def change(table: pa.Table) -> pa.Table:
        names = pc.if_else(pc.equal(table["id"], row), name, table["name"])
        return table.set_column(table.schema.get_field_index("name"), table.schema.field("name"), names)

    return change


# --- what is drawn ----------------------------------------------------------------------------------------------


def test_large_tables_with_a_key_are_sampled_and_all_others_read_whole(source: Source, faithful: Path) -> None:
    """SQLite's tables have a rowid or a key that is never NULL: each of them names its rows."""
    wanted = {"SQLite": {"big", "coded", "keyless"}}.get(source.product, {"big", "coded", "parted"})
    fact = Bundle.open(faithful).witness(asset_of(faithful)).facts

    assert sampled(faithful) == wanted
    assert fact["rows"] == fact["sample"]["population"] == ROWS
    assert WANTED <= fact["sample"]["rows"] < 1.3 * WANTED


def test_anyone_draws_the_same_rows_again_from_the_copy(source: Source, faithful: Path) -> None:
    bundle = Bundle.open(faithful)
    stored = pq.read_table(bundle.root / "data/witness" / asset_of(faithful).slug / "sample.parquet")

    assert len(drawn_ids(source, faithful)) == stored.num_rows


def test_the_seed_alone_decides_which_rows_are_drawn(source: Source, faithful: Path, tmp_path: Path) -> None:
    again = export(source.exporter(), tmp_path / "again")
    other = export(source.exporter(seed="another"), tmp_path / "other")
    first, same, second = (drawn_ids(source, root) for root in (faithful, again, other))

    assert first == same
    assert len(first & second) < len(first) / 4


@pytest.mark.parametrize("more", [{"sample_above_rows": None}, {"sample_above_rows": ROWS}, {"sample_rows": ROWS}])
def test_a_sample_that_is_not_asked_for_is_not_drawn(more: dict[str, Any], tmp_path: Path) -> None:
    assert sampled(export(of_sqlite(tmp_path).exporter(**more), tmp_path / "b")) == set()


# --- what it holds and what it does not -------------------------------------------------------------------------


def test_a_faithful_bundle_is_bounded_and_never_proven(faithful: Path) -> None:
    for name in sampled(faithful):
        found = findings(faithful, name)

        assert {found[metric].value for metric in (CELLS, MISSING, EXTRA)} == {0}, name
        assert 0 < float(str(found[BOUND].value)) < 0.0016
        assert all(one.coverage < 1 for one in found.values())


def test_a_drawn_row_that_changed_is_named_with_its_column(source: Source, copy: Path) -> None:
    row = min(drawn_ids(source, copy))
    rewrite(copy, with_name(row, f"m{row % 977}"))  # no total of the column moves
    found = findings(copy)

    assert found[CELLS].value == 1
    assert "name" in found[CELLS].places[0]
    assert str(row) in found[CELLS].places[0]


def test_a_row_lost_outside_the_sample_is_caught_by_the_count(source: Source, copy: Path) -> None:
    ids = drawn_ids(source, copy)
    row = next(n for n in range(1, ROWS) if n not in ids)
    rewrite(copy, lambda table: table.filter(pc.not_equal(table["id"], row)))

    assert findings(copy)[MISSING].value == 1


def test_a_drawn_row_that_is_doubled_for_another_is_extra(source: Source, copy: Path) -> None:
    ids = drawn_ids(source, copy)
    lost, twice = next(n for n in range(1, ROWS) if n not in ids), max(ids)

    def change(table: pa.Table) -> pa.Table:
        rest = table.filter(pc.not_equal(table["id"], lost))
        return pa.concat_tables([rest, table.filter(pc.equal(table["id"], twice))])

    rewrite(copy, change)
    found = findings(copy)

    assert (found[MISSING].value, found[EXTRA].value) == (1, 1)


def test_a_value_changed_outside_the_sample_is_caught_by_a_total_or_stays_within_the_bound(
    source: Source, copy: Path
) -> None:
    ids = drawn_ids(source, copy)
    row = next(n for n in range(100, ROWS) if n not in ids)
    rewrite(copy, with_name(row, f"n{row % 977} "))
    assert findings(copy)[CELLS].places[0].startswith(f"{source.schema}big.name (sum of bytes in UTF-8: ")
    rewrite(copy, with_name(row, f"m{row % 977}"))
    found = findings(copy)

    assert found[CELLS].value == 0
    assert float(str(found[BOUND].value)) >= 1 / ROWS
    assert found[CELLS].coverage < 1


# --- restore ----------------------------------------------------------------------------------------------------


def test_a_restore_looks_for_the_drawn_rows_and_never_calls_the_table_equal(
    source: Source, faithful: Path, tmp_path: Path
) -> None:
    def compared(root: Path, database: str) -> dict[tuple[str, str], tuple[bool | None, str]]:
        bundle = Bundle.open(root)
        base = next(one for one in bundle.assets if one.kind is Kind.DATABASE)
        steps: list[Restored] = list(source.restorer(database).restore(bundle, base, [asset_of(root)]))
        return {(one.step, one.subject): (one.ok, one.seen) for one in steps}

    name = asset_of(faithful).name
    whole = compared(faithful, "whole")
    damaged = Path(shutil.copytree(faithful, tmp_path / "damaged"))
    rewrite(damaged, with_name(min(drawn_ids(source, faithful)), "x"))
    apart = compared(damaged, "apart")

    assert whole["totals", name][0] is True
    assert whole["values", name] == (None, whole["values", name][1])
    assert "all here; the other rows were never compared" in whole["values", name][1]
    assert apart["values", name][0] is False
    assert "1 are not here" in apart["values", name][1]
