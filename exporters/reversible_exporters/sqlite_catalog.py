"""What does an SQLite database hold? From its own pragmas and sqlite_schema; its SQL is never parsed."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reversible.errors import SourceError
from reversible_exporters.sqlite_session import Session, quoted
from reversible_exporters.sqlite_values import Column, class_counts, natural

_ROWID_NAMES = ("rowid", "_rowid_", "oid")
_GENERATED = {2: "virtual", 3: "stored"}


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table whose rows are exported; of kind "table", "shadow" or "virtual"."""

    name: str
    kind: str
    without_rowid: bool
    strict: bool

    @property
    def source(self) -> str:
        return f"main.{quoted(self.name)}"


def tables(session: Session) -> list[Table]:
    """Every table of the file, virtual ones too, in a stable order; SQLite's own sqlite_... tables left out."""
    found = session.names("SELECT name, type, wr, strict FROM pragma_table_list WHERE schema = 'main'")
    return sorted(
        (
            Table(name=name, kind=kind, without_rowid=bool(without), strict=bool(strict))
            for name, kind, without, strict in found
            if kind in ("table", "shadow", "virtual") and not name.lower().startswith("sqlite_")
        ),
        key=lambda table: table.name,
    )


def shadows(all_tables: list[Table], virtual: Table) -> list[str]:
    """The tables in which a virtual table keeps its content: SQLite names them after it."""
    return [one.name for one in all_tables if one.kind == "shadow" and one.name.startswith(f"{virtual.name}_")]


def columns(session: Session, table: Table) -> list[Column]:
    """The columns in their order; a rowid that no column shows comes first, as a column of its own.

    Raises:
        SourceError: all names of the rowid are taken by other columns: no query can read it.
    """
    if table.name not in session.described:
        session.described[table.name] = _columns(session, table)
    known: list[Column] = session.described[table.name]
    return known


def _columns(session: Session, table: Table) -> list[Column]:
    found = session.names("SELECT * FROM pragma_table_xinfo(?, 'main')", (table.name,))
    declared = [
        {
            "name": name, "source_type": source_type or "", "nullable": not (notnull or (table.without_rowid and pk)),
            "default": default, "key_place": pk, "generated": _GENERATED.get(hidden),
            "collation": _collation(session, table, name),
        }
        for _, name, source_type, notnull, default, pk, hidden in found if hidden != 1
    ]  # fmt: skip
    if not table.without_rowid and not _has_alias(session, table):
        taken = {str(one["name"]).lower() for one in declared}
        free = next((name for name in _ROWID_NAMES if name not in taken), None)
        if free is None:
            raise SourceError(f"table {table.name}: its columns hide the rowid under all three of its names")
        declared.insert(0, {"name": free, "source_type": "INTEGER", "nullable": False, "is_rowid": True})
    counts = class_counts(session, table.source, [str(one["name"]) for one in declared])
    return [
        Column(**one, classes=classes, stored=natural(str(one["source_type"]), classes))
        for one, classes in zip(declared, counts, strict=True)
    ]  # fmt: skip


def _has_alias(session: Session, table: Table) -> bool:
    """Whether a column *is* the rowid (INTEGER PRIMARY KEY): then the key has no index of its own."""
    keyed = session.rows("SELECT name, type FROM pragma_table_xinfo(?, 'main') WHERE pk > 0", (table.name,))
    if len(keyed) != 1 or str(keyed[0][1]).upper() != "INTEGER":
        return False
    return not session.rows("SELECT 1 FROM pragma_index_list(?, 'main') WHERE origin = 'pk'", (table.name,))


def _collation(session: Session, table: Table, column: str) -> str | None:
    """How the column's values compare, as far as an index tells; None: by bytes, or not known."""
    found = session.rows(
        """SELECT x.coll FROM pragma_index_list(?, 'main') i, pragma_index_xinfo(i.name, 'main') x
            WHERE x.name = ? AND i.origin IN ('pk', 'u') AND x.coll <> 'BINARY' LIMIT 1""", (table.name, column),
    )  # fmt: skip
    return str(found[0][0]) if found else None


