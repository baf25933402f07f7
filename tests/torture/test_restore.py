"""Does a database come back from its bundle exactly, and is every way in which it did not said?"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from round_trip import Database, assets_of, exported, restored, wrong

from postgres_versions import ServerOf
from reversible.bundle.reader import Bundle
from reversible.cli.restore import status
from reversible.errors import BundleError, DestinationError, UsageError
from reversible.fingerprint import accelerator
from reversible.interfaces import Restored
from reversible_exporters import postgres_loops, postgres_restore_target
from reversible_exporters.postgres_restore import PostgresRestorer
from reversible_samples import company
from reversible_samples.postgres_server import PostgresServer

TORTURE = Path(__file__).parents[1] / "contract/postgres_torture.sql"
CONSTRUCTS = Path(__file__).with_name("constructs.sql")
SHOP = """
CREATE SCHEMA s;
CREATE TABLE s.client (id integer PRIMARY KEY, name text NOT NULL);
CREATE TABLE s.sale (id integer PRIMARY KEY, client integer REFERENCES s.client, amount numeric(10,2), at date);
INSERT INTO s.client SELECT g, 'client ' || g FROM generate_series(1, 50) g;
INSERT INTO s.sale SELECT g, 1 + g % 50, g * 1.5, CASE g WHEN 7 THEN 'infinity' ELSE date '2026-01-01' + g END
  FROM generate_series(1, 3000) g;
