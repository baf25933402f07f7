"""What is in the database? From pg_class and its kin: information_schema shows a partition and its parent alike."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from reversible_exporters.postgres_session import Session
from reversible_exporters.postgres_types import Column

Ask = Callable[[str], list[tuple[Any, ...]]]  # the rows that a server answers a query with


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table whose rows are exported: an ordinary one, or a partitioned one with all its partitions."""

    oid: int
    schema: str
    relation: str
    name: str  # quoted as DDL wants it: the owner can paste it
    kind: str  # pg_class.relkind
    rows: int | None
    size_bytes: int | None
    readable: bool
    schema_usable: bool
    writable: bool

    @property
    def source(self) -> str:
        """What SELECT reads: an inheritance parent without its children, which are tables of their own."""
        return self.name if self.kind == "p" else f"ONLY {self.name}"


def tables(session: Session) -> list[Table]:
    """Every table, foreign ones too, in a stable order; partitions belong to their parents."""
    return [
        Table(
            oid=oid, schema=schema, relation=relation, name=name, kind=kind,
            rows=int(rows) if rows is not None and rows >= 0 else None,
            size_bytes=None if size is None else int(size), readable=readable, schema_usable=usable, writable=writable,
        )
        for oid, schema, relation, name, kind, rows, size, readable, usable, writable
        in session.rows(_queries("postgres_inventory.sql")["tables"])
    ]  # fmt: skip


def closed_columns(session: Session, table: Table) -> list[str]:
    """The columns that the role may not read, when it may read others of the table; else none."""
    query = """SELECT attname::text, has_column_privilege(attrelid, attnum, 'SELECT') FROM pg_attribute
                WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped ORDER BY attnum"""
    found = session.rows(query, (table.oid,))
    return [name for name, open_ in found if not open_] if any(open_ for _, open_ in found) else []


def columns(session: Session, table: Table) -> list[Column]:
    """The table's columns in their order, with the built-in type below each domain."""
    found = session.rows(_queries("postgres_inventory.sql")["columns"], (table.oid, table.oid))
    return [
        Column(
            name=name, source_type=source_type, base=base, typmod=typmod, is_enum=is_enum, nullable=nullable,
            default=None if generated else default, collation=collation, comment=comment, identity=identity,
            generated=f"{generated}: {default}" if generated else None, domain=domain,
        )
        for name, source_type, base, typmod, is_enum, nullable, default, collation, comment, identity, generated, domain
        in found
    ]  # fmt: skip


def keys(session: Session, table: Table) -> dict[str, Any]:
    """primary_key, unique, foreign_keys, checks and comment, as table.json holds them."""
    document: dict[str, Any] = {"primary_key": [], "unique": [], "foreign_keys": [], "checks": []}
    found = session.rows(_queries("postgres_inventory.sql")["keys"], (table.oid,))
    for name, kind, definition, validated, own, referenced, target in found:
        if kind == "p":
            document["primary_key"] = own
        elif kind == "u":
            document["unique"].append({"name": name, "columns": own})
        elif kind == "c":
            document["checks"].append({"name": name, "definition": definition})
        else:
            # PERIOD (18) asks for overlap, NOT ENFORCED (18) and NOT VALID for nothing: no row can be an orphan.
            equality = validated and "PERIOD" not in definition.partition("REFERENCES")[0]
            document["foreign_keys"].append(
                {"name": name, "columns": own, "table": target, "referenced": referenced, "enforced": equality}
            )
    document["comment"] = session.rows("SELECT obj_description(%s, 'pg_class')", (table.oid,))[0][0]
    return document


def inventory(session: Session) -> dict[str, Any]:
    """database.json: what the database holds besides rows, by class and name."""
    names: dict[str, list[str]] = {}
    for kind, name in session.rows(_queries("postgres_inventory.sql")["objects"]):
        names.setdefault(kind, []).append(name)
    values = [
        {"name": name, "last_value": last, "increment": step, "start": _start(session, name) if last is None else None}
        for name, last, step in sequences(session)
    ]
    classes = {kind: sorted(found) for kind, found in sorted(names.items())}
    counts = {kind: len(found) for kind, found in classes.items()}
    return {"classes": classes, "counts": counts, "sequence_values": values}


def locale(ask: Ask) -> dict[str, Any]:
    """By which rules the database stores, sorts and compares text: what CREATE DATABASE said, which pg_dump leaves out.

    A key is null where this version has no such rule.
    """
    ((encoding, row),) = ask(
        "SELECT pg_encoding_to_char(encoding), to_jsonb(d) FROM pg_database d WHERE datname = current_database()"
    )
    providers = {"c": "libc", "i": "icu", "b": "builtin", None: "libc"}  # before 15 there was no other for a database
    return {
        "encoding": encoding, "provider": providers.get(row.get("datlocprovider"), row.get("datlocprovider")),
        "collate": row["datcollate"], "ctype": row["datctype"],
        "locale": row.get("datlocale") or row.get("daticulocale"), "rules": row.get("daticurules"),
        "version": row.get("datcollversion"),
    }  # fmt: skip


