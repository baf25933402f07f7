"""What does the server say the database holds besides rows, in other words than the dump's?

The dump is made of SHOW CREATE statements; this reads information_schema, and tells what the user cannot see there.
"""

import re
from collections.abc import Iterator
from typing import Any

from reversible_exporters.mysql_catalog import create_statement, libraries, worded
from reversible_exporters.mysql_session import Session, quote

Named = tuple[str, list[str], str]  # class, name, a fragment of SQL in the server's words; "" for the name alone

_WHOLE = ("table", "view", "routine", "trigger", "event", "sequence")  # classes that need a right to be seen
_RIGHTS = re.compile(r"(?:GRANT|REVOKE) (.*?) ON (?:TABLE )?(`(?:[^`]|``)*`|\*)\.(`(?:[^`]|``)*`|\*) (TO|FROM) ")
_COLLATIONS_SHOWN_SINCE = (10, 11)


def objects(session: Session) -> tuple[dict[str, list[list[str]]], list[list[Any]]]:
    """The classes with their objects' names, and [class, name, fragment] of what must be said of each."""
    classes: dict[str, list[list[str]]] = {}
    definitions: list[list[Any]] = []
    for reader in (_tables, _columns, _indexes, _references, _checks, _partitions, _views, _routines, _libraries,
                   _triggers, _events, _sequences):  # fmt: skip
        for kind, name, fragment in reader(session):
            if not fragment:
                classes.setdefault(kind, []).append(name)
            else:
                definitions.append([kind, name, fragment])
    return {kind: sorted(names) for kind, names in sorted(classes.items())}, sorted(definitions)


def next_values(session: Session) -> dict[str, dict[str, Any]]:
    """What each AUTO_INCREMENT and each sequence would give next, by table or sequence, and how it goes on.

    From information_schema and the sequences themselves.
    """
    found = session.named(
        "SELECT table_name, auto_increment FROM information_schema.tables t WHERE table_schema = %s"
        " AND auto_increment IS NOT NULL AND EXISTS (SELECT 1 FROM information_schema.columns c"
        " WHERE c.table_schema = t.table_schema AND c.table_name = t.table_name AND extra LIKE '%%auto_increment%%')",
        (session.database,),
    )
    values = {one["table_name"]: {"next": int(one["auto_increment"]), "increment": 1, "cycles": False} for one in found}
    return values | {
        name: {
            "next": int(row["next_not_cached_value"]), "increment": int(row["increment"]),
            "cycles": bool(row["cycle_option"]),
        }
        for name, row in _sequence_rows(session)
    }  # fmt: skip


def declared_next_values(session: Session, tables: list[str], sequences: list[str]) -> list[dict[str, Any]]:
    """The same from the tables' own definitions, as database.json holds them."""
    found = []
    for name in tables:
        text = str(session.rows(f"SHOW CREATE TABLE {quote(session.database)}.{quote(name)}")[0][1])
        options = text.rpartition("\n)")[2].split(" COMMENT=", 1)[0]
        match = re.search(r"\bAUTO_INCREMENT=(\d+)", options)
        if match or " AUTO_INCREMENT" in re.sub(r"'(?:[^'\\]|\\.|'')*'|`(?:[^`]|``)*`", "", text):
            found.append({"name": name, "last_value": int(match[1]) if match else 1, "increment": 1})
    for name in sequences:
        row = session.named(f"SELECT * FROM {quote(session.database)}.{quote(name)}")[0]  # noqa: S608
        found.append(
            {"name": name, "last_value": int(row["next_not_cached_value"]), "increment": int(row["increment"])}
        )
    return found


def unseen(session: Session) -> dict[str, str]:
    """Classes of which the user may not see all, with the right that is missing: hidden ones look like none."""
    rights = _rights(session)
    needed = {"table": "SELECT", "view": "SHOW VIEW", "trigger": "TRIGGER", "event": "EVENT"}
    lacking = {kind: right for kind, right in needed.items() if right not in rights}
    if not rights & {"routines", "SHOW_ROUTINE", "SHOW CREATE ROUTINE"}:
        lacking["routine"] = "SELECT on mysql.proc" if session.is_mariadb else "SHOW_ROUTINE"
    return lacking