"""


@pytest.fixture
def source(postgres_of: ServerOf) -> Database:
    return Database(postgres_of(18))


@pytest.fixture
def target(postgres_of: ServerOf) -> Database:
    return Database(postgres_of(18))


@pytest.fixture(scope="module")
def shop(postgres_of: ServerOf, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    database = Database(postgres_of(18))
    database.run(SHOP)
    return exported(database, tmp_path_factory.mktemp("shop") / "b", part_rows=500)


def command(bundle: Bundle, target: Database, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "reversible", "restore", str(bundle.root), "--to", target.url, *arguments]


def run(bundle: Bundle, target: Database, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "PGPASSWORD": target.server.password, "REVERSIBLE_LANG": "en"}
    return subprocess.run(
        command(bundle, target, *arguments), env=environment, capture_output=True, text=True, check=False
    )


# --- it comes back ------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("compiled", [False, True])
def test_the_torture_comes_back_and_its_dump_is_identical(
    source: Database, target: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compiled: bool
) -> None:
    if compiled:  # the loops that large tables are read and hashed with
        for module in (postgres_loops, accelerator):
            for limit in ("_WORTH_LOADING", "_WORTH_COMPILING"):
                monkeypatch.setattr(module, limit, 0)
        assert postgres_loops.loops(0) is not None
    source.run(TORTURE.read_text(encoding="utf-8"))
    bundle = exported(source, tmp_path / "b", part_rows=400)

    steps = restored(bundle, target)

    assert wrong(steps) == []
    assert target.dump() == source.dump()
    _, tables = assets_of(bundle)
    assert [one.subject for one in steps if one.step == "totals"] == [asset.name for asset in tables]
    assert [one.subject for one in steps if one.step == "values"] == [asset.name for asset in tables]


@pytest.mark.slow
def test_the_demos_company_comes_back_and_its_dump_is_identical(target: Database, tmp_path: Path) -> None:
    with PostgresServer(tmp_path / "vendor") as server:
        company.load_database(server.url, "lire-seulement")
        source = Database(server, name=server.database, make=False)
        bundle = exported(source, tmp_path / "b")
        other = Database(server)

        steps = restored(bundle, other)

        assert wrong(steps) == []
        assert other.dump() == source.dump()
    refused = wrong(restored(bundle, target))
    assert refused
    assert all(one.startswith("schema ACL ") and "exit_reader" in one for one in refused)


@pytest.mark.slow
def test_every_construct_of_a_schema_comes_back(source: Database, target: Database, tmp_path: Path) -> None:
    source.run(CONSTRUCTS.read_text(encoding="utf-8"))
    bundle = exported(source, tmp_path / "b", part_rows=100)

    steps = restored(bundle, target)

    assert wrong(steps) == []
    assert target.dump() == source.dump()


@pytest.mark.slow
def test_a_sequence_goes_on_where_it_stood(source: Database, target: Database, tmp_path: Path) -> None:
    source.run("CREATE SEQUENCE a; CREATE SEQUENCE b START 5; CREATE SEQUENCE c; SELECT nextval('a'), nextval('a')")
    source.run("SELECT setval('c', 42, false)")

    restored(exported(source, tmp_path / "b"), target)

    assert target.rows("SELECT nextval('a'), nextval('b'), nextval('c')") == [(3, 5, 42)]


@pytest.mark.slow
def test_large_objects_come_back_with_their_holes_owners_and_grants(
    source: Database, target: Database, tmp_path: Path
) -> None:
    source.run("CREATE ROLE reads_objects")
    source.run("SELECT lo_from_bytea(4711, decode(repeat('00ff7a', 700000), 'hex')), lo_create(4712)")
    source.run("SELECT lo_put(4712, 1000000, 'after a hole'), lo_from_bytea(4294967295, '')")
    source.run("GRANT SELECT ON LARGE OBJECT 4711 TO reads_objects WITH GRANT OPTION; CREATE TABLE r (o oid)")
    source.run("GRANT UPDATE ON LARGE OBJECT 4712 TO PUBLIC; INSERT INTO r VALUES (4711), (4712)")
    bundle = exported(source, tmp_path / "b", part_rows=500)

    steps = restored(bundle, target)

    assert wrong(steps) == []
    assert sum(one.rows or 0 for one in steps if one.step == "objects") == 3
    assert target.dump() == source.dump()


@pytest.mark.slow
def test_an_owner_of_large_objects_comes_back_or_is_said(
    postgres_of: ServerOf, poor: PostgresServer, tmp_path: Path
) -> None:
    """Nothing but database.json tells the owner of an object that nobody was granted anything on."""
    source, target, elsewhere = Database(postgres_of(18)), Database(postgres_of(18)), Database(poor)
    source.run('CREATE ROLE "garde ""objets"""; SELECT lo_from_bytea(21, \'a\'), lo_from_bytea(22, \'b\')')
    source.run('ALTER LARGE OBJECT 21 OWNER TO "garde ""objets"""')
    bundle = exported(source, tmp_path / "b")
    steps, poorer = restored(bundle, target), restored(bundle, elsewhere)
    unowned = restored(bundle, Database(poor), owners=False)
    content = elsewhere.rows("SELECT convert_from(lo_get(21), 'UTF8')")
    elsewhere.run('CREATE ROLE "garde ""objets"""')
    again = restored(bundle, elsewhere)

    assert wrong(steps) == []
    assert target.dump() == source.dump()
    owner = "SELECT pg_get_userbyid(lomowner) FROM pg_largeobject_metadata ORDER BY oid"
    assert target.rows(owner) == [('garde "objets"',), ("postgres",)]
    assert [one for one in wrong(poorer) if one.startswith("objects")] == [
        'objects pg_catalog.pg_largeobject_metadata: owner garde "objets": role "garde "objets"" does not exist'
    ]
    assert content == [("a",)]
    assert [one for one in wrong(poorer) if one.startswith("totals")]  # the owner is another one
    assert {one.step for one in unowned if one.ok is not True} == {"totals", "values"}  # as asked: not compared
    assert not wrong(again)
    assert elsewhere.rows(owner) == [('garde "objets"',), ("postgres",)]
    for one in (source, target, elsewhere):
        one.run("ALTER LARGE OBJECT 21 OWNER TO postgres")


@pytest.mark.slow
def test_what_a_database_itself_is_set_to_is_in_the_bundle_and_what_differs_is_said(
    postgres_of: ServerOf, tmp_path: Path
) -> None:
    """pg_dump leaves it out, for it belongs to CREATE DATABASE: yet text sorts and compares by it."""
    source, target = Database(postgres_of(18)), Database(postgres_of(18))
    name = source.url.rpartition("/")[2]
    target.run(
        "CREATE DATABASE sorts_otherwise TEMPLATE template0 LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C' LOCALE 'C'"
    )
    source.run(f"ALTER DATABASE \"{name}\" SET datestyle = 'SQL, DMY'")
    source.run("CREATE TABLE t (a text)")
    bundle = exported(source, tmp_path / "b")
    (asset,) = (one for one in bundle.assets if one.kind == "database")
    document = bundle.document(asset, "database.json")
    same, other = (
        restored(bundle, target),
        restored(bundle, Database(target.server, name="sorts_otherwise", make=False)),
    )

    assert document["locale"] == {
        "encoding": "UTF8", "provider": "builtin", "collate": "C", "ctype": "C", "locale": "C.UTF-8", "rules": None,
        "version": "1",
    }  # fmt: skip
    assert document["settings"] == ["DateStyle=SQL, DMY"]
    notes = {(one.subject, one.seen) for one in other if one.step == "note"}
    setting = (f"DATABASE {name}", "at the source ALTER DATABASE … SET DateStyle=SQL, DMY; here it is not")
    assert notes == {
        setting, (f"DATABASE {name}", "locale C here, C.UTF-8 at the source: text sorts and compares otherwise"),
    }  # fmt: skip
    assert {(one.subject, one.seen) for one in same if one.step == "note"} == {setting}


