"""Who loses what: the type torture through us and through peers, each value judged by the server itself.

    python benchmarks/type_torture.py --peers FOLDER      FOLDER/venv holds the peers; made when it is not there

Each peer runs behind the product's own fence: for it there is the database, and nothing else. What it looked for beyond
is printed.

Every value that a peer wrote to Parquet goes back to PostgreSQL as text, cast to its column's type, and the server says
whether it is the value that it was:

    E exact, in a type of its own    T exact, as text or bytes    F equal by SQL's =, but not identical
    N silently NULL    W silently another value, or none that the server reads    X refused with an error
"""

import argparse
import json
import os
import sys
import tempfile
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "tests"), str(HERE.parent / "tests/torture"), str(HERE)]

import type_table  # noqa: E402
from peer_environment import environment  # noqa: E402
from round_trip import Database, exported  # noqa: E402
from type_torture_peers import PACKAGES, PEERS  # noqa: E402
from type_torture_text import texts  # noqa: E402

from postgres_versions import programs  # noqa: E402
from reversible import fence  # noqa: E402
from reversible_exporters.postgres_restore_rows import exceptions, text, with_exceptions  # noqa: E402
from reversible_samples.postgres_server import PostgresServer  # noqa: E402

_MAJOR = 18
_PATIENCE_S = 1800.0
_JUDGE = """
CREATE FUNCTION public.judged(said text, type text, shown text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE back text; same boolean; comparable text := CASE type WHEN 'json' THEN 'jsonb' ELSE type END;  -- json has no =
BEGIN
  EXECUTE format('SELECT pg_catalog.format(''%%s'', %L::%s)', said, type) INTO back;
  IF back = shown THEN RETURN 'identical'; END IF;
  BEGIN
    EXECUTE format('SELECT %L::%s = %L::%s', said, comparable, shown, comparable) INTO same;
  EXCEPTION WHEN OTHERS THEN same := false; END;
  RETURN CASE WHEN same THEN 'equal' ELSE 'other' END;
EXCEPTION WHEN OTHERS THEN RETURN 'unreadable';
END $$"""
_SETTINGS = ("DateStyle = 'ISO, YMD'", "IntervalStyle = postgres", "TimeZone = UTC", "extra_float_digits = 3",
             "bytea_output = hex", "lc_monetary = 'C'")  # fmt: skip
_NATURAL_TEXT = frozenset({"text", "character varying", "character varying(5)", "character(5)", "name", '"char"',
                           "citext", "refcursor", "t.word"})  # fmt: skip
_NATURAL_BYTES = frozenset({"bytea", "t.raw"})