def seen_share(session: Session) -> float:
    """Of the classes that a right shows, the share that the user sees whole."""
    return 1 - len(unseen(session)) / len(_WHOLE)


def _rights(session: Session) -> set[str]:
    """What the user may do in the whole database, "routines" when it reads the server's own table of them."""
    held: set[str] = set()
    everything = {"SELECT", "SHOW VIEW", "TRIGGER", "EVENT"}
    for (line,) in session.rows("SHOW GRANTS"):  # what is revoked of a global right comes last
        match = _RIGHTS.match(line)
        if match is None:
            continue  # a role's membership, or GRANT PROXY
        rights = {right.strip().upper() for right in re.sub(r"\([^)]*\)", "", match[1]).split(",")}
        rights |= everything if "ALL PRIVILEGES" in rights else set()
        database = match[2][1:-1].replace("``", "`")
        if match[4] == "FROM":  # MySQL's partial_revokes
            held -= rights if database == session.database else set()
        elif match[2] == "*":
            held |= rights | ({"routines"} if "SELECT" in rights else set())
        elif database == "mysql" and match[3] in ("*", "`proc`") and "SELECT" in rights:
            held.add("routines")
        elif match[3] == "*" and _covers(database, session.database):
            held |= rights
    return held


def _covers(pattern: str, database: str) -> bool:
    """Whether a database in a GRANT, with % and _ and their escapes, is this one."""
    parts = re.findall(r"\\.|.", pattern, re.DOTALL)
    text = "".join({"%": ".*", "_": "."}.get(part, re.escape(part[-1])) for part in parts)
    return re.fullmatch(text, database, re.DOTALL) is not None


# --- tables -----------------------------------------------------------------------------------------------------


def _tables(session: Session) -> Iterator[Named]:
    for one in _ask(
        session, "table_name, table_type, engine, table_collation, table_comment, create_options", "tables",
        "table_schema", "AND table_type IN ('BASE TABLE', 'SYSTEM VERSIONED')",
    ):  # fmt: skip
        name = [one["table_name"]]
        yield "table", name, ""
        yield "table", name, f"ENGINE = {one['engine']}"
        if one["table_comment"]:
            yield "table", name, f"COMMENT = {_literal(one['table_comment'])}"
        if _shows_collations(session, one["table_collation"]):
            yield "table", name, f"COLLATE = {one['table_collation']}"
        if not session.is_mariadb:
            yield "table", name, f"CHARSET = {_charset(one['table_collation'])}"
            for option in re.findall(r"\w+=(?:'[^']*'|\S+)", one["create_options"] or ""):
                yield "table", name, option
        if one["table_type"] == "SYSTEM VERSIONED":
            yield "table", name, "WITH SYSTEM VERSIONING"


def _columns(session: Session) -> Iterator[Named]:
    collations = {
        one["table_name"]: one["table_collation"]
        for one in _ask(session, "table_name, table_collation", "tables", "table_schema",
                        "AND table_type IN ('BASE TABLE', 'SYSTEM VERSIONED')")
    }  # fmt: skip
    for one in _ask(
        session, "table_name, column_name, column_type, is_nullable, column_default, extra, generation_expression,"
        f" collation_name, column_comment{'' if session.is_mariadb else ', srs_id'}", "columns", "table_schema",
    ):  # fmt: skip
        if one["table_name"] not in collations:
            continue  # of a view
        name = [one["table_name"], one["column_name"]]
        yield "column", name, f"{quote(one['column_name'])} {_text(one['column_type'])}"
        extra = str(one["extra"] or "").upper()
        if one["generation_expression"]:
            yield "column", name, f"GENERATED ALWAYS AS ({worded(session, one['generation_expression'])})"
        elif one["is_nullable"] == "NO" and "INVISIBLE" not in extra:
            yield "column", name, "NOT NULL"
        if one["column_default"] is not None and not one["generation_expression"]:
            yield "column", name, _default(session, one)
        if "ON UPDATE" in extra:
            yield "column", name, extra[extra.index("ON UPDATE") :].partition("(")[0]
        if one.get("srs_id") is not None:
            yield "column", name, f"SRID {one['srs_id']}"
        if one["column_comment"]:
            yield "column", name, f"COMMENT {_literal(one['column_comment'])}"
        for word in ("AUTO_INCREMENT", "INVISIBLE"):
            if word in extra:
                yield "column", name, word
        collation = one["collation_name"]
        if collation and collation != collations[one["table_name"]]:
            if _shows_collations(session, collation):
                yield "column", name, f"COLLATE {collation}"
            if _charset(collation) != _charset(collations[one["table_name"]]):
                yield "column", name, f"CHARACTER SET {_charset(collation)}"