def keys(session: Session, table: Table, own: list[Column]) -> dict[str, Any]:
    """primary_key, unique, foreign_keys, checks and comment, as table.json holds them. CHECKs stand in schema.sql."""
    primary = [one.name for one in sorted(own, key=lambda one: one.key_place) if one.key_place]
    unique = [
        {"name": name, "columns": [row[0] for row in session.names(_INDEX_COLUMNS, (name,))]}
        for name, in session.names("SELECT name FROM pragma_index_list(?, 'main') WHERE origin = 'u' ORDER BY name",
                                   (table.name,))
    ]  # fmt: skip
    return {
        "primary_key": primary, "unique": unique, "foreign_keys": _foreign_keys(session, table, own), "checks": [],
        "comment": None,
    }  # fmt: skip


_INDEX_COLUMNS = "SELECT name FROM pragma_index_info(?, 'main') ORDER BY seqno"


def _foreign_keys(session: Session, table: Table, own: list[Column]) -> list[dict[str, Any]]:
    grouped: dict[int, list[tuple[Any, ...]]] = {}
    for row in session.names(
        'SELECT id, seq, "table", "from", "to" FROM pragma_foreign_key_list(?, \'main\') ORDER BY id, seq',
        (table.name,),
    ):
        grouped.setdefault(row[0], []).append(row)
    if not grouped:
        return []
    known = {one.name.lower(): one for one in tables(session)}
    result = []
    for number, rows in grouped.items():
        parent = known.get(str(rows[0][2]).lower())
        theirs = columns(session, parent) if parent is not None else []
        referenced = [row[4] for row in rows]
        if None in referenced:  # REFERENCES parent: its primary key is meant
            referenced = [one.name for one in sorted(theirs, key=lambda one: one.key_place) if one.key_place]
        why = _not_followed(session, table, number, [row[3] for row in rows], own, referenced, theirs)
        by_name = {one.name.lower(): one.name for one in theirs}
        result.append(
            {
                "name": f"foreign key {number}", "columns": [row[3] for row in rows],
                "table": parent.name if parent is not None else rows[0][2],
                "referenced": [by_name.get(str(name).lower(), name) for name in referenced],
                "enforced": not why, "why_not_followed": why,
            }
        )  # fmt: skip
    return result


def _not_followed(
    session: Session, table: Table, number: int, names: list[str], own: list[Column], referenced: list[str],
    theirs: list[Column],
) -> str:  # fmt: skip
    """Why the key cannot be followed value by value in the copy; "" when it can.

    SQLite checks foreign keys only when the application asks for it, and compares them under the parent's affinity
    and collation, so that 5 may refer to '5'.
    """
    if not theirs or len(names) != len(referenced):
        return "the table or key that it names does not exist"
    try:
        query = f"SELECT 1 FROM pragma_foreign_key_check({_literal(table.name)}) WHERE fkid = ? LIMIT 1"  # noqa: S608
        broken = session.rows(query, (number,))
    except session.connection.OperationalError as error:
        return f"SQLite cannot check it: {error}"
    if broken:
        return "rows of the source itself refer to nothing"
    mine = {one.name.lower(): one for one in own}
    there = {one.name.lower(): one for one in theirs}
    for left, right in zip(names, referenced, strict=True):
        one, other = mine[left.lower()], there.get(right.lower())
        if other is None or one.stored != other.stored:
            return "it joins two storage classes"
        if not (one.pure and other.pure) or one.collation or other.collation:
            return "the source compares it by affinity or collation"
    return ""


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def constraints(session: Session, table: Table) -> list[list[Any]]:
    """[name, kind, columns] of the keys, asked in other words than `keys`: for the witness."""
    found: list[list[Any]] = []
    key = session.names(
        "SELECT json_group_array(name) FROM (SELECT name FROM pragma_table_info(?, 'main') WHERE pk ORDER BY pk)",
        (table.name,),
    )[0][0]
    if key != "[]":
        found.append(["primary key", "p", _strings(key)])
    for name, listed in session.names(_UNIQUE, (table.name,)):
        found.append([name, "u", _strings(listed)])
    for number, listed in session.names(_FOREIGN, (table.name,)):
        found.append([f"foreign key {number}", "f", _strings(listed)])
    return sorted(found)


