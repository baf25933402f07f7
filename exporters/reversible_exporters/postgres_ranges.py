"""Into which ranges is a table cut, so that workers read them side by side and a killed run repeats only some?

A range is some blocks of one heap (TID range scan, PostgreSQL 14 and later). What was read of a range stands after a
kill when the rows visible now are those that were visible then: as many, all of them older than the first snapshot,
in the same file. That costs a scan at the server and no transfer.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from reversible import __version__
from reversible.errors import SourceLostError
from reversible_exporters.postgres_catalog import Table
from reversible_exporters.postgres_session import Session
from reversible_exporters.postgres_types import Column

_TID_RANGE_SCANS = 14  # the first major version that reads a range of blocks without scanning the table
_XID_SPACE = 1 << 32  # xmin shows the low 32 bits of a transaction id

# Types whose text follows from the stored bytes alone. That of an enum, a regclass or a virtual column also follows
# from catalogs, which change without touching a row.
_FIXED_TEXT = frozenset({
    "bool", "int2", "int4", "int8", "oid", "float4", "float8", "numeric", "money", "text", "varchar", "bpchar", "name",
    "char", "bytea", "json", "jsonb", "uuid", "xml", "date", "time", "timetz", "timestamp", "timestamptz", "interval",
    "inet", "cidr", "macaddr", "macaddr8", "bit", "varbit", "point", "line", "lseg", "box", "path", "polygon", "circle",
    "int4range", "int8range", "numrange", "daterange", "tsrange", "tstzrange", "tsvector", "tsquery", "pg_lsn",
    "jsonpath",
})  # fmt: skip


@dataclass(frozen=True)
class Range:
    """Some rows of a table: what FROM reads, and which WHERE; without `first` the whole relation."""

    oid: int
    source: str
    filenode: int
    first: int | None = None
    end: int | None = None  # None: to the end, wherever that is by now
    blocks: int = 0

    @property
    def rows(self) -> str:
        """What stands after FROM."""
        if self.first is None:
            return self.source
        upper = "" if self.end is None else f" AND ctid < '({self.end},0)'"
        return f"{self.source} WHERE ctid >= '({self.first},0)'{upper}"


def ranges(session: Session, table: Table, range_bytes: int) -> list[Range]:
    """The table's ranges in the order of their files: together they hold each row once.

    Raises:
        SourceLostError: since the snapshot the table was emptied or rewritten, or another bears its name now.
    """
    same = _is_that_of_the_snapshot(session, table)  # from here on a lock keeps TRUNCATE and every other DDL out
    heaps = session.rows(_HEAPS, (table.oid,))
    if not same or not all(unchanged for *_, unchanged in heaps) or session.rows(_MOVED, {"top": table.oid}):
        raise SourceLostError(
            f"table {table.name}: it was truncated or rewritten while the export began, or renamed, or its partitions"
            " or columns are others now: it would look empty, or be another one",
            hint="type the same command again, when no DDL runs there",
        )
    if session.major < _TID_RANGE_SCANS or not heaps or not all(direct for *_, direct, _ in heaps):
        return [Range(table.oid, table.source, heaps[0][3] if len(heaps) == 1 else 0)]
    step = max(1, range_bytes // session.block_bytes)
    found: list[Range] = []
    for oid, name, blocks, filenode, _, _ in heaps:
        starts = range(0, max(1, blocks), step)
        found += [
            Range(
                oid, f"ONLY {name}", filenode, first, None if first == starts[-1] else first + step,
                min(step, blocks - first),
            )
            for first in starts
        ]  # fmt: skip
    return found


def grouped(found: Sequence[Range], session: Session, range_bytes: int) -> list[list[Range]]:
    """The ranges by part: a table with a thousand small partitions is not a thousand files."""
    most = max(1, range_bytes // session.block_bytes)
    groups: list[list[Range]] = []
    size = 0
    for one in found:
        if not groups or size + one.blocks > most:
            groups.append([])
            size = 0
        groups[-1].append(one)
        size += one.blocks
    return groups


def _is_that_of_the_snapshot(session: Session, table: Table) -> bool:
    """Whether this name leads to this table, and its columns' names to these columns.

    The catalogs are read as they were at the snapshot, but the server looks names up as they are now.
    """
    query = f"SELECT * FROM {table.source} LIMIT 0"  # noqa: S608 - quoted
    answer = session.connection.execute(query).pgresult
    assert answer is not None  # noqa: S101 - it is fetched
    now = {(answer.fname(n), answer.ftablecol(n)) for n in range(answer.nfields)}
    columns = "SELECT attname::text, attnum FROM pg_attribute WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped"
    then = {(str(name).encode(), int(number)) for name, number in session.rows(columns, (table.oid,))}
    ((oid,),) = session.rows("SELECT to_regclass(%s)::oid::bigint", (table.name,))
    return bool(oid == table.oid) and then <= now


# The table itself, or the leaves of a partitioned one. TRUNCATE is not transactional to those who read with an older
# snapshot; but pg_class, read with that snapshot, still shows the file of then, pg_relation_filenode the one of now.
_HEAPS = """
SELECT c.oid, quote_ident(n.nspname) || '.' || quote_ident(c.relname),
       pg_relation_size(c.oid) / current_setting('block_size')::int, c.relfilenode::bigint,
       c.relkind = 'r' AND am.amname = 'heap' AND has_table_privilege(c.oid, 'SELECT')
         AND has_schema_privilege(n.oid, 'USAGE') AND NOT (c.relispartition AND c.relrowsecurity),
       (c.relkind <> 'r' OR c.relfilenode = 0 OR c.relfilenode = pg_relation_filenode(c.oid))
         AND (NOT has_schema_privilege(n.oid, 'USAGE')
              OR to_regclass(quote_ident(n.nspname) || '.' || quote_ident(c.relname)) = c.oid)
  FROM (SELECT %s::oid AS top) one,
       LATERAL (SELECT top AS relid WHERE (SELECT relkind FROM pg_class WHERE oid = top) <> 'p'
                UNION ALL SELECT t.relid FROM pg_partition_tree(top) t
                 WHERE t.isleaf AND (SELECT relkind FROM pg_class WHERE oid = top) = 'p') leaves
  JOIN pg_class c ON c.oid = leaves.relid
  JOIN pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_am am ON am.oid = c.relam
 ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"
