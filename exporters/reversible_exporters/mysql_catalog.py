"""What is in the database? information_schema shows what the user may see; SHOW CREATE TABLE shows all columns."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from reversible.errors import SourceError
from reversible_exporters.mysql_session import Session, driver, quote
from reversible_exporters.mysql_types import Column

_TRANSACTIONAL = frozenset({"InnoDB", "RocksDB", "ROCKSDB", "ndbcluster", "TokuDB"})
_DENIED = 1142  # ER_TABLEACCESS_DENIED_ERROR
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*")
_TOKEN = re.compile(r"`(?:[^`]|``)*`|'(?:[^'\\]|\\.|'')*'|[(),]|[^`'(),]+", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table whose rows are exported, with all its partitions."""

    database: str
    relation: str
    kind: str  # TABLE_TYPE: "BASE TABLE", "SYSTEM VERSIONED", "SEQUENCE"
    engine: str
    rows: int | None
    size_bytes: int | None
    comment: str

    @property
    def name(self) -> str:
        """ "database.table", quoted where a name is not plain."""
        return shown(self.database, self.relation)

    @property
    def source(self) -> str:
        return f"{quote(self.database)}.{quote(self.relation)}"

    @property
    def in_snapshot(self) -> bool:
        """Whether the engine has snapshots: MyISAM, Aria and MEMORY show what is there when they are asked."""
        return self.engine in _TRANSACTIONAL


def shown(*names: str) -> str:
    return ".".join(name if _PLAIN_NAME.fullmatch(name) else quote(name) for name in names)


def tables(session: Session) -> list[Table]:
    """Every table of the database in a stable order, sequences of MariaDB left out."""
    found = session.named(
        "SELECT table_name, table_type, engine, table_rows, data_length, table_comment, create_options"
        " FROM information_schema.tables WHERE table_schema = %s ORDER BY CAST(table_name AS BINARY)",
        (session.database,),
    )
    return [
        Table(
            database=session.database, relation=one["table_name"], kind=one["table_type"], engine=one["engine"] or "",
            rows=None if one["table_rows"] is None else int(one["table_rows"]),
            size_bytes=None if one["data_length"] is None else int(one["data_length"]),
            comment=one["table_comment"] or "",
        )
        for one in found
        if one["table_type"] in ("BASE TABLE", "SYSTEM VERSIONED")
    ]  # fmt: skip


def libraries(session: Session) -> list[str]:
    """What MySQL's routines in JavaScript use, since 9.2."""
    if session.is_mariadb or not session.rows("SHOW TABLES FROM information_schema LIKE 'LIBRARIES'"):
        return []
    query = "SELECT library_name FROM information_schema.libraries WHERE library_schema = %s ORDER BY 1"
    return [str(name) for (name,) in session.rows(query, (session.database,))]


def hides_keys(session: Session) -> bool:
    """Whether the server hides key columns that it made itself from other sessions than ours, as a dump program's."""
    known = session.rows("SHOW GLOBAL VARIABLES LIKE 'show_gipk_in_create_table_and_information_schema'")
    return bool(known) and known[0][1] == "OFF"


def sequences(session: Session) -> list[str]:
    """The names of MariaDB's sequences."""
    found = session.named(
        "SELECT table_name FROM information_schema.tables WHERE table_schema = %s AND table_type = 'SEQUENCE'"
        " ORDER BY CAST(table_name AS BINARY)",
        (session.database,),
    )
    return [one["table_name"] for one in found]


def columns(session: Session, table: Table) -> list[Column]:
    """The table's columns in their order, invisible ones too.

    Raises:
        SourceError: a column is there that the user may not see: information_schema leaves it out without a word.
    """
    found = session.named(
        "SELECT column_name, column_type, data_type, character_set_name, collation_name, numeric_precision,"
        " numeric_scale, datetime_precision, is_nullable, column_default, column_comment, extra, generation_expression"
        " FROM information_schema.columns WHERE table_schema = %s AND table_name = %s ORDER BY ordinal_position",
        (table.database, table.relation),
    )
    listed = [_column(session, one) for one in found]
    hidden = [name for name in declared_columns(session, table) if name not in {one.name for one in listed}]
    if hidden:
        raise SourceError(
            f"table {table.name}: SELECT denied to {session.role} for column {hidden[0]}"
            + (f" and {len(hidden) - 1} more" if len(hidden) > 1 else ""),
            hint=grant(session, table),
        )
    return listed


def declared_columns(session: Session, table: Table) -> list[str]:
    """The columns' names as the table's own definition has them, whoever asks."""
    return [_unquoted(item[0]) for item in _items(_definition(session, table)) if item[0].startswith("`")]