def _default(session: Session, one: dict[str, Any]) -> str:
    """A column's default as SHOW CREATE TABLE writes it. MariaDB's view has its very words, MySQL's the value."""
    text = _text(one["column_default"])
    kind = _text(one["column_type"]).partition("(")[0]
    if session.is_mariadb:
        return f"DEFAULT {text}"
    if kind in ("binary", "varbinary"):
        return "DEFAULT"  # the view ends the value at its first zero byte
    if "DEFAULT_GENERATED" in str(one["extra"]):
        return f"DEFAULT {text}" if text.startswith("CURRENT_TIMESTAMP") else f"DEFAULT ({worded(session, text)})"
    return f"DEFAULT {text if kind == 'bit' else _literal(text)}"


def _indexes(session: Session) -> Iterator[Named]:
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    more = "" if session.is_mariadb else ", expression, is_visible"
    for one in _ask(
        session, "table_name, index_name, non_unique, seq_in_index, column_name, collation, sub_part, index_type,"
        f" index_comment{more}", "statistics", "table_schema", "ORDER BY table_name, index_name, seq_in_index",
    ):  # fmt: skip
        found.setdefault((one["table_name"], one["index_name"]), []).append(one)
    for (table, index), parts in found.items():
        yield "index", [table, index], ""
        kind = parts[0]["index_type"]
        columns = [
            (f"({worded(session, one['expression'])})" if one["column_name"] is None else quote(one["column_name"]))
            + (f"({one['sub_part']})" if one["sub_part"] and kind not in ("SPATIAL", "FULLTEXT") else "")
            + (" DESC" if one["collation"] == "D" else "")
            for one in parts
        ]
        first = f"{kind} KEY" if kind in ("SPATIAL", "FULLTEXT") else "KEY" if parts[0]["non_unique"] else "UNIQUE KEY"
        head = "PRIMARY KEY" if index == "PRIMARY" else f"{first} {quote(index)}"
        yield "index", [table, index], f"{head} ({','.join(columns)})"
        if parts[0]["index_comment"]:
            yield "index", [table, index], f"COMMENT {_literal(parts[0]['index_comment'])}"
        if parts[0].get("is_visible") == "NO":
            yield "index", [table, index], "INVISIBLE"


def _references(session: Session) -> Iterator[Named]:
    rules = {
        (one["table_name"], one["constraint_name"]): one
        for one in _ask(session, "table_name, constraint_name, delete_rule, update_rule", "referential_constraints",
                        "constraint_schema")
    }  # fmt: skip
    keys: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for one in _ask(
        session, "table_name, constraint_name, column_name, referenced_table_schema, referenced_table_name,"
        " referenced_column_name", "key_column_usage", "constraint_schema",
        "AND referenced_table_name IS NOT NULL ORDER BY table_name, constraint_name, ordinal_position",
    ):  # fmt: skip
        keys.setdefault((one["table_name"], one["constraint_name"]), []).append(one)
    for (table, name), parts in keys.items():
        own = ", ".join(quote(one["column_name"]) for one in parts)
        other = ", ".join(quote(one["referenced_column_name"]) for one in parts)
        schema = parts[0]["referenced_table_schema"]
        target = quote(parts[0]["referenced_table_name"])
        target = target if schema == session.database else f"{quote(schema)}.{target}"
        text = f"CONSTRAINT {quote(name)} FOREIGN KEY ({own}) REFERENCES {target} ({other})"
        for event in ("delete", "update"):
            rule = rules.get((table, name), {}).get(f"{event}_rule", "RESTRICT")  # hidden with SELECT alone
            if rule not in ("RESTRICT", "NO ACTION"):  # what a server writes for these differs by version
                text += f" ON {event.upper()} {rule}"
        yield "constraint", [table, name], ""
        yield "constraint", [table, name], text