def witnessed_locale(session: Session) -> dict[str, str]:
    """Of the same what every version tells, in its own columns."""
    ((encoding, collate, ctype),) = session.rows(
        "SELECT current_setting('server_encoding'), datcollate::text, datctype::text FROM pg_database"
        " WHERE datname = current_database()"
    )
    return {"encoding": encoding, "collate": collate, "ctype": ctype}


def settings(ask: Ask) -> list[str]:
    """What ALTER DATABASE ... SET said for every role, "name=value"."""
    query = """SELECT unnest(setconfig) FROM pg_db_role_setting JOIN pg_database d ON d.oid = setdatabase
                WHERE setrole = 0 AND datname = current_database() ORDER BY 1"""
    return [str(one) for (one,) in ask(query)]


def owners_of_large_objects(session: Session) -> dict[str, str]:
    """The names behind `lomowner`, by its number."""
    query = "SELECT oid::text, rolname::text FROM pg_roles WHERE oid IN (SELECT lomowner FROM pg_largeobject_metadata)"
    return dict(session.rows(query))


def sequences(session: Session) -> list[tuple[str, int | None, int]]:
    """Each sequence's name, last value (None: never used, or not readable) and increment."""
    found = session.rows(_queries("postgres_inventory.sql")["sequences"])
    return [(name, last, step) for name, last, step in found]


def next_values(session: Session) -> dict[str, dict[str, Any]]:
    """What each sequence would give next and how it goes on, asked of the sequence itself; unreadable ones left out."""
    found: dict[str, dict[str, Any]] = {}
    readable = session.rows(
        """SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname), seqincrement, seqcycle
             FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace JOIN pg_sequence ON seqrelid = c.oid
            WHERE relpersistence <> 't' AND n.nspname !~ '^pg_' AND has_schema_privilege(n.oid, 'USAGE')
              AND CASE c.relkind WHEN 'S' THEN has_sequence_privilege(c.oid, 'SELECT') END"""
    )
    for name, increment, cycles in readable:
        ((last, used),) = session.rows(f"SELECT last_value, is_called FROM {name}")  # noqa: S608 - quoted by the server
        found[name] = {"next": last + increment if used else last, "increment": increment, "cycles": cycles}
    return found


def _start(session: Session, sequence: str) -> int | None:
    """The value that a sequence which was never used will give first; None when the role may not read it."""
    ((readable,),) = session.rows("SELECT has_sequence_privilege(%s, 'SELECT')", (sequence,))
    if not readable:
        return None
    return int(session.rows(f"SELECT last_value FROM {sequence}")[0][0])  # noqa: S608 - quoted by the server


def witnessed(session: Session) -> Mapping[str, list[list[str]]]:
    """Every object that a dump of the schema must create, by class: the raw parts of its name."""
    return {
        kind: sorted([str(part) for part in parts] for (parts,) in session.rows(query))
        for kind, query in _queries("postgres_witness.sql").items()
    }


def definitions(session: Session, classes: Mapping[str, list[list[str]]]) -> list[list[Any]]:
    """[class, name, SQL fragment] of each object in `classes`, as the server words it; columns go with their table."""
    of_class = {"function body": "function"}
    named = {kind: {tuple(name) for name in names} for kind, names in classes.items()}
    found = [
        [kind, [str(part) for part in parts], fragment]
        for kind, query in _queries("postgres_definitions.sql").items()
        for parts, fragment in session.rows(query)
        if tuple(parts[: 2 if kind == "column" else None])
        in named["table" if kind == "column" else of_class.get(kind, kind)]
    ]
    return sorted(found, key=lambda row: (row[0], row[1], row[2]))


def constraints(session: Session, table: Table) -> list[list[Any]]:
    """[name, kind, columns] of the table's keys and checks, asked in other words than `keys`."""
    query = """SELECT conname, contype::text, coalesce((SELECT array_agg(attname::text ORDER BY place)
                        FROM unnest(conkey) WITH ORDINALITY AS k(n, place)
                        JOIN pg_attribute ON attrelid = conrelid AND attnum = n), '{}')
                 FROM pg_constraint
                WHERE conrelid = %s AND conparentid = 0 AND contype IN ('p', 'u', 'f', 'c') ORDER BY 1"""
    return [[str(name), kind, list(columns)] for name, kind, columns in session.rows(query, (table.oid,))]


@cache
def _queries(name: str) -> dict[str, str]:
    """The queries of a file beside this one, each after a line "-- name: ..."."""
    text = resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
    return {
        title.strip(): query.strip().rstrip(";")
        for title, _, query in (part.partition("\n") for part in text.split("-- name: ")[1:])
    }