def _items(definition: str) -> list[list[str]]:
    """What stands between the commas of CREATE TABLE's parentheses, as tokens without white space around them."""
    items: list[list[str]] = [[]]
    depth = 0
    for token in _TOKEN.findall(definition[definition.index("(") :]):
        depth -= token == ")"  # noqa: S105
        if token == ")" and depth == 0:  # noqa: S105 - a parenthesis
            break
        if token == "," and depth == 1:  # noqa: S105
            items.append([])
        elif depth and token.strip():
            items[-1].append(token.strip())
        depth += token == "("  # noqa: S105
    return [item for item in items if item]


def _unquoted(name: str) -> str:
    return name[1:-1].replace("``", "`")


def _definition(session: Session, table: Table) -> str:
    """SHOW CREATE TABLE, which asks for a right on the whole table.

    Raises:
        SourceError: the user has rights on some columns only, so that the others cannot be told.
    """
    pymysql = driver()
    try:
        return str(session.rows(f"SHOW CREATE TABLE {table.source}")[0][1])
    except pymysql.OperationalError as error:
        if error.args[0] != _DENIED:
            raise
        listed = session.rows(
            "SELECT column_name FROM information_schema.columns WHERE table_schema = %s AND table_name = %s"
            " ORDER BY ordinal_position",
            (table.database, table.relation),
        )
        seen = f"of its columns only these may be read: {', '.join(str(name) for (name,) in listed) or 'none'}"
        raise SourceError(
            f"table {table.name}: SELECT denied to {session.role} on the whole table; {seen}",
            hint=grant(session, table),
        ) from error


def keys(session: Session, table: Table, columns: Sequence[Column]) -> dict[str, Any]:
    """primary_key, unique, foreign_keys, checks and comment, as table.json holds them."""
    document: dict[str, Any] = {"primary_key": [], "unique": [], "foreign_keys": [], "checks": []}
    collated = {one.name: one.collation for one in columns if one.collation}
    for name, parts in _indexes(session, table).items():
        if name == "PRIMARY":
            document["primary_key"] = parts
        else:
            document["unique"].append({"name": name, "columns": parts})
    for one in _foreign_keys(session, table):
        collations = sorted({collated[name] for name in one["columns"] if name in collated})
        document["foreign_keys"].append({**one, "collations": collations})
    document["checks"] = [{"name": name, "definition": clause} for name, clause in checks(session, table)]
    document["comment"] = table.comment or None
    return document


def checks(session: Session, table: Table) -> list[tuple[str, str]]:
    """Name and condition of the table's CHECKs. MySQL names them in table_constraints, MariaDB in their own view."""
    if session.is_mariadb:
        query = """SELECT constraint_name, check_clause FROM information_schema.check_constraints
                    WHERE constraint_schema = %s AND table_name = %s ORDER BY CAST(constraint_name AS BINARY)"""
    else:
        query = """SELECT c.constraint_name, check_clause FROM information_schema.table_constraints t
                     JOIN information_schema.check_constraints c USING (constraint_schema, constraint_name)
                    WHERE t.constraint_schema = %s AND t.table_name = %s AND constraint_type = 'CHECK'
                    ORDER BY CAST(c.constraint_name AS BINARY)"""
    found = session.rows(query, (table.database, table.relation))
    return [(str(name), worded(session, clause)) for name, clause in found]


def worded(session: Session, expression: Any) -> str:
    """An expression of information_schema as SHOW CREATE TABLE words it: MySQL's view escapes its quotes once more."""
    text = _text(expression)
    return text if session.is_mariadb else re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL)


def constraints(session: Session, table: Table) -> list[list[Any]]:
    """[name, kind, columns] of the table's keys and checks, from SHOW INDEX and the table's own definition.

    information_schema, which `keys` asks, hides foreign keys and checks from a user who has SELECT and nothing else:
    the two then differ, and a verifier says so.
    """
    shown_indexes = session.named(f"SHOW INDEX FROM {table.source}")
    partial = {one["key_name"] for one in shown_indexes if one["column_name"] is None or one["sub_part"] is not None}
    unique: dict[str, list[str]] = {}
    for one in shown_indexes:
        if not int(one["non_unique"]) and one["key_name"] not in partial:  # over a part of a column: no key of values
            unique.setdefault(one["key_name"], []).append(one["column_name"])
    found: list[list[Any]] = [[name, "p" if name == "PRIMARY" else "u", of] for name, of in unique.items()]
    for item in _items(_definition(session, table)):
        words = [token.upper() for token in item]
        if words[0] == "CONSTRAINT" and words[2] == "FOREIGN KEY":
            of = [_unquoted(token) for token in item[4 : item.index(")")] if token.startswith("`")]
            found.append([_unquoted(item[1]), "f", of])
        elif words[0] == "CONSTRAINT" and words[2] == "CHECK":
            found.append([_unquoted(item[1]), "c", []])
        elif item[0].startswith("`") and any(
            word.split()[-1:] == ["CHECK"] for word in words[1:] if word[0] not in "`'"
        ):
            found.append([_unquoted(item[0]), "c", []])  # MariaDB names a column's own check after the column
    return found