def _checks(session: Session) -> Iterator[Named]:
    if session.is_mariadb:
        for one in _ask(session, "table_name, constraint_name, level, check_clause", "check_constraints",
                        "constraint_schema"):  # fmt: skip
            name = [one["table_name"], one["constraint_name"]]
            if one["level"] == "Table":
                yield "constraint", name, ""
                yield "constraint", name, f"CONSTRAINT {quote(name[1])} CHECK ({one['check_clause']})"
            else:
                yield "column", name, f"CHECK ({one['check_clause']})"
    else:
        clauses = {
            one["constraint_name"]: worded(session, one["check_clause"])
            for one in _ask(session, "constraint_name, check_clause", "check_constraints", "constraint_schema")
        }
        for one in _ask(session, "table_name, constraint_name, enforced", "table_constraints", "table_schema",
                        "AND constraint_type = 'CHECK'"):  # fmt: skip
            name = [one["table_name"], one["constraint_name"]]
            yield "constraint", name, ""
            if name[1] in clauses:  # hidden with SELECT alone
                yield "constraint", name, f"CONSTRAINT {quote(name[1])} CHECK ({clauses[name[1]]})"
            if one["enforced"] == "NO":
                yield "constraint", name, "NOT ENFORCED"


def _partitions(session: Session) -> Iterator[Named]:
    spread: dict[str, list[str]] = {}  # the partitions among which a hash spreads the rows
    for one in _ask(
        session, "DISTINCT table_name, partition_name, partition_method, partition_expression, partition_description,"
        " subpartition_method, subpartition_expression, partition_ordinal_position", "partitions", "table_schema",
        "AND partition_name IS NOT NULL ORDER BY table_name, partition_ordinal_position",
    ):  # fmt: skip
        name, method = [one["table_name"], one["partition_name"]], str(one["partition_method"])
        limit = one["partition_description"]
        if method.startswith(("RANGE", "LIST")):
            yield "partition", name, ""
            value = limit if limit == "MAXVALUE" else f"({limit})"
            words = "VALUES LESS THAN" if method.startswith("RANGE") else "VALUES IN"
            yield "partition", name, f"PARTITION {quote(name[1])} {words} {value}"
        else:
            spread.setdefault(name[0], []).append(name[1])
        for level in ("partition", "subpartition"):
            how, expression = str(one[f"{level}_method"]), one[f"{level}_expression"]
            if expression:  # between KEY and its columns an ALGORITHM may stand
                yield "table", name[:1], f"{'' if 'KEY' in how else f'{level} BY {how} '}({expression})"
    for table, names in spread.items():
        if names == [f"p{n}" for n in range(len(names))]:  # the names that the server gives
            yield "table", [table], f"PARTITIONS {len(names)}"


# --- the rest ---------------------------------------------------------------------------------------------------


def _views(session: Session) -> Iterator[Named]:
    for one in _ask(session, "table_name, view_definition, check_option, security_type", "views", "table_schema"):
        name = [one["table_name"]]
        yield "view", name, ""
        if one["view_definition"]:
            told = _body(session, "view", name[0], one["view_definition"])  # hidden without SHOW VIEW, as empty text
            yield "view", name, str(told).replace(f"{quote(session.database)}.", "")
        yield "view", name, f"SQL SECURITY {one['security_type']}"
        if one["check_option"] != "NONE":
            yield "view", name, f"WITH {one['check_option']} CHECK OPTION"