class Judge:
    """The server's own word on each value; `types` in the order of the tables."""

    def __init__(self, connection: "psycopg.Connection[Any]", types: list[type_table.Type]) -> None:
        self.connection = connection
        self.types = types
        for setting in _SETTINGS:
            connection.execute(f"SET {setting}".encode())
        connection.execute(_JUDGE.encode())
        self.shown = [self._shown(one) for one in types]
        self.sent = [self._sent(one) for one in types]

    def _shown(self, one: type_table.Type) -> dict[int, str | None]:
        quoted = one.slug.replace('"', '""')
        case = "CASE WHEN v IS DISTINCT FROM NULL THEN pg_catalog.format('%s', v) END"
        query = f'SELECT id, {case} FROM t."{quoted}"'  # noqa: S608 - our own names
        return dict(self.connection.execute(query.encode()).fetchall())

    def _sent(self, one: type_table.Type) -> dict[int, bytes | None]:
        """Each value in the server's binary form, which a peer may keep as it came: exact, if not readable."""
        query = "SELECT typsend::regproc::text FROM pg_type WHERE oid = %s::regtype"
        found = self.connection.execute(query, (one.ddl,)).fetchone()
        if found is None or found[0] == "-":
            return {}
        quoted = one.slug.replace('"', '""')
        try:
            query = f'SELECT id, {found[0]}(v) FROM t."{quoted}"'  # noqa: S608 - our own names
            return dict(self.connection.execute(query.encode()).fetchall())
        except psycopg.Error:
            return {}

    def verdicts(self, number: int, file: Path) -> list[str]:
        """One letter per value of the table, NULL included; X for all when the peer gave no file."""
        shown = self.shown[number]
        if not file.exists():
            return ["X"] * len(shown)
        found = pq.read_table(file)
        ids, values = found["id"].to_pylist(), found["v"]
        verdicts = self.of_values(number, ids, texts(values, self.types[number].ddl), values.type)
        chunks = [chunk.storage if isinstance(chunk, pa.ExtensionArray) else chunk for chunk in values.chunks]
        if not chunks or not _is_bytes(chunks[0].type) or self.types[number].ddl in _NATURAL_BYTES:
            return verdicts
        raw = dict(zip(map(int, ids), (one for chunk in chunks for one in chunk.to_pylist()), strict=True))
        sent = self.sent[number]
        return [
            "T" if raw.get(row) is not None and raw[row] == sent.get(row) else letter
            for row, letter in zip(self.shown[number], verdicts, strict=True)
        ]

    def of_values(self, number: int, ids: list[int], said: list[str | None], kind: pa.DataType) -> list[str]:
        """The same of texts, in the order of the table's ids; a row that is not there is a lost one."""
        by_id = dict(zip((int(one) for one in ids), said, strict=True))
        ddl = self.types[number].ddl
        natural = ddl in _NATURAL_TEXT or (ddl in _NATURAL_BYTES and _is_bytes(kind))
        as_text = _is_text(kind) and not natural
        return [
            "N" if row not in by_id else self._one(by_id[row], shown, ddl, "T" if as_text else "E")
            for row, shown in self.shown[number].items()
        ]

    def _one(self, said: str | None, shown: str | None, ddl: str, exact: str) -> str:
        if said is None or shown is None:
            return exact if said is shown else "N" if said is None else "W"
        row = self.connection.execute(
            "SELECT public.judged(%s, %s, %s)", (said.replace("\0", ""), ddl, shown)
        ).fetchone()
        answer = "unreadable" if row is None else row[0]
        return {"identical": exact, "equal": "F"}.get(answer, "W")


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _is_text(kind: pa.DataType) -> bool:
    if isinstance(kind, pa.BaseExtensionType):
        return _is_text(kind.storage_type)
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    checks = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, _is_bytes)
    return any(check(kind) for check in checks)


def ours(judge: Judge, database: Database, folder: Path) -> list[list[str]]:
    """Our own bundle through the same judge: the typed column, with the sidecar applied as any reader must."""
    bundle = exported(database, folder / "bundle")
    tables = {asset.name: asset for asset in bundle.assets}
    found = []
    with database.connected() as connection:
        for number, one in enumerate(judge.types):
            row = connection.execute("SELECT %s::regclass::text", (f't."{one.slug.replace(chr(34), chr(34) * 2)}"',))
            asset = tables["t." + str(row.fetchone()[0]).removeprefix("t.")]  # type: ignore[index]
            part = bundle.folder(asset) / "part-00000.parquet"
            table = pq.read_table(part)
            values = text(table["v"].combine_chunks())
            odd = exceptions(part, ["id", "v"], table.num_rows).get("v", {})
            said = with_exceptions(values, odd, 0).to_pylist()
            found.append(judge.of_values(number, table["id"].to_pylist(), said, table["v"].type))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", type=Path, required=True, help="a folder with venv/, the peers' environment")
    parser.add_argument("--only", action="append", default=[], help="a peer's name; may be repeated")
    parser.add_argument("--json", type=Path, help="also write every verdict here")
    given = parser.parse_args()
    python = environment(given.peers / "venv", PACKAGES)
    with (
        tempfile.TemporaryDirectory() as scratch,
        PostgresServer(Path(scratch) / "s", programs=programs(_MAJOR)) as server,
    ):
        database = Database(server)
        types = _fill(database)
        tables = Path(scratch) / "tables.json"
        url = database.url.replace("@", f":{server.password}@", 1)
        tables.write_text(json.dumps({"url": url, "tables": [one.slug for one in types]}), encoding="utf-8")
        with database.connected() as connection:
            judge = Judge(connection, types)
            results = {"reversible": ("", ours(judge, database, Path(scratch)))}
            for peer in given.only or PEERS:
                results[peer] = _peer(judge, peer, python, tables, server.port)
                print(f"{peer}: {dict(Counter(letter for one in results[peer][1] for letter in one))}", file=sys.stderr)
    print(rendered(types, results))
    if given.json:
        document = {
            peer: {
                "version": version,
                "verdicts": dict(zip((one.ddl for one in types), map("".join, rows), strict=True)),
            }
            for peer, (version, rows) in results.items()
        }
        given.json.write_text(json.dumps(document, ensure_ascii=False, indent=1), encoding="utf-8")