_CREATED = {"TABLE": 1, "VIEW": 1, "SEQUENCE": 1, "FUNCTION": 2, "PROCEDURE": 2, "LIBRARY": 2, "TRIGGER": 2, "EVENT": 3}


def create_statement(session: Session, kind: str, name: str) -> str | None:
    """SHOW CREATE of the database's object; None where its definition is hidden from the user."""
    found = session.rows(f"SHOW CREATE {kind} {quote(session.database)}.{quote(name)}")[0][_CREATED[kind]]
    return None if found is None else _text(found)


def history_rows(session: Session, table: Table) -> int:
    """Rows of a system-versioned table that are no longer current."""
    everything = session.rows(f"SELECT COUNT(*) FROM {table.source} FOR SYSTEM_TIME ALL")[0][0]  # noqa: S608
    return int(everything) - int(session.rows(f"SELECT COUNT(*) FROM {table.source}")[0][0])  # noqa: S608


def grant(session: Session, table: Table | None = None, *, routines: bool = False) -> str:
    """The statement to ask an administrator for."""
    user, _, host = session.role.rpartition("@")
    account = f"'{user}'@'{host}'"
    if routines:
        return f"GRANT {'SELECT ON mysql.proc' if session.is_mariadb else 'SHOW_ROUTINE ON *.*'} TO {account}"
    if table is not None:
        return f"GRANT SELECT ON {table.source} TO {account}"
    return f"GRANT SELECT, SHOW VIEW, TRIGGER, EVENT ON {quote(session.database)}.* TO {account}"


def _column(session: Session, one: dict[str, Any]) -> Column:
    extra = str(one["extra"] or "")
    default = one["column_default"]
    if default is not None:
        default = worded(session, default) if "DEFAULT_GENERATED" in extra else _text(default)
    expression = one["generation_expression"] or None
    identity = "auto_increment" if "auto_increment" in extra.lower() else None
    kind = "VIRTUAL" if "VIRTUAL" in extra.upper() else "STORED"
    return Column(
        name=one["column_name"], source_type=_text(one["column_type"]), base=str(one["data_type"]).lower(),
        charset=one["character_set_name"], collation=one["collation_name"],
        precision=int(one["numeric_precision"] or 0),
        scale=None if one["numeric_scale"] is None else int(one["numeric_scale"]),
        fraction=int(one["datetime_precision"] or 0), nullable=one["is_nullable"] == "YES",
        default=None if expression else default,
        comment=one["column_comment"] or None, identity=identity,
        generated=f"{kind}: {worded(session, expression)}" if expression else None,
        invisible="INVISIBLE" in extra.upper(),
    )  # fmt: skip


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _indexes(session: Session, table: Table) -> dict[str, list[str]]:
    """The columns of each unique index over whole columns: one over expressions or prefixes is no key."""
    found = session.named(
        "SELECT index_name, column_name, sub_part FROM information_schema.statistics"
        " WHERE table_schema = %s AND table_name = %s AND non_unique = 0"
        " ORDER BY index_name <> 'PRIMARY', CAST(index_name AS BINARY), seq_in_index",
        (table.database, table.relation),
    )
    by_name: dict[str, list[str]] = {}
    partial = {one["index_name"] for one in found if one["column_name"] is None or one["sub_part"] is not None}
    for one in found:
        if one["index_name"] not in partial:
            by_name.setdefault(one["index_name"], []).append(one["column_name"])
    return by_name


def _foreign_keys(session: Session, table: Table) -> list[dict[str, Any]]:
    found = session.named(
        "SELECT constraint_name, column_name, referenced_table_schema, referenced_table_name, referenced_column_name"
        " FROM information_schema.key_column_usage WHERE constraint_schema = %s AND table_schema = %s"
        " AND table_name = %s AND referenced_table_name IS NOT NULL"
        " ORDER BY CAST(constraint_name AS BINARY), ordinal_position",
        (table.database, table.database, table.relation),
    )
    keys: dict[str, dict[str, Any]] = {}
    for one in found:
        key = keys.setdefault(
            one["constraint_name"],
            {
                "name": one["constraint_name"], "columns": [], "referenced": [], "enforced": True,
                "table": shown(one["referenced_table_schema"], one["referenced_table_name"]),
            },
        )  # fmt: skip
        key["columns"].append(one["column_name"])
        key["referenced"].append(one["referenced_column_name"])
    return list(keys.values())