"""


# Partitions that were detached or attached since the snapshot: pg_inherits shows those of then, pg_partition_tree those
# of now, which SELECT reads. A partition that is newer than the snapshot has no row in it.
_MOVED = """
WITH RECURSIVE of_then(relid) AS (
  SELECT %(top)s::oid WHERE (SELECT relkind FROM pg_class WHERE oid = %(top)s) = 'p'
  UNION SELECT i.inhrelid FROM pg_inherits i JOIN of_then t ON t.relid = i.inhparent),
of_now(relid) AS (
  SELECT t.relid FROM pg_partition_tree(%(top)s::oid) t JOIN pg_class c ON c.oid = t.relid
   WHERE (SELECT relkind FROM pg_class WHERE oid = %(top)s) = 'p')
(SELECT relid FROM of_then EXCEPT SELECT relid FROM of_now)
UNION ALL (SELECT relid FROM of_now EXCEPT SELECT relid FROM of_then)
"""


def shape(session: Session, table: Table, columns: Sequence[Column]) -> str:
    """A digest of all that gives stored bytes their text; empty when it is not told or other catalogs may change it."""
    if not all((one.is_enum or one.base.removeprefix("_") in _FIXED_TEXT) and one.generated is None for one in columns):
        return ""
    seen = [session.rows_if_told(query, {"table": table.oid}) for query in _SHAPE]
    if None in seen:
        return ""
    return hashlib.sha256(json.dumps([__version__, session.version, session.encoding, *seen]).encode()).hexdigest()


_SHAPE = (
    # A server that was started anew may have been put back to an earlier state, and gives out the same numbers again.
    "SELECT pg_postmaster_start_time()::text, system_identifier::text, timeline_id, (SELECT oid::bigint FROM"
    " pg_database WHERE datname = current_database()) FROM pg_control_system(), pg_control_checkpoint()",
    "SELECT attnum, attname, atttypid::bigint, atttypmod, attmissingval::text FROM pg_attribute"
    " WHERE attrelid = %(table)s AND attnum > 0 ORDER BY attnum",
    # All of them: an enum may lie below a domain.
    "SELECT enumtypid::bigint, enumsortorder, enumlabel FROM pg_enum ORDER BY 1, 2",
)


def origin(session: Session, one: Range, rows: int, form: str, *, on_disk: bool) -> dict[str, Any]:
    """What must still hold for this range's file to stand; `on_disk`: that no crash can lose what the snapshot saw."""
    return {**_identity(one, rows, form), "older_than": session.oldest, "on_disk": on_disk}


def _identity(one: Range, rows: int, form: str) -> dict[str, Any]:
    return {
        "relation": one.oid, "filenode": one.filenode, "first_block": one.first, "end_block": one.end, "rows": rows,
        "shape": form,
    }  # fmt: skip


def stands(session: Session, one: Range, known: dict[str, Any], *, form: str) -> bool:
    """Whether the rows that this snapshot sees in the range are those that were read then.

    A row visible now, and written by a transaction that had ended before the first snapshot, was visible then, for it
    was not deleted since; when there are as many of them as were read, no row is gone either. Transactions that were
    running then count as changes, and so does an xmin that a wrapped counter makes ambiguous: the range is read again.
    """
    sound = {"older_than": known["older_than"], "on_disk": True}
    same = {**_identity(one, known["rows"], form), **sound} == known
    if not same or not form or not one.filenode or not 0 <= session.newest - known["older_than"] < _XID_SPACE // 2:
        return False
    count, old = session.rows(
        f"SELECT count(*), coalesce(bool_and({session.newest} - (({session.newest} - xmin::text::bigint)"  # noqa: S608
        f" & {_XID_SPACE - 1}) < {known['older_than']}), true) FROM {one.rows}"
    )[0]
    return bool(old) and count == known["rows"]