# --- what the target cannot take ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def poor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A server without contrib and ICU."""
    with PostgresServer(tmp_path_factory.mktemp("poor")) as server:
        yield server


@pytest.mark.slow
def test_what_the_target_lacks_is_listed_line_by_line(
    postgres_of: ServerOf, poor: PostgresServer, tmp_path: Path
) -> None:
    source = Database(postgres_of(17))
    source.run("CREATE ROLE only_here; CREATE EXTENSION hstore; CREATE COLLATION fr (provider = icu, locale = 'fr')")
    try:
        source.run("SET allow_in_place_tablespaces = on; CREATE TABLE tags (id integer, tags hstore)")
        source.run("INSERT INTO tags VALUES (1, 'a=>1'); CREATE TABLE sorted (name text COLLATE fr)")
        source.run("CREATE TABLE plain (id integer PRIMARY KEY); INSERT INTO plain VALUES (1), (2)")
        source.run("ALTER TABLE plain OWNER TO only_here; GRANT SELECT ON tags TO only_here")
        with source.connected() as connection:
            connection.execute("SET allow_in_place_tablespaces = on")
            connection.execute("CREATE TABLESPACE elsewhere LOCATION ''")
        source.run("CREATE INDEX apart ON plain (id) TABLESPACE elsewhere")
        bundle = exported(source, tmp_path / "b")
    finally:
        source.run("DROP TABLE IF EXISTS plain; DROP OWNED BY only_here; DROP ROLE only_here")
        source.run("DROP TABLESPACE elsewhere")
    target = Database(poor)

    steps = restored(bundle, target)

    said = "\n".join(wrong(steps))
    assert 'schema EXTENSION hstore: extension "hstore" is not available' in said
    assert "schema TABLE public.tags: type" in said
    assert "rows public.tags: relation" in said
    assert "schema COLLATION public.fr: ICU is not supported in this build" in said
    assert 'schema TABLE public.plain: role "only_here" does not exist' in said
    assert 'schema INDEX public.apart: tablespace "elsewhere" does not exist' in said or "tablespace" in said
    assert "totals public.tags: the target has no such table" in said
    assert target.rows("SELECT count(*) FROM plain") == [(2,)]
    assert status(steps) == 6


@pytest.mark.slow
def test_a_second_run_takes_what_was_refused_when_the_target_was_mended(
    postgres_of: ServerOf, poor: PostgresServer, tmp_path: Path
) -> None:
    source = Database(postgres_of(18))
    source.run(
        "CREATE ROLE lender; CREATE TABLE t (id integer); INSERT INTO t VALUES (1); ALTER TABLE t OWNER TO lender"
    )
    try:
        bundle = exported(source, tmp_path / "b")
    finally:
        source.run("ALTER TABLE t OWNER TO postgres; DROP ROLE lender")
    target = Database(poor)
    first = restored(bundle, target)
    assert status(restored(bundle, Database(poor), owners=False)) == 0
    target.run("CREATE ROLE lender")

    second = restored(bundle, target)

    assert status(first) == 6
    assert status(second) == 0
    assert [(one.step, one.subject) for one in second if one.step == "schema"] == [("schema", "TABLE public.t")]
    assert target.rows("SELECT relowner::regrole::text FROM pg_class WHERE relname = 't'") == [("lender",)]
    assert target.rows("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'reversible%'") == [(0,)]


def test_a_database_that_holds_something_is_refused(shop: Bundle, target: Database) -> None:
    target.run("CREATE TABLE mine (id integer)")

    with pytest.raises(UsageError, match=r"is not empty: table public\.mine"):
        restored(shop, target)
    assert target.rows("SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace") == [(1,)]


KILLED_AT_THE_END = """
import os, signal, sys
from reversible.cli.main import main
from reversible_exporters.postgres_restore_target import Target

end = Target.end
Target.end = lambda self: (end(self), os.kill(os.getpid(), signal.SIGKILL))
sys.argv = ["reversible", *sys.argv[1:]]
main()
"""


