"""Does a MySQL or MariaDB database leave whole, come back whole, and does a verifier notice when it did not?

On a real MariaDB and, as slow tests, on a real MySQL, started for these tests; where a machine lacks them they are
skipped, but never in .ci/run.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pymysql
import pytest

import mysql_programs
from reversible.assets import Asset, Kind
from reversible.bundle.reader import Bundle
from reversible.bundle.writer import BundleWriter
from reversible.errors import SourceError, SourceLostError, UsageError
from reversible.findings import Finding
from reversible.interfaces import Restored
from reversible_exporters import (
    mysql_binary,
    mysql_dump,
    mysql_objects,
    mysql_protocol,
    mysql_session,
    mysql_text,
)
from reversible_exporters.mysql import MySQLExporter, MySQLSettings
from reversible_exporters.mysql_restore import MySQLRestorer
from reversible_exporters.mysql_session import quote
from reversible_samples.mariadb_server import MariaDBServer, program
from reversible_samples.mysql_server import MySQLServer
from reversible_verifiers.metadata import Metadata
from reversible_verifiers.openness import Openness
from reversible_verifiers.rows import Rows
from reversible_verifiers.schema import Schema
from reversible_verifiers.values import Values

AT = datetime(2026, 11, 24, tzinfo=UTC)
VERIFIERS = (Rows(), Values(), Schema(), Metadata(), Openness())
TYPES = ("entiers", "nombres", "temps", "textes", "octets", "jsons")
BODIES = (
    "CREATE TRIGGER tr BEFORE INSERT ON commande FOR EACH ROW BEGIN IF NEW.client > 3 THEN SET NEW.t = 'a;b'; END IF;"
    " /* un mot */ SET NEW.t = CONCAT(NEW.t, '!'); END",
    "CREATE PROCEDURE pr(IN x int, OUT y varchar(10)) COMMENT 'l''un' BEGIN -- ; une\n SELECT 'a;\\'b' INTO y; END",
    "CREATE FUNCTION fu(x int) RETURNS int DETERMINISTIC RETURN x + 1",
    "CREATE EVENT ev ON SCHEDULE EVERY 1 DAY DISABLE COMMENT 'nuit' DO BEGIN DELETE FROM commande WHERE id < 0; END",
)


on_mariadb = pytest.mark.parametrize("server", ["MariaDB"], indirect=True)  # what MySQL has not
on_mysql = pytest.mark.parametrize("server", [pytest.param("MySQL", marks=pytest.mark.slow)], indirect=True)


def started(product: str, directory: Path) -> MariaDBServer:
    if product == "MySQL":
        return MySQLServer(directory, programs=mysql_programs.programs())
    try:
        program("mariadbd")
    except SourceError as error:
        if os.environ.get("REVERSIBLE_TESTS_NEED_MARIADB"):
            raise
        pytest.skip(f"{error.message}: {error.hint}")
    return MariaDBServer(directory)


@pytest.fixture(scope="module", params=["MariaDB", pytest.param("MySQL", marks=pytest.mark.slow)])
def server(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[MariaDBServer]:
    product = str(request.param)
    with started(product, tmp_path_factory.mktemp(product.lower())) as running:
        os.environ |= {"TEST_MYSQL": running.password, "TEST_READER": "lire", "MYSQL_PWD": running.password}
        script = Path(__file__).with_name(f"{product.lower()}_torture.sql").read_text(encoding="utf-8")
        subprocess.run(
            [str(running.program(product.lower())), "--no-defaults", f"--host={running.host}",
             f"--port={running.port}", "--user=root", "--default-character-set=utf8mb4",
             "--init-command=SET sql_mode='ALLOW_INVALID_DATES'", running.database],
            input=script.encode(), check=True,
        )  # fmt: skip
        for body in BODIES:
            run(running, body)
        yield running
    del os.environ["MYSQL_PWD"]


def dump_program(server: MariaDBServer) -> Path:
    return server.program("mysqldump" if server.product == "MySQL" else "mariadb-dump")


def series(last: int) -> str:
    """A table `s` of the numbers 1 to `last`, as `seq`, in the words of both products."""
    digits = " UNION ALL ".join(f"SELECT {n} AS n" for n in range(10))
    places = range(len(str(last)))
    value = " + ".join(f"{10**place} * p{place}.n" for place in places)
    tables = ", ".join(f"({digits}) p{place}" for place in places)
    numbers = f"SELECT {value} AS seq FROM {tables} WHERE {value} BETWEEN 1 AND {last}"  # noqa: S608
    return f"({numbers} ORDER BY 1 LIMIT {last}) s"


def connect(server: MariaDBServer, database: str | None = None) -> "pymysql.Connection[Any]":
    return pymysql.connect(
        host=server.host, port=server.port, user=server.user, password=server.password,
        database=server.database if database is None else database, charset="utf8mb4", autocommit=True,
    )  # fmt: skip


def run(server: MariaDBServer, *statements: str, database: str | None = None) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = []
    with connect(server, database) as connection, connection.cursor() as cursor:
        cursor.execute("SET sql_mode = 'ALLOW_INVALID_DATES', time_zone = '+00:00'")
        for statement in statements:
            cursor.execute(statement)
            found = list(cursor.fetchall())
    return found


def exporter(server: MariaDBServer, database: str | None = None, *, user: str = "root", **more: Any) -> MySQLExporter:
    password = "${TEST_MYSQL}" if user == "root" else "${TEST_READER}"
    given = {"url": server.url_of(user, database), "password": password, "dump": dump_program(server), **more}
    return MySQLExporter("shop", MySQLSettings.model_validate(given))


def export(source: MySQLExporter, root: Path) -> tuple[Bundle, dict[str, SourceError]]:
    """What run.py does, asset by asset."""
    refused: dict[str, SourceError] = {}
    with closing(source), BundleWriter(root) as writer:  # an open snapshot keeps tables from being dropped
        for asset in source.discover():
            if asset.obstacle:
                continue
            error = ""
            try:
                source.export(asset, writer)
                writer.put_witness(asset, source.witness(asset))
            except SourceError as refusal:
                refused[asset.name] = refusal
                error = refusal.message
            writer.close_asset(asset, exporter="test", at=AT, error=error)
        return writer.finish(about={"tool": "test"}, at=AT), refused


@pytest.fixture(scope="module")
def faithful(server: MariaDBServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    bundle, refused = export(exporter(server), tmp_path_factory.mktemp("bundle") / "b")

    assert not refused
    return bundle.root


@pytest.fixture
def copy(faithful: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(faithful, tmp_path / "b"))


@pytest.fixture
def database(server: MariaDBServer, request: pytest.FixtureRequest) -> Iterator[str]:
    name = f"base `{request.node.name[:40]}`"
    run(server, f"CREATE DATABASE {quote(name)} CHARACTER SET utf8mb4")
    yield name
    run(server, f"DROP DATABASE {quote(name)}")


def asset_of(root: Path, name: str) -> Asset:
    return next(asset for asset in Bundle.open(root).assets if asset.name == name)


def findings(root: Path, asset: Asset) -> dict[str, Finding]:
    bundle = Bundle.open(root)
    return {
        one.metric: one
        for verifier in VERIFIERS
        if asset.kind in verifier.kinds
        for one in verifier.verify(asset, bundle)
    }


def wrong(found: dict[str, Finding]) -> dict[str, Finding]:
    best = {"format.open_pct": 100.0, "format.two_readers_ok_pct": 100.0}
    return {metric: one for metric, one in found.items() if one.value != best.get(metric, 0)}


# --- everything leaves, exactly ----------------------------------------------------------------------------------


def test_every_asset_is_named_once_in_a_stable_order_and_history_with_its_reason(server: MariaDBServer) -> None:
    source = exporter(server)
    assets = list(source.discover())
    again = [asset.id for asset in source.discover()]
    source.close()

    assert [asset.id for asset in assets] == again
    assert len(again) == len(set(again))
    assert "shop:table:comptoir.`Or der``s'é\".x`" in again
    left = [(asset.name, asset.rows) for asset in assets if asset.obstacle]
    assert left == ([] if server.product == "MySQL" else [("comptoir.historique FOR SYSTEM_TIME ALL", 2)])


def test_verifiers_find_nothing_in_a_faithful_bundle(faithful: Path) -> None:
    for asset in Bundle.open(faithful).assets:
        found = findings(faithful, asset)

        assert not wrong(found), (asset.name, wrong(found))
        assert all(one.coverage == 1 for one in found.values())


def own_text(server: MariaDBServer, table: str, database: str | None = None) -> Counter[tuple[Any, ...]]:
    """Each row in the server's own words: text, and the bits of floats and bytes, and the numbers behind words."""
    with connect(server, database) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT column_name, data_type FROM information_schema.columns WHERE table_schema = %s AND table_name = %s"
            " ORDER BY ordinal_position",
            (database or server.database, table),
        )
        columns = list(cursor.fetchall())
    fields = []
    for name, kind in columns:
        quoted = quote(name)
        fields.append(f"HEX({quoted})" if "blob" in kind or "binary" in kind or kind in SPATIAL else f"{quoted}")
        if kind in ("float", "double"):
            fields[-1] = f"CAST({quoted} AS DOUBLE)"
        if kind in ("enum", "set", "bit"):
            fields.append(f"{quoted} + 0")
        if kind in ("char", "varchar", "text", "longtext", "mediumtext", "tinytext"):
            fields.append(f"HEX(CAST({quoted} AS BINARY))")
    query = f"SELECT {', '.join(fields)} FROM {quote(table)}"  # noqa: S608
    with connect(server, database) as connection, connection.cursor() as cursor:
        connection.decoders = {}
        cursor.execute("SET time_zone = '+00:00'")
        cursor.execute(query)
        return Counter(tuple(row) for row in cursor.fetchall())