_UNIQUE = """
SELECT i.name, json_group_array(x.name)
  FROM sqlite_schema m, pragma_index_list(m.name, 'main') i, pragma_index_xinfo(i.name, 'main') x
 WHERE m.name = ? AND m.type = 'table' AND i.origin = 'u' AND x.key GROUP BY i.name"""
_FOREIGN = """
SELECT f.id, json_group_array(f."from") FROM sqlite_schema m, pragma_foreign_key_list(m.name, 'main') f
 WHERE m.name = ? AND m.type = 'table' GROUP BY f.id"""


def _strings(text: str) -> list[str]:
    return [str(one) for one in json.loads(text)]


@dataclass(frozen=True)
class Definition:
    """A row of sqlite_schema that has SQL: its kind is "table", "virtual table", "index", "view" or "trigger"."""

    kind: str
    name: str
    sql: str


def definitions(session: Session) -> list[Definition]:
    """Everything that SQL created, in the order in which it can be created again. Shadow tables come by themselves."""
    kinds = {table.name: table.kind for table in tables(session)}
    order = {"table": 0, "virtual table": 1, "index": 2, "view": 3, "trigger": 4}
    found = [
        Definition("virtual table" if kinds.get(name) == "virtual" else kind, name, sql)
        for kind, name, sql in session.names("SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL")
        if not name.lower().startswith("sqlite_") and not (kind == "table" and kinds.get(name) == "shadow")
    ]
    return sorted(found, key=lambda one: order[one.kind])  # stable: within a kind, as they were created


def witnessed(session: Session) -> list[list[str]]:
    """[kind, name, SQL] of the same, spelled by the engine in hexadecimal and sorted out by the engine."""
    query = """SELECT CASE WHEN l.type = 'virtual' THEN 'virtual table' ELSE m.type END,
                      hex(CAST(m.name AS BLOB)), hex(CAST(m.sql AS BLOB))
                 FROM sqlite_schema m LEFT JOIN pragma_table_list l
                   ON l.schema = 'main' AND l.name = m.name AND m.type = 'table'
                WHERE m.sql NOT NULL AND m.name NOT LIKE 'sqlite!_%' ESCAPE '!' AND l.type IS NOT 'shadow'"""
    return sorted(
        [kind, *(bytes.fromhex(cell).decode(session.codec) for cell in cells)] for kind, *cells in session.rows(query)
    )


def settings(session: Session) -> dict[str, Any]:
    """What the file itself is set to, as PRAGMAs set it in a new file."""
    return {name: session.value(f"PRAGMA {name}") for name in SETTINGS}


SETTINGS = ("encoding", "page_size", "auto_vacuum", "application_id", "user_version")


def sequences(session: Session) -> Mapping[str, Any]:
    """AUTOINCREMENT's memory: table -> the largest rowid that it ever gave."""
    if not session.rows("SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_sequence'"):
        return {}
    return {str(name): seq for name, seq in session.rows("SELECT name, seq FROM sqlite_sequence ORDER BY 1")}


def statistics(session: Session) -> list[str]:
    """The tables that ANALYZE filled: a cache, which ANALYZE fills again."""
    return [
        name for (name,) in session.names("SELECT name FROM sqlite_schema WHERE name LIKE 'sqlite!_stat%' ESCAPE '!'")
    ]