def test_a_restore_killed_after_its_last_step_says_that_it_is_complete(shop: Bundle, target: Database) -> None:
    arguments = command(shop, target)[3:]
    environment = {**os.environ, "PGPASSWORD": target.server.password}
    killed = subprocess.run([sys.executable, "-c", KILLED_AT_THE_END, *arguments], env=environment, check=False)
    again = run(shop, target)
    target.run("UPDATE s.client SET name = name || '!' WHERE id = (SELECT min(id) FROM s.client)")
    changed = run(shop, target)

    assert killed.returncode == -signal.SIGKILL
    assert again.returncode == 0, again.stderr
    assert "it holds this bundle already: nothing was put back, all was compared" in again.stdout
    assert changed.returncode == 2
    assert "is not empty" in changed.stderr


@pytest.mark.slow
def test_a_table_that_holds_rows_is_left_alone_and_said(shop: Bundle, target: Database) -> None:
    target.run("CREATE SCHEMA s; CREATE TABLE s.client (id integer PRIMARY KEY, name text NOT NULL)")
    target.run("INSERT INTO s.client VALUES (1, 'mine')")

    steps = restored(shop, target, allow_non_empty=True)

    assert "rows s.client: the table holds rows already" in wrong(steps)
    assert "totals s.client: 50 rows at the source, 1 here" in "\n".join(wrong(steps))
    assert target.rows("SELECT name FROM s.client") == [("mine",)]
    assert status(steps) == 1


@pytest.mark.slow
def test_an_extensions_own_table_takes_the_bundles_rows(source: Database, target: Database, tmp_path: Path) -> None:
    for database, rows in ((source, "(1), (2)"), (target, "(1), (9)")):
        database.run("CREATE EXTENSION citext; CREATE TABLE config (id integer PRIMARY KEY)")
        database.run(f"INSERT INTO config VALUES {rows}; ALTER EXTENSION citext ADD TABLE config")  # noqa: S608

    steps = restored(exported(source, tmp_path / "b"), target)

    assert wrong(steps) == []
    assert target.rows("SELECT id FROM config ORDER BY 1") == [(1,), (2,)]


# --- what is not as it was ----------------------------------------------------------------------------------------


def damaged(shop: Bundle, root: Path, column: str, row: int, value: object) -> Bundle:
    """The bundle with one value changed, as an exporter's fault would have changed it."""
    copy = Bundle.open(Path(shutil.copytree(shop.root, root)))
    asset = next(asset for asset in copy.assets if asset.name == "s.sale")
    part = copy.folder(asset) / "part-00000.parquet"
    table = pq.read_table(part)
    values = table[column].to_pylist()
    values[row] = value
    place = table.schema.get_field_index(column)
    pq.write_table(
        table.set_column(place, table.schema.field(place), pa.array(values, table.schema.field(place).type)), part
    )
    return copy


@pytest.mark.slow
def test_a_value_that_differs_is_found_by_the_targets_own_engine(
    shop: Bundle, target: Database, tmp_path: Path
) -> None:
    steps = restored(damaged(shop, tmp_path / "b", "amount", 0, None), target)

    found = [one for one in steps if one.ok is False]
    assert [(one.step, one.subject) for one in found] == [("totals", "s.sale"), ("values", "s.sale")]
    assert found[0].seen.startswith("amount: {")
    assert status(steps) == 1


@pytest.mark.slow
def test_a_swap_that_no_total_shows_is_found_by_the_fingerprint(shop: Bundle, target: Database, tmp_path: Path) -> None:
    table = pq.read_table(next(iter(shop.folder(assets_of(shop)[1][1]).glob("part-00000.parquet"))))
    first, second = table["amount"][0].as_py(), table["amount"][1].as_py()
    once = damaged(shop, tmp_path / "a", "amount", 0, second)

    steps = restored(damaged(once, tmp_path / "b", "amount", 1, first), target)

    assert [(one.step, one.subject) for one in steps if one.ok is False] == [("values", "s.sale")]
    assert status(steps) == 1


@pytest.mark.slow
def test_a_row_with_a_value_and_an_exception_is_refused(shop: Bundle, target: Database, tmp_path: Path) -> None:
    bundle = damaged(shop, tmp_path / "b", "at", 6, date(2026, 1, 1))

    with pytest.raises(BundleError, match="both a value and an exception"):
        restored(bundle, target)


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([("schema", True), ("totals", True)], 0), ([("schema", False), ("totals", True)], 6),
        ([("schema", True), ("totals", None)], 3), ([("schema", False), ("totals", None)], 6),
        ([("schema", False), ("values", False)], 1), ([("totals", False), ("values", None)], 1),
    ],
)  # fmt: skip
def test_the_exit_status_is_the_worst_of_the_steps(answers: list[tuple[str, bool | None]], expected: int) -> None:
    assert status([Restored(step=step, subject="x", ok=ok) for step, ok in answers]) == expected