SPATIAL = (
    "geometry",
    "point",
    "polygon",
    "linestring",
    "geometrycollection",
    "geomcollection",
    "multipoint",
    "multilinestring",
    "multipolygon",
    "vector",
)


@pytest.fixture(scope="module")
def back(server: MariaDBServer, faithful: Path) -> tuple[str, list[Restored]]:
    run(server, "CREATE DATABASE retour CHARACTER SET utf8mb4")
    bundle = Bundle.open(faithful)
    tables = [asset for asset in bundle.assets if asset.kind is Kind.TABLE]
    database = next(asset for asset in bundle.assets if asset.kind is Kind.DATABASE)
    return "retour", list(MySQLRestorer(server.url_of("root", "retour")).restore(bundle, database, tables))


def test_all_comes_back_and_equals_the_witness(back: tuple[str, list[Restored]]) -> None:
    _, steps = back

    assert [one for one in steps if one.ok is not True] == []
    assert {one.step for one in steps} == {"schema", "rows", "totals", "values"}


def test_every_value_of_every_restored_table_is_what_the_source_says(
    server: MariaDBServer, back: tuple[str, list[Restored]]
) -> None:
    tables = [str(name) for name, kind in run(server, "SHOW FULL TABLES") if kind not in ("VIEW", "SEQUENCE")]

    assert len(tables) >= 14
    for table in tables:
        restored = own_text(server, table, back[0])

        assert restored == own_text(server, table), table
        assert restored or table == "sans_ligne"


def test_the_dump_of_the_restored_database_is_the_source_s(
    server: MariaDBServer, back: tuple[str, list[Restored]], faithful: Path
) -> None:
    where = mysql_session.address(server.url_of("root", back[0]))
    found = mysql_dump.schema(dump_program(server), where, server.password, routines=True, events=True)
    asset = asset_of(faithful, "comptoir")

    assert found == (Bundle.open(faithful).folder(asset) / "schema.sql").read_bytes()


def test_a_restore_refuses_a_database_that_holds_something(server: MariaDBServer, faithful: Path) -> None:
    bundle = Bundle.open(faithful)
    database = asset_of(faithful, "comptoir")

    with pytest.raises(UsageError, match="is not empty"):
        list(MySQLRestorer(server.url).restore(bundle, database, []))


def test_a_complete_restore_is_compared_again_and_never_called_incomplete(
    server: MariaDBServer, database: str, tmp_path: Path
) -> None:
    """As after a kill between its last step and its end."""
    run(server, "CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1), (2)", database=database)
    bundle, _ = export(exporter(server, database), tmp_path / "b")
    base, table = sorted(bundle.assets, key=lambda one: one.kind)
    copy = f"{database[:50]} complet"
    run(server, f"CREATE DATABASE {quote(copy)} CHARACTER SET utf8mb4")
    try:
        restorer = MySQLRestorer(server.url_of("root", copy))
        first, second = (list(restorer.restore(bundle, base, [table])) for _ in range(2))
        run(server, "UPDATE t SET id = 3 WHERE id = 2", database=copy)
        with pytest.raises(UsageError, match="is not empty"):
            list(restorer.restore(bundle, base, [table]))
    finally:
        run(server, f"DROP DATABASE {quote(copy)}")

    assert [one for one in [*first, *second] if one.ok is not True] == []
    assert [one.step for one in second] == ["resume", "totals", "values"]
    assert "holds this bundle already" in second[0].seen


KILLED = """
import os, signal, sys
from pathlib import Path
from reversible.assets import Kind
from reversible.bundle.reader import Bundle
from reversible_exporters import mysql_restore_rows
from reversible_exporters.mysql_restore import MySQLRestorer

root, url, statements = sys.argv[1:]
original, sent = mysql_restore_rows.inserts, 0

def inserts(*given):
    global sent
    for one in original(*given):
        if sent == int(statements):
            os.kill(os.getpid(), signal.SIGKILL)
        sent += 1
        yield one

mysql_restore_rows.inserts = inserts
bundle = Bundle.open(Path(root))
database, tables = ([one for one in bundle.assets if one.kind is kind] for kind in (Kind.DATABASE, Kind.TABLE))
list(MySQLRestorer(url).restore(bundle, database[0], tables))
"""