def _routines(session: Session) -> Iterator[Named]:
    for one in _ask(
        session, "routine_name, routine_type, routine_definition, dtd_identifier, is_deterministic, routine_comment",
        "routines", "routine_schema", "AND routine_type IN ('FUNCTION', 'PROCEDURE')",
    ):  # fmt: skip
        kind, name = str(one["routine_type"]).lower(), [one["routine_name"]]
        yield kind, name, ""
        if body := _body(session, kind, name[0], one["routine_definition"]):
            yield kind, name, body
        if kind == "function":
            yield kind, name, f"RETURNS {_text(one['dtd_identifier'])}"
        if one["is_deterministic"] == "YES":
            yield kind, name, "DETERMINISTIC"
        if one["routine_comment"]:
            yield kind, name, f"COMMENT {_literal(_text(one['routine_comment']))}"


def _libraries(session: Session) -> Iterator[Named]:
    for library in libraries(session):
        yield "library", [library], ""
        if body := create_statement(session, "LIBRARY", library):
            yield "library", [library], body


def _triggers(session: Session) -> Iterator[Named]:
    for one in _ask(
        session, "trigger_name, event_object_table, action_timing, event_manipulation, action_statement", "triggers",
        "trigger_schema",
    ):  # fmt: skip
        name = [one["trigger_name"]]
        yield "trigger", name, ""
        yield "trigger", name, f"{one['action_timing']} {one['event_manipulation']} ON"
        yield "trigger", name, f"{quote(one['event_object_table'])} FOR EACH ROW"
        if body := _body(session, "trigger", name[0], one["action_statement"]):
            yield "trigger", name, body


def _events(session: Session) -> Iterator[Named]:
    for one in _ask(session, "event_name, event_definition, interval_value, interval_field, status, event_comment",
                    "events", "event_schema"):  # fmt: skip
        name = [one["event_name"]]
        yield "event", name, ""
        if body := _body(session, "event", name[0], one["event_definition"]):
            yield "event", name, body
        if one["interval_field"]:
            yield "event", name, f"EVERY {one['interval_value']} {one['interval_field']}"
        if one["status"] in ("ENABLED", "DISABLED"):
            yield "event", name, str(one["status"])[:-1]
        if one["event_comment"]:
            yield "event", name, f"COMMENT {_literal(_text(one['event_comment']))}"


def _body(session: Session, kind: str, name: str, told: Any) -> str | None:
    """What a view, a routine, a trigger or an event does, as the server's own view tells it.

    MySQL's leave out what escapes a quote, and the parentheses around a join: there it is the object's own statement.
    """
    if not session.is_mariadb:
        return create_statement(session, kind.upper(), name)
    return _text(told) if told else None


def _sequences(session: Session) -> Iterator[Named]:
    for name, row in _sequence_rows(session):
        yield "sequence", [name], ""
        yield "sequence", [name], f"START WITH {row['start_value']}"
        yield "sequence", [name], f"MINVALUE {row['minimum_value']} MAXVALUE {row['maximum_value']}"
        yield "sequence", [name], f"INCREMENT BY {row['increment']}"


def _sequence_rows(session: Session) -> Iterator[tuple[str, dict[str, Any]]]:
    for one in _ask(session, "table_name", "tables", "table_schema", "AND table_type = 'SEQUENCE'"):
        rows = session.named(f"SELECT * FROM {quote(session.database)}.{quote(one['table_name'])}")  # noqa: S608
        yield one["table_name"], rows[0]


def _ask(session: Session, fields: str, view: str, schema: str, more: str = "") -> list[dict[str, Any]]:
    query = f"SELECT {fields} FROM information_schema.{view} WHERE {schema} = %s {more}"  # noqa: S608 - our words
    return session.named(query, (session.database,))


def _charset(collation: str) -> str:
    """The character set of a collation: both products name collations after it."""
    return collation.partition("_")[0]


def _shows_collations(session: Session, collation: str) -> bool:
    """Whether SHOW CREATE TABLE names a collation that is not the table's: MariaDB since 10.11, MySQL 8 for utf8mb4."""
    if not session.is_mariadb:
        return _charset(collation) == "utf8mb4"
    found = re.match(r"(\d+)\.(\d+)", session.version)
    return session.is_mariadb and found is not None and (int(found[1]), int(found[2])) >= _COLLATIONS_SHOWN_SINCE


def _literal(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "''")
    return f"'{escaped}'"


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