# --- the command --------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_command_prints_a_line_per_table_and_one_json_document(
    shop: Bundle, target: Database, postgres_of: ServerOf
) -> None:
    done = run(shop, target)

    assert done.returncode == 0, done.stderr
    assert "3,050 rows" in done.stdout
    assert done.stdout.count("equal         equal") == 2
    document = json.loads(run(shop, Database(postgres_of(18)), "--json").stdout)
    assert document["restored"]["rows"] == 3050
    assert document["status"] == 0
    assert {row["totals"]["answer"] for row in document["tables"]} == {"equal"}


@pytest.mark.slow
def test_naming_a_table_brings_only_its_rows(shop: Bundle, target: Database) -> None:
    done = run(shop, target, "s.client")

    assert done.returncode == 0, done.stderr + done.stdout
    assert "Left empty, because not asked for\n  s.sale" in done.stdout
    assert target.rows("SELECT (SELECT count(*) FROM s.client), (SELECT count(*) FROM s.sale)") == [(50, 0)]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["no.table"], "no.table is not in the bundle"),
        (["--to", "oracle://x@y/z"], "nothing restores into 'oracle'"),
        (["--to", "postgresql://u:secret@127.0.0.1/x"], "the URL holds a password"),
    ],
)
def test_a_wrong_argument_is_named(shop: Bundle, target: Database, arguments: list[str], said: str) -> None:
    done = run(shop, target, *arguments)

    assert done.returncode == 2
    assert said in done.stderr
    assert "secret" not in done.stderr


def test_a_target_that_does_not_answer_is_the_destinations_fault(shop: Bundle) -> None:
    with pytest.raises(DestinationError, match=r"127\.0\.0\.1:1/x"):
        list(PostgresRestorer("postgresql://u@127.0.0.1:1/x").restore(shop, *assets_of(shop)))


@pytest.mark.slow
@pytest.mark.parametrize("after", [0.0, 0.05, 0.2, 0.5, 1.0])
def test_a_killed_restore_goes_on(source: Database, target: Database, tmp_path: Path, after: float) -> None:
    """Killed `after` seconds from its first step on: the same command ends with the same dump."""
    source.run(SHOP)
    source.run("INSERT INTO s.sale SELECT g, 1, 1, NULL FROM generate_series(3001, 200000) g")
    bundle = exported(source, tmp_path / "b", part_rows=5000)
    environment = {**os.environ, "PGPASSWORD": target.server.password}
    process = subprocess.Popen(command(bundle, target), env=environment, stdout=subprocess.DEVNULL)
    journal = "SELECT FROM pg_namespace WHERE nspname LIKE 'reversible%'"
    while not target.rows(journal):
        assert process.poll() is None
        time.sleep(0.01)
    time.sleep(after)
    process.send_signal(signal.SIGKILL)
    process.wait()
    if target.rows(journal):  # a fast machine is done before the later ones strike
        done = run(bundle, target)

        assert done.returncode == 0, done.stderr + done.stdout
        assert "an interrupted restore is taken up" in done.stdout
    else:
        assert after >= 0.5
    assert target.dump() == source.dump()


@pytest.mark.slow
def test_two_restores_never_work_at_once(shop: Bundle, target: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(postgres_restore_target._SETTINGS, "lock_timeout", "100ms")
    os.environ["PGPASSWORD"] = target.server.password
    first = PostgresRestorer(target.url).restore(shop, *assets_of(shop))
    next(first)

    with pytest.raises(DestinationError, match="another restore is at work there"):
        restored(shop, target)
    assert status(list(first)) == 0


def test_a_lost_server_is_the_destinations_fault_and_the_same_call_goes_on(shop: Bundle, target: Database) -> None:
    os.environ["PGPASSWORD"] = target.server.password
    steps = PostgresRestorer(target.url).restore(shop, *assets_of(shop))
    next(steps)
    with psycopg.connect(target.server.url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'reversible restore'"
        )

    with pytest.raises(DestinationError, match="was lost"):
        list(steps)
    assert status(restored(shop, target)) == 0