@pytest.mark.parametrize("engine", ["MyISAM", "InnoDB"])
@pytest.mark.parametrize("statements", [1, 2, 5])
def test_a_killed_restore_doubles_no_row_even_where_the_engine_keeps_no_transactions(
    server: MariaDBServer, database: str, tmp_path: Path, engine: str, statements: int
) -> None:
    """Two INSERTs a part, four parts; the kill falls into a part, before its second INSERT, and between two parts."""
    engine = "Aria" if engine == "MyISAM" and server.product == "MariaDB" and statements == 2 else engine
    run(
        server, f"CREATE TABLE t (id int AUTO_INCREMENT, x varchar(400), KEY (id)) ENGINE={engine} AUTO_INCREMENT=9000",
        f"INSERT INTO t SELECT seq, REPEAT('x', 300) FROM {series(8000)}", database=database,  # noqa: S608
    )  # fmt: skip
    bundle, _ = export(exporter(server, database, part_rows=2000), tmp_path / "b")
    copy = f"{database[:50]} {engine}{statements}"
    run(server, f"CREATE DATABASE {quote(copy)} CHARACTER SET utf8mb4")
    try:
        command = [sys.executable, "-c", KILLED, str(bundle.root), server.url_of("root", copy), str(statements)]
        killed = subprocess.run(command, check=False)
        there = run(server, "SELECT count(*) FROM t", database=copy)[0][0]
        database_asset, table = sorted(bundle.assets, key=lambda one: one.kind)
        steps = list(MySQLRestorer(server.url_of("root", copy)).restore(bundle, database_asset, [table]))
        found = run(server, "SELECT count(*), count(DISTINCT id) FROM t", database=copy)
        left = run(server, "SHOW TABLES", database=copy)
        next_value = run(server, "SHOW CREATE TABLE t", database=copy)[0][1]
    finally:
        run(server, f"DROP DATABASE {quote(copy)}")

    assert killed.returncode == -signal.SIGKILL
    assert there > 0 or engine == "InnoDB"  # else the kill came too early to show anything
    assert found == [(8000, 8000)]
    assert [one for one in steps if one.ok is not True] == []
    assert [one.seen for one in steps if one.step == "resume"] == (
        []
        if engine == "InnoDB"
        else [f"engine {engine} keeps no transactions: its rows are put back from the beginning"]
    )
    assert left == [("t",)]
    assert "AUTO_INCREMENT=9000" in next_value


def test_typed_columns_are_typed_and_exceptions_stand_beside_them(faithful: Path) -> None:
    bundle = Bundle.open(faithful)
    mysql = bundle.document(asset_of(faithful, "comptoir"), "database.json")["source_type"] == "mysql"
    types: dict[str, str] = {}
    odd: Counter[str] = Counter()
    for asset in bundle.assets:
        if asset.name.removeprefix("comptoir.") not in TYPES:
            continue
        for one in bundle.document(asset, "table.json")["columns"]:
            types[one["name"]] = one["arrow_type"]
        sidecar = bundle.folder(asset) / "part-00000.exceptions.parquet"
        odd += Counter(pq.read_table(sidecar)["column"].to_pylist()) if sidecar.exists() else Counter()

    assert (types["bu"], types["iu"], types["b64"]) == ("decimal128(20, 0)", "int64", "decimal128(20, 0)")
    assert (types["d65"], types["d38"], types["f"], types["ti6"]) == (
        "string",
        "decimal128(38, 10)",
        "float",
        "time64[us]",
    )
    assert odd == {
        "da": 4, "dt": 4, "dt6": 4, "dt3": 4, "ts": 1, "ts6": 1, "ti": 4, "ti6": 3, "ti2": 3,
        "e": 1, "sv": 3, "gb": odd["gb"], "sj": odd["sj"], **({"j": 21} if mysql else {}),
    }  # fmt: skip