def _fill(database: Database) -> list[type_table.Type]:
    known = frozenset(name for (name,) in database.rows("SELECT name::text FROM pg_available_extensions"))
    types = type_table.known(_MAJOR, known)
    with database.connected() as connection:
        for statement in type_table.script(types, _MAJOR, arrays=False):
            connection.execute(statement.encode())
    return types


def _peer(judge: Judge, peer: str, python: Path, tables: Path, port: int) -> tuple[str, list[list[str]]]:
    out = tables.parent / peer.replace(" ", "-")
    out.mkdir()
    done = fence.run(
        [str(python), str(HERE / "type_torture_peers.py"), peer, str(tables), str(out)],
        allow={port: ("127.0.0.1", port)}, env={"PATH": os.defpath, "HOME": str(out)}, timeout_s=_PATIENCE_S,
        kinds=("namespace", "bubblewrap"),
    )  # fmt: skip
    sought = Counter(f"{one.proto} {one.host}:{one.port}" for one in done.attempts if not one.allowed)
    if done.returncode or sought:
        said = done.stderr[-500:] if done.returncode else ""
        print(f"{peer}: ended with {done.returncode}; refused: {dict(sought)} {said}", file=sys.stderr)
    errors = out / "errors.json"
    version = json.loads(errors.read_text(encoding="utf-8"))["version"] if errors.exists() else "crashed"
    return version, [judge.verdicts(n, out / f"{n:03d}.parquet") for n in range(len(judge.types))]


def rendered(types: list[type_table.Type], results: dict[str, tuple[str, list[list[str]]]]) -> str:
    """The two tables of docs/benchmarks.md."""
    heads = [f"{peer} {version}".strip() for peer, (version, _) in results.items()]
    counts = [Counter(letter for one in rows for letter in one) for _, rows in results.values()]
    lines = [
        f"{datetime.now(UTC):%Y-%m-%d}, PostgreSQL 18.6, {len(types)} types, {sum(counts[0].values())} values.", "",
        f"| | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|",
    ]  # fmt: skip
    for title, letters in (("exact in its own type (E)", "E"), ("exact as text or bytes (T)", "T"),
                           ("equal, not identical (F)", "F"), ("**silently NULL (N)**", "N"),
                           ("**silently another value (W)**", "W"), ("refused (X)", "X")):  # fmt: skip
        lines.append(f"| {title} | {' | '.join(str(sum(one[x] for x in letters)) for one in counts)} |")
    lost = [sum(bool({"N", "W"} & set(one)) for one in rows) for _, rows in results.values()]
    failed = [sum(set(one) == {"X"} for one in rows) for _, rows in results.values()]
    lines.append(f"| types with a silent loss | {' | '.join(map(str, lost))} |")
    lines.append(f"| tables refused whole | {' | '.join(map(str, failed))} |")
    lines += ["", "Per type, one letter per value, NULL last:", "", f"| type | {' | '.join(results)} |",
              "|---" * (len(heads) + 1) + "|"]  # fmt: skip
    for number, one in enumerate(types):
        cells = ["`" + _short(rows[number]) + "`" for _, rows in results.values()]
        lines.append(f"| `{one.ddl}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def _short(letters: list[str]) -> str:
    return letters[0] * 1 + f"×{len(letters)}" if len(set(letters)) == 1 else "".join(letters)


if __name__ == "__main__":
    main()