def test_a_dump_made_of_show_create_serves_as_well(server: MariaDBServer, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(mysql_dump, "find", lambda *_, **__: None)
    bundle, refused = export(exporter(server), tmp_path / "b")
    run(server, "CREATE DATABASE compose CHARACTER SET utf8mb4")
    database = asset_of(bundle.root, "comptoir")
    tables = [asset for asset in bundle.assets if asset.kind is Kind.TABLE]
    steps = list(MySQLRestorer(server.url_of("root", "compose")).restore(bundle, database, tables))
    run(server, "DROP DATABASE compose")

    assert not refused
    assert not wrong(findings(bundle.root, database))
    assert [one for one in steps if one.ok is not True] == []


@on_mysql
def test_what_mariadb_s_dump_leaves_out_of_mysql_is_noticed(server: MariaDBServer, tmp_path: Path) -> None:
    bundle, refused = export(exporter(server, dump=program("mariadb-dump")), tmp_path / "b")
    found = wrong(findings(bundle.root, asset_of(bundle.root, "comptoir")))

    assert not refused
    assert found["data.metadata_classes_missing"].places == ("library outils",)


def test_mariadb_s_dump_is_not_taken_for_mysql_s_under_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = tmp_path / "mysqldump"  # what Debian's package of MariaDB installs beside mariadb-dump
    fake.write_text("#!/bin/sh\necho mysqldump from 11.8.6-MariaDB, client 10.19\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    assert mysql_dump.find(None, mariadb=True) == fake
    assert mysql_dump.find(None, mariadb=False) is None


def test_two_exports_give_the_same_bytes(server: MariaDBServer, faithful: Path, tmp_path: Path) -> None:
    again, _ = export(exporter(server), tmp_path / "b")
    files = [path.relative_to(again.root) for path in again.root.glob("data/[td]*/*/*")]

    assert files
    for file in files:
        assert (again.root / file).read_bytes() == (faithful / file).read_bytes(), file


# --- planted faults ----------------------------------------------------------------------------------------------


FAULTS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {}


def fault(name: str) -> Callable[[Callable[[pytest.MonkeyPatch], None]], None]:
    def keep(plant: Callable[[pytest.MonkeyPatch], None]) -> None:
        FAULTS[name] = plant

    return keep


def _after(monkeypatch: pytest.MonkeyPatch, change: Callable[[pa.Array], pa.Array]) -> None:
    """Change each column on its way into a block, where `change` gives another."""
    original = mysql_text._parse

    def parse(rows: Any, columns: Any, schema: Any) -> Any:
        block = original(rows, columns, schema)
        arrays = [change(array) for array in block.batch.columns]
        return type(block)(pa.RecordBatch.from_arrays(arrays, schema=schema), block.exceptions)

    monkeypatch.setattr(mysql_text, "_parse", parse)


def _of(kind: Callable[[pa.DataType], bool], change: Callable[[Any], Any]) -> Callable[[pa.Array], pa.Array]:
    def apply(array: pa.Array) -> pa.Array:
        if not kind(array.type):
            return array
        return pa.array([None if one is None else change(one) for one in array.to_pylist()], array.type)

    return apply


@fault("a double loses its last bit")
def _ulp(monkeypatch: pytest.MonkeyPatch) -> None:
    _after(monkeypatch, _of(pa.types.is_float64, lambda one: float(np.nextafter(one, 0))))


@fault("a NULL becomes an empty text")
def _empty(monkeypatch: pytest.MonkeyPatch) -> None:
    _after(monkeypatch, lambda array: array.fill_null("") if pa.types.is_string(array.type) else array)


@fault("an empty text becomes NULL")
def _null(monkeypatch: pytest.MonkeyPatch) -> None:
    _after(monkeypatch, _of(pa.types.is_string, lambda one: one or None))


@fault("a text loses its trailing spaces")
def _trim(monkeypatch: pytest.MonkeyPatch) -> None:
    _after(monkeypatch, _of(pa.types.is_string, lambda one: one.rstrip(" ")))


@fault("bytes are read as text")
def _bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    _after(monkeypatch, _of(pa.types.is_binary, lambda one: one.decode(errors="replace").encode()))


def _rounded(array: pa.Array) -> pa.Array:
    if not pa.types.is_decimal(array.type) or array.type.precision > 30:
        return array
    texts = [None if one is None else format(one, "f") for one in array.to_pylist()]
    cut = [one if one is None or "." not in one else f"{one[:-1]}0" for one in texts]
    return pa.array(cut, pa.string()).cast(array.type)


@fault("a decimal is rounded")
def _round(monkeypatch: pytest.MonkeyPatch) -> None:
    _after(monkeypatch, _rounded)


@fault("an unsigned number is read as signed")
def _signed(monkeypatch: pytest.MonkeyPatch) -> None:
    _after(monkeypatch, _of(pa.types.is_int64, lambda one: one - 2**32 if 2**31 <= one < 2**32 else one))


@fault("a moment loses its microseconds")
def _micro(monkeypatch: pytest.MonkeyPatch) -> None:
    _after(monkeypatch, _of(pa.types.is_timestamp, lambda one: one.replace(microsecond=0)))


@fault("a row is dropped")
def _drop(monkeypatch: pytest.MonkeyPatch) -> None:
    original = mysql_protocol._rows

    def rows(*given: Any) -> Any:
        found, sequence = original(*given)
        return mysql_protocol.Rows(found.buffer, found.starts[1:], found.ends[1:]), sequence

    monkeypatch.setattr(mysql_protocol, "_rows", rows)


@fault("exceptions are forgotten")
def _forget(monkeypatch: pytest.MonkeyPatch) -> None:
    original = mysql_text._parse

    def parse(*given: Any) -> Any:
        return type(original(*given))(original(*given).batch, ())

    monkeypatch.setattr(mysql_text, "_parse", parse)


@fault("an ENUM's error value passes as ''")
def _error_value(monkeypatch: pytest.MonkeyPatch) -> None:
    original = mysql_text._parse

    def parse(rows: Any, columns: Any, schema: Any) -> Any:
        block = original(rows, columns, schema)
        odd = {row for row, name, _ in block.exceptions if name == "e"}
        arrays = [
            pa.array(["" if n in odd else one for n, one in enumerate(array.to_pylist())], array.type)
            if name == "e" else array
            for name, array in zip(schema.names, block.batch.columns, strict=True)
        ]  # fmt: skip
        kept = [one for one in block.exceptions if one[1] != "e"]
        return type(block)(pa.RecordBatch.from_arrays(arrays, schema=schema), kept)

    monkeypatch.setattr(mysql_text, "_parse", parse)


@fault("a lossy character set: what utf8mb4 lacks becomes '?'")
def _lossy(monkeypatch: pytest.MonkeyPatch) -> None:
    _after(monkeypatch, _of(pa.types.is_string, lambda one: one.encode("latin1", "replace").decode("latin1")))


@on_mariadb
@pytest.mark.parametrize("name", sorted(FAULTS))
def test_a_fault_planted_in_the_export_is_noticed(
    server: MariaDBServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    _fault_is_noticed(server, tmp_path, monkeypatch, name)


@on_mysql
@pytest.mark.parametrize("name", ["a row is dropped", "exceptions are forgotten", "a double loses its last bit"])
def test_a_fault_planted_in_the_export_of_mysql_is_noticed(
    server: MariaDBServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    _fault_is_noticed(server, tmp_path, monkeypatch, name)


def _fault_is_noticed(server: MariaDBServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    with monkeypatch.context() as planted:
        FAULTS[name](planted)
        source = exporter(server)
        with BundleWriter(tmp_path / "b") as writer:
            for asset in source.discover():
                if asset.name.removeprefix("comptoir.") in TYPES:
                    source.export(asset, writer)
                    writer.put_witness(asset, source.witness(asset))
                    writer.close_asset(asset, exporter="test", at=AT)
            source.close()
            bundle = writer.finish(about={"tool": "test"}, at=AT)
    found = [one for asset in bundle.assets for one in wrong(findings(bundle.root, asset)).values()]

    assert {one.metric for one in found} & {"data.cells_different", "data.rows_missing"}, name


@pytest.mark.parametrize("name", ["gathered", "by the CSV reader"])
def test_both_ways_of_reading_a_block_agree(server: MariaDBServer, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Values as text from both ways, over tables that suit the CSV reader."""
    taken: list[bool] = []
    original = mysql_text._plainly

    def watched(walk: Any, columns: Any) -> Any:
        found = None if name == "gathered" else original(walk, columns)
        taken.append(found is not None)
        return found

    monkeypatch.setattr(mysql_text, "_plainly", watched)
    source = exporter(server)
    session = source._session()
    for table in ("client", "doublons", "entiers"):
        columns = mysql_text_columns(source, table)
        query = f"SELECT {mysql_text.select_list(columns)} FROM {quote(table)} WHERE 1 = 1"  # noqa: S608
        query += " AND id IN (1, 2, 4, 41)" if table != "doublons" else ""
        text = [block.batch for block in mysql_text.blocks(mysql_protocol.text_rows(session, query), columns)]
        query = query.replace(mysql_text.select_list(columns), mysql_binary.select_list(columns))
        cells = list(mysql_binary.batches(mysql_protocol.binary_rows(session, query), columns))
        for column in columns:
            again = cells[0][0][column.name].values
            assert text[0].column(column.name).to_pylist() == again.to_pylist(), column.name
    source.close()

    assert taken == [name != "gathered"] * 3


def mysql_text_columns(source: MySQLExporter, table: str) -> Any:
    from reversible_exporters import mysql_catalog

    session = source._session()
    known = next(one for one in mysql_catalog.tables(session) if one.relation == table)
    return mysql_catalog.columns(session, known)


DAMAGE = {
    "a view": ("VIEW `autre`", "VIEW `autre2`"),
    "a trigger's body": ("SET NEW.t = CONCAT(NEW.t, '!')", "SET NEW.t = NEW.t"),
    "a procedure": ("PROCEDURE `pr`", "PROCEDURE `pr2`"),
    "a string in a body": ("'a;\\'b'", "'a;b'"),
    "an event's schedule": ("EVERY 1 DAY", "EVERY 1 WEEK"),
    "a comment": ("COMMENT 'le nom'", "COMMENT 'le prénom'"),
    "a table's comment": ("COMMENT='les \"clients\"'", "COMMENT='clients'"),
    "a collation": ("COLLATE utf8mb4_unicode_ci", "COLLATE utf8mb4_bin"),
    "a rule of a foreign key": ("ON DELETE CASCADE", "ON DELETE SET NULL"),
    "an index": ("FULLTEXT KEY `ft` (`t`)", "KEY `ft` (`id`)"),
    "an index's direction": ("(`nom`(5) DESC)", "(`nom`(5))"),
    "a partition's limit": ("LESS THAN (2000)", "LESS THAN (2001)"),
    "what partitions a table": ("PARTITION BY RANGE (year(`j`))", "PARTITION BY RANGE (month(`j`))"),
    "a default text": ("DEFAULT 'l''inconnu'", "DEFAULT 'inconnu'"),
    "a moment that is set again": (" ON UPDATE CURRENT_TIMESTAMP", ""),
    "an engine": ("ENGINE=MyISAM", "ENGINE=InnoDB"),
}
MARIADB_DAMAGE = {
    "a function's type": ("RETURNS int(11)", "RETURNS bigint(20)"),
    "a default": ("DEFAULT 1.50", "DEFAULT 1.00"),
    "a generated column": ("(`id` + 1)", "(`id` + 2)"),
    "a check": ("CHECK (`solde` > 0)", "CHECK (`solde` >= 0)"),
    "a sequence's step": ("increment by 3", "increment by 4"),
    "system versioning": (" WITH SYSTEM VERSIONING", ""),
    "an invisible column": (" INVISIBLE", ""),
    "a number's sign": ("`su` smallint(5) unsigned", "`su` smallint(5)"),
}
MYSQL_DAMAGE = {
    "a function's type": ("RETURNS int", "RETURNS bigint"),
    "a function's argument": ("`fu`(x int)", "`fu`(x bigint)"),
    "a default": ("DEFAULT '1.50'", "DEFAULT '1.00'"),
    "a default that is computed": ("interval 1 year", "interval 2 year"),
    "a default of bits": ("DEFAULT b'101'", "DEFAULT b'100'"),
    "a generated column": ("(`id_base` + 1)", "(`id_base` + 2)"),
    "a check": ("CHECK ((`solde` > 0))", "CHECK ((`solde` >= 0))"),
    "a string in a check": ("'x;\\'y'", "'x;y'"),
    "a check that is not enforced": (" /*!80016 NOT ENFORCED */", ""),
    "an invisible column": ("`cache` int DEFAULT '3' /*!80023 INVISIBLE */", "`cache` int DEFAULT '3'"),
    "an invisible index": (" /*!80000 INVISIBLE */", ""),
    "an index's comment": (" COMMENT 'l''index'", ""),
    "an index over an expression": ("(lower(`nom`))", "(upper(`nom`))"),
    "an index over many values": ("as unsigned array", "as signed array"),
    "the direction of an expression": ("((`solde` * 2)) DESC", "((`solde` * 2))"),
    "a spatial reference": (" /*!80003 SRID 4326 */", ""),
    "a number's sign": ("`su` smallint unsigned", "`su` smallint"),
    "a table's collation": ("COLLATE=utf8mb4_0900_as_cs", "COLLATE=utf8mb4_0900_ai_ci"),
    "a column's character set": ("CHARACTER SET gb18030 COLLATE gb18030_chinese_ci ", ""),
    "a row format": (" ROW_FORMAT=COMPRESSED", ""),
    "the number of partitions": ("PARTITIONS 3", "PARTITIONS 4"),
    "a list of a partition": ("('n','l''o')", "('n')"),
    "a subpartition": ("SUBPARTITION BY HASH (`a`)", "SUBPARTITION BY HASH (`r`)"),
    "whose rights a view uses": ("SQL SECURITY INVOKER", "SQL SECURITY DEFINER"),
    "an operation of sets": (" except ", " union "),
    "a library": ("`outils`", "`outil`"),
    "what a library does": ("export function f()", "export function g()"),
    "a routine in another language": ("return x + 1", "return x + 2"),
    "a duality view": ("JSON RELATIONAL DUALITY VIEW", "VIEW"),
}


@pytest.mark.parametrize("what", sorted(DAMAGE))
def test_a_schema_that_lost_something_is_noticed(copy: Path, what: str) -> None:
    _is_noticed(copy, *DAMAGE[what])


@on_mariadb
@pytest.mark.parametrize("what", sorted(MARIADB_DAMAGE))
def test_what_a_schema_of_mariadb_lost_is_noticed(copy: Path, what: str) -> None:
    _is_noticed(copy, *MARIADB_DAMAGE[what])


@on_mysql
@pytest.mark.parametrize("what", sorted(MYSQL_DAMAGE))
def test_what_a_schema_of_mysql_lost_is_noticed(copy: Path, what: str) -> None:
    _is_noticed(copy, *MYSQL_DAMAGE[what])


def _is_noticed(copy: Path, before: str, after: str) -> None:
    asset = asset_of(copy, "comptoir")
    path = Bundle.open(copy).folder(asset) / "schema.sql"
    text = path.read_text(encoding="utf-8")
    changed = re.sub(re.escape(before), lambda _: after, text, flags=re.IGNORECASE)
    assert changed != text
    path.write_text(changed, encoding="utf-8")

    assert "data.metadata_classes_missing" in wrong(findings(copy, asset))


def test_a_lost_next_value_is_noticed(copy: Path) -> None:
    asset = asset_of(copy, "comptoir")
    path = Bundle.open(copy).folder(asset) / "database.json"
    text = path.read_text(encoding="utf-8")
    assert '"last_value": 42' in text
    path.write_text(text.replace('"last_value": 42', '"last_value": 41'), encoding="utf-8")

    assert "data.metadata_classes_missing" in wrong(findings(copy, asset))


@pytest.mark.parametrize(
    ("script", "damaged"),
    [
        ("AUTO_INCREMENT=42", "AUTO_INCREMENT=41"),
        (" AUTO_INCREMENT=42", ""),
        ("SETVAL(`suite`, 5,", "SETVAL(`suite`, 6,"),
    ],
)
@on_mariadb
def test_a_lost_next_value_in_the_script_that_a_restore_runs_is_noticed(copy: Path, script: str, damaged: str) -> None:
    asset = asset_of(copy, "comptoir")
    path = Bundle.open(copy).folder(asset) / "schema.sql"
    text = path.read_text(encoding="utf-8")
    assert script in text
    path.write_text(text.replace(script, damaged), encoding="utf-8")

    assert "data.metadata_classes_missing" in wrong(findings(copy, asset))


@on_mariadb
def test_numbers_that_are_drawn_during_the_export_are_not_called_lost(
    server: MariaDBServer, database: str, tmp_path: Path
) -> None:
    run(
        server, "CREATE TABLE va (id int AUTO_INCREMENT PRIMARY KEY)", "CREATE SEQUENCE suit INCREMENT 5 NOCACHE",
        "CREATE TABLE dort (id int AUTO_INCREMENT PRIMARY KEY)", database=database,
    )  # fmt: skip
    source = exporter(server, database)

    def draw() -> None:
        run(server, "INSERT INTO va VALUES (NULL)", "SELECT NEXTVAL(suit)", database=database)

    def dump(*given: Any, **more: Any) -> bytes:
        draw()
        return original(*given, **more)

    original = mysql_dump.schema
    asset = next(one for one in source.discover() if one.kind is Kind.DATABASE)
    with closing(source), BundleWriter(tmp_path / "b") as writer, pytest.MonkeyPatch.context() as patch:
        draw()
        patch.setattr(mysql_dump, "schema", dump)
        source.export(asset, writer)
        draw()
        writer.put_witness(asset, source.witness(asset))
        writer.close_asset(asset, exporter="test", at=AT)
        root = writer.finish(about={}, at=AT).root
    seen = Bundle.open(root).witness(asset).facts["next_values"]

    assert (seen["va"]["before"], seen["va"]["next"]) == (2, 4)
    assert (seen["suit"]["before"], seen["suit"]["next"]) == (6, 16)
    assert not wrong(findings(root, asset))
    path = Bundle.open(root).folder(asset) / "schema.sql"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("AUTO_INCREMENT=3", "AUTO_INCREMENT=5"), encoding="utf-8")
    assert findings(root, asset)["data.metadata_classes_missing"].places == (
        "sequence value of va: 5 next, at the source 2 .. 4",
    )


def test_a_schema_that_is_cut_short_is_never_a_pass(copy: Path) -> None:
    asset = asset_of(copy, "comptoir")
    path = Bundle.open(copy).folder(asset) / "schema.sql"
    text = path.read_text(encoding="utf-8")
    path.write_text(text[: text.index("CREATE TABLE `textes`") + 300], encoding="utf-8")

    with pytest.raises(Exception, match=r"cannot be read"):
        next(Metadata().verify(asset, Bundle.open(copy)))


# --- rights ------------------------------------------------------------------------------------------------------


@pytest.fixture
def reader(server: MariaDBServer, database: str) -> Iterator[str]:
    run(
        server, "DROP USER IF EXISTS lecteur@'127.0.0.1'", "CREATE USER lecteur@'127.0.0.1' IDENTIFIED BY 'lire'",
        "CREATE TABLE ouverte (a int PRIMARY KEY)", "CREATE TABLE fermee (a int)",
        "CREATE TABLE moitie (a int, `secret` int)", "INSERT INTO moitie (a, secret) VALUES (1, 2)",
        "CREATE TABLE voilee (a int, `secret` int INVISIBLE)",
        "CREATE TRIGGER cachee BEFORE INSERT ON ouverte FOR EACH ROW SET NEW.a = 1",
        "CREATE TABLE liee (a int, CONSTRAINT plus CHECK (a > 0), FOREIGN KEY vers (a) REFERENCES ouverte (a))",
        f"GRANT SELECT ON {quote(database)}.ouverte TO lecteur@'127.0.0.1'",
        f"GRANT SELECT ON {quote(database)}.liee TO lecteur@'127.0.0.1'",
        f"GRANT SELECT (a) ON {quote(database)}.moitie TO lecteur@'127.0.0.1'",
        f"GRANT SELECT (a) ON {quote(database)}.voilee TO lecteur@'127.0.0.1'",
        f"GRANT INSERT ON {quote(database)}.fermee TO lecteur@'127.0.0.1'", database=database,
    )  # fmt: skip
    yield database
    run(server, "DROP USER lecteur@'127.0.0.1'")


def test_what_may_not_be_read_is_named_with_its_grant_and_the_rest_goes_on(
    server: MariaDBServer, reader: str, tmp_path: Path
) -> None:
    bundle, refused = export(exporter(server, reader, user="lecteur"), tmp_path / "b")
    closed, half, veiled = (f"{quote(reader)}.{name}" for name in ("fermee", "moitie", "voilee"))

    assert set(refused) == {closed, half, veiled}
    assert "denied" in refused[closed].message
    assert all(refused[one].message.endswith("only these may be read: a") for one in (half, veiled))
    assert refused[half].hint == f"GRANT SELECT ON {quote(reader)}.`moitie` TO 'lecteur'@'127.0.0.1'"
    opened = next(asset for asset in bundle.assets if asset.name.endswith(".ouverte"))
    assert not wrong(findings(bundle.root, opened))


def test_what_may_be_hidden_is_never_a_whole_pass(server: MariaDBServer, reader: str, tmp_path: Path) -> None:
    bundle, _ = export(exporter(server, reader, user="lecteur"), tmp_path / "b")
    asset = next(asset for asset in bundle.assets if asset.kind is Kind.DATABASE)
    found = findings(bundle.root, asset)["data.metadata_classes_missing"]
    limits = bundle.document(asset, "database.json")["limitations"]

    assert found.coverage < 1
    assert any("TRIGGER" in one for one in limits)
    source = exporter(server, reader, user="lecteur")
    answers = list(source.check())
    source.close()  # else its snapshot keeps the tables from being dropped
    assert any(not one.ok and "TRIGGER" in one.seen and "GRANT" in one.hint for one in answers)


@on_mariadb
def test_keys_that_select_alone_does_not_show_are_no_pass(server: MariaDBServer, reader: str, tmp_path: Path) -> None:
    bundle, _ = export(exporter(server, reader, user="lecteur"), tmp_path / "b")
    asset = next(asset for asset in bundle.assets if asset.name.endswith(".liee"))
    places = wrong(findings(bundle.root, asset))["data.schema_drift_undeclared"].places

    assert [place.split("constraint ")[1].split()[0] for place in places] == ["plus"]


def test_the_rights_that_the_hint_asks_for_are_enough(server: MariaDBServer, reader: str, tmp_path: Path) -> None:
    routines = "SHOW_ROUTINE ON *.*" if server.product == "MySQL" else "SELECT ON mysql.proc"
    run(
        server, f"GRANT SELECT, SHOW VIEW, TRIGGER, EVENT ON {quote(reader)}.* TO lecteur@'127.0.0.1'",
        f"GRANT {routines} TO lecteur@'127.0.0.1'",
    )  # fmt: skip
    bundle, refused = export(exporter(server, reader, user="lecteur"), tmp_path / "b")

    assert not refused
    for asset in bundle.assets:
        found = findings(bundle.root, asset)
        assert not wrong(found)
        assert all(one.coverage == 1 for one in found.values())


@on_mysql
def test_rights_that_come_by_a_role_count_and_partly_revoked_ones_do_not(
    server: MariaDBServer, reader: str, tmp_path: Path
) -> None:
    account = "lecteur@'127.0.0.1'"
    run(
        server, "DROP ROLE IF EXISTS lecture", "CREATE ROLE lecture", f"GRANT lecture TO {account}",
        f"GRANT SELECT, SHOW VIEW, TRIGGER, EVENT ON {quote(reader)}.* TO lecture",
        "GRANT SHOW_ROUTINE ON *.* TO lecture", f"ALTER USER {account} DEFAULT ROLE lecture",
    )  # fmt: skip
    with closing(exporter(server, reader, user="lecteur")) as source:
        by_role = mysql_objects.unseen(source._session())
    run(
        server, "DROP ROLE lecture", "SET GLOBAL partial_revokes = ON",
        f"GRANT SELECT, SHOW VIEW, TRIGGER, EVENT, SHOW_ROUTINE ON *.* TO {account}",
        f"REVOKE TRIGGER ON {quote(reader)}.* FROM {account}",
    )  # fmt: skip
    try:
        with closing(exporter(server, reader, user="lecteur")) as source:
            revoked = mysql_objects.unseen(source._session())
            answers = [one for one in source.check() if not one.ok and "TRIGGER" in one.seen]
    finally:
        run(server, f"REVOKE ALL PRIVILEGES, GRANT OPTION FROM {account}", "SET GLOBAL partial_revokes = OFF")

    assert by_role == {}
    assert revoked == {"trigger": "TRIGGER"}
    assert len(answers) == 1


@on_mysql
def test_a_key_column_that_the_server_made_and_hides_leaves_and_comes_back(
    server: MariaDBServer, database: str, tmp_path: Path
) -> None:
    hidden = "show_gipk_in_create_table_and_information_schema"
    run(
        server, "SET SESSION sql_generate_invisible_primary_key = ON", "CREATE TABLE t (a int)",
        "INSERT INTO t VALUES (5), (5)", "DELETE FROM t LIMIT 1", f"SET GLOBAL {hidden} = OFF", database=database,
    )  # fmt: skip
    copy = f"{database[:50]} caché"
    try:
        bundle, refused = export(exporter(server, database), tmp_path / "b")
        base, table = sorted(bundle.assets, key=lambda one: one.kind)
        run(server, f"CREATE DATABASE {quote(copy)} CHARACTER SET utf8mb4")
        steps = list(MySQLRestorer(server.url_of("root", copy)).restore(bundle, base, [table]))
        found = run(server, "SELECT my_row_id, a FROM t", database=copy)
    finally:
        run(server, f"SET GLOBAL {hidden} = ON", f"DROP DATABASE IF EXISTS {quote(copy)}")

    assert not refused
    assert [wrong(findings(bundle.root, one)) for one in (base, table)] == [{}, {}]
    assert [one for one in steps if one.ok is not True] == []
    assert found == [(2, 5)]


def test_a_wrong_password_is_refused_without_being_told(server: MariaDBServer, monkeypatch: Any) -> None:
    monkeypatch.setenv("TEST_MYSQL", "mot-de-passe-faux")

    with pytest.raises(SourceError, match="password is refused") as caught:
        list(exporter(server).discover())
    assert "mot-de-passe" not in f"{caught.value.message}{caught.value.hint}"


@on_mariadb
def test_without_tls_at_the_server_nothing_is_sent_in_the_clear(server: MariaDBServer) -> None:
    with pytest.raises(SourceError, match=r"SSL|TLS"):
        list(exporter(server, tls="encrypt").discover())


# --- shapes and moments ------------------------------------------------------------------------------------------


def test_a_thousand_columns(server: MariaDBServer, database: str, tmp_path: Path) -> None:
    names = [f"c{n}" for n in range(1000)]
    run(
        server, f"CREATE TABLE large ({', '.join(f'{name} int' for name in names)})",
        f"INSERT INTO large VALUES ({', '.join(map(str, range(1000)))})",  # noqa: S608
        f"INSERT INTO large VALUES ({', '.join(['NULL'] * 1000)})", database=database,  # noqa: S608
    )  # fmt: skip
    bundle, refused = export(exporter(server, database), tmp_path / "b")
    asset = next(asset for asset in bundle.assets if asset.kind is Kind.TABLE)

    assert not refused
    assert not wrong(findings(bundle.root, asset))
    rows = pq.read_table(bundle.folder(asset) / "part-00000.parquet").to_pylist()
    assert [[row[name] for name in names] for row in rows] == [list(range(1000)), [None] * 1000]


def test_a_row_longer_than_a_packet(server: MariaDBServer, database: str, tmp_path: Path) -> None:
    sizes = [(1 << 24) - 1 - 10, (1 << 24) - 6, (1 << 24) - 5, (1 << 24) - 4, 1 << 24, 3, (1 << 25) + 7]
    run(server, "SET GLOBAL max_allowed_packet = 268435456")
    run(
        server, "CREATE TABLE longs (n int PRIMARY KEY, b longblob)",
        *(f"INSERT INTO longs VALUES ({n}, REPEAT(CHAR({65 + n}), {size}))" for n, size in enumerate(sizes)),  # noqa: S608
        database=database,
    )  # fmt: skip
    bundle, refused = export(exporter(server, database, part_rows=2), tmp_path / "b")
    asset = next(asset for asset in bundle.assets if asset.kind is Kind.TABLE)

    assert not refused
    assert not wrong(findings(bundle.root, asset))
    table = pa.concat_tables(pq.read_table(part) for part in bundle.parts(asset, "part-?????.parquet"))
    assert [len(one.as_py()) for one in table["b"]] == sizes


def test_rows_written_during_the_export_are_not_in_it(server: MariaDBServer, database: str, tmp_path: Path) -> None:
    run(server, "CREATE TABLE vive (a int PRIMARY KEY)", "INSERT INTO vive VALUES (1), (2)", database=database)
    source = exporter(server, database)
    table = next(asset for asset in source.discover() if asset.kind is Kind.TABLE)
    run(server, "INSERT INTO vive VALUES (3)", "DELETE FROM vive WHERE a = 1", database=database)
    with BundleWriter(tmp_path / "b") as writer:
        source.export(table, writer)
        run(server, "INSERT INTO vive VALUES (4)", database=database)
        writer.put_witness(table, source.witness(table))
        writer.close_asset(table, exporter="test", at=AT)
        bundle = writer.finish(about={"tool": "test"}, at=AT)
    source.close()

    assert pq.read_table(bundle.folder(table) / "part-00000.parquet")["a"].to_pylist() == [1, 2]
    assert not wrong(findings(bundle.root, table))


DDL = {
    "another table has its name": "RENAME TABLE t TO vieille, neuve TO t",
    "two columns changed names": "ALTER TABLE t CHANGE x y int, CHANGE y x int",
    "it was emptied": "TRUNCATE t",
}


@on_mariadb
@pytest.mark.parametrize("change", DDL)
def test_a_table_that_is_another_one_since_the_snapshot_ends_the_run(
    server: MariaDBServer, database: str, tmp_path: Path, change: str
) -> None:
    """Rows have a snapshot, definitions have none: export and witness would both read what is left, without a word."""
    run(
        server,
        "CREATE TABLE t (id int PRIMARY KEY, x int, y int)",
        f"INSERT INTO t SELECT seq, seq, -seq FROM {series(100)}",  # noqa: S608
        "CREATE TABLE neuve (id int PRIMARY KEY, x int, y int)",
        database=database,
    )
    time.sleep(1.1)  # CREATE_TIME is in seconds
    with closing(exporter(server, database)) as source, BundleWriter(tmp_path / "b") as writer:
        asset = next(one for one in source.discover() if one.name.endswith(".t"))
        run(server, DDL[change], database=database)
        with pytest.raises(SourceLostError, match="altered while the export ran"):
            source.export(asset, writer)


@on_mysql
@pytest.mark.parametrize("change", DDL)
def test_mysql_keeps_ddl_out_while_the_export_runs(
    server: MariaDBServer, database: str, tmp_path: Path, change: str
) -> None:
    """What is renamed there keeps its CREATE_TIME: nothing would tell that another table has its name."""
    run(
        server,
        "CREATE TABLE t (id int PRIMARY KEY, x int, y int)",
        f"INSERT INTO t SELECT seq, seq, -seq FROM {series(100)}",  # noqa: S608
        "CREATE TABLE neuve (id int PRIMARY KEY, x int, y int)",
        database=database,
    )
    with closing(exporter(server, database)) as source, BundleWriter(tmp_path / "b") as writer:
        asset = next(one for one in source.discover() if one.name.endswith(".t"))
        with pytest.raises(pymysql.OperationalError, match="Lock wait timeout"):
            run(server, "SET lock_wait_timeout = 1", DDL[change], database=database)
        run(server, "INSERT INTO t VALUES (101, 1, 1)", database=database)  # writers go on
        source.export(asset, writer)

        assert source.witness(asset).facts["rows"] == 100


@pytest.mark.parametrize("change", ["EXCHANGE PARTITION a WITH TABLE vide", "DROP PARTITION a"])
def test_no_partition_moves_while_the_export_runs(
    server: MariaDBServer, database: str, tmp_path: Path, change: str
) -> None:
    """EXCHANGE PARTITION would leave no trace: rows of another table would be read, and nothing would be altered."""
    run(
        server,
        "CREATE TABLE t (id int PRIMARY KEY)"
        " PARTITION BY RANGE (id) (PARTITION a VALUES LESS THAN (50), PARTITION b VALUES LESS THAN (1000))",
        f"INSERT INTO t SELECT seq FROM {series(100)}",  # noqa: S608
        "CREATE TABLE vide (id int PRIMARY KEY)",
        database=database,
    )
    with closing(exporter(server, database)) as source, BundleWriter(tmp_path / "b") as writer:
        asset = next(one for one in source.discover() if one.name.endswith(".t"))
        with pytest.raises(pymysql.OperationalError, match="Lock wait timeout"):
            run(server, "SET lock_wait_timeout = 1", f"ALTER TABLE t {change}", database=database)
        source.export(asset, writer)

        assert source.witness(asset).facts["rows"] == 100


def test_tables_of_two_moments_never_mix_in_one_export(server: MariaDBServer, database: str, tmp_path: Path) -> None:
    run(server, "CREATE TABLE a (x int)", "CREATE TABLE b (x int)", database=database)
    with closing(exporter(server, database)) as source, BundleWriter(tmp_path / "b") as writer:
        one, other = [asset for asset in source.discover() if asset.kind is Kind.TABLE]
        source.export(one, writer)
        source._session().abandon()
        with pytest.raises(SourceLostError, match="the snapshot that the export began with"):
            source.export(other, writer)


def test_a_table_without_snapshots_is_said_to_be_so(server: MariaDBServer, database: str, tmp_path: Path) -> None:
    engine = "MyISAM" if server.product == "MySQL" else "Aria"
    run(server, f"CREATE TABLE aria (a int) ENGINE={engine}", "INSERT INTO aria VALUES (1)", database=database)
    source = exporter(server, database)
    with BundleWriter(tmp_path / "b") as writer:
        for asset in source.discover():
            source.export(asset, writer)
            if asset.kind is Kind.TABLE:
                run(server, "INSERT INTO aria VALUES (2)", database=database)
            writer.put_witness(asset, source.witness(asset))
            writer.close_asset(asset, exporter="test", at=AT)
        bundle = writer.finish(about={"tool": "test"}, at=AT)
    source.close()
    whole, table = sorted(bundle.assets, key=lambda asset: asset.kind is Kind.TABLE)

    assert any("has no snapshots" in one for one in bundle.document(whole, "database.json")["limitations"])
    assert f"outside any snapshot (engine {engine})" in bundle.witness(table).method
    assert wrong(findings(bundle.root, table))["data.rows_missing"].value == 1


@pytest.mark.parametrize("product", ["MariaDB", pytest.param("MySQL", marks=pytest.mark.slow)])
def test_a_server_killed_in_mid_export_gives_one_clear_line_and_the_same_command_finishes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, product: str
) -> None:
    with started(product, tmp_path / "server") as server:
        monkeypatch.setenv("TEST_MYSQL", server.password)
        run(
            server, "CREATE TABLE t (a bigint PRIMARY KEY, b varchar(200))",
            f"INSERT INTO t SELECT seq, REPEAT('x', 100) FROM {series(200000)}",  # noqa: S608
        )  # fmt: skip
        source = exporter(server, part_rows=20_000)
        table = next(asset for asset in source.discover() if asset.kind is Kind.TABLE)
        original = mysql_text.blocks

        def killing(answer: Any, columns: Any) -> Iterator[Any]:
            for n, block in enumerate(original(answer, columns)):
                if n == 1:
                    server.stop(signal_number=signal.SIGKILL)
                yield block

        with pytest.MonkeyPatch.context() as planted, BundleWriter(tmp_path / "b") as writer:
            planted.setattr(mysql_text, "blocks", killing)
            with pytest.raises(SourceError, match=r"connection to .* was lost while reading") as caught:
                source.export(table, writer)
        assert "\n" not in caught.value.message
        assert not (tmp_path / "b").exists()
        server.restart()
        bundle, refused = export(source, tmp_path / "b")

        assert not refused
        assert not wrong(findings(bundle.root, table))


def test_a_reader_that_stops_leaves_the_snapshot_alive(server: MariaDBServer, database: str) -> None:
    run(
        server,
        "CREATE TABLE t (a int, b char(200))",
        f"INSERT INTO t SELECT seq, 'x' FROM {series(100000)}",  # noqa: S608
        database=database,
    )
    source = exporter(server, database)
    session = source._session()
    for stream in (mysql_protocol.text_rows, mysql_protocol.binary_rows):
        answer = stream(session, "SELECT a, b FROM t")
        assert len(next(answer).starts if stream is mysql_protocol.text_rows else [1])  # type: ignore[attr-defined]
        if stream is mysql_protocol.binary_rows:
            next(answer)
        answer.close()

        assert session.rows("SELECT COUNT(*) FROM t") == [(100000,)]
    source.close()


def test_importing_the_exporter_loads_no_driver() -> None:
    code = "import sys, reversible_exporters.mysql, reversible_exporters.mysql_restore; print('pymysql' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "False"
