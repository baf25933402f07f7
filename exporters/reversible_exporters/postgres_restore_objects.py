"""How do large objects go back to PostgreSQL, page by page, with their numbers, owners and grants?

A bundle holds them as the rows of the two catalogs that PostgreSQL keeps them in. No server takes rows for a catalog,
so each object is made by `lo_create`, under its own number because rows refer to it, and filled by `lo_put`.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from reversible_exporters.postgres_restore_target import Target

OBJECTS, PAGES = "pg_catalog.pg_largeobject_metadata", "pg_catalog.pg_largeobject"
_PAGE = 2048  # LOBLKSIZE: a quarter of the block size, src/include/storage/large_object.h
_WRITE = 1 << 20  # bytes of one lo_put
_BOOTSTRAP = 10  # BOOTSTRAP_SUPERUSERID: the same number on every server, under any name
_BATCH_ROWS = 1 << 12


def create(target: Target, part: Path) -> int:
    """Make every object of a part of OBJECTS; return how many.

    Raises:
        psycopg.Error: the target refuses one, or lacks a role that one is granted to.
    """
    made = 0
    for row in _rows(part):
        target.rows("SELECT pg_catalog.lo_create(%s::pg_catalog.oid)", (str(row["oid"]),))
        owner = _owner(target, row)
        if owner is not None:
            target.run(f"ALTER LARGE OBJECT {int(row['oid'])} OWNER TO {owner}")
        if row["lomacl"] is not None:
            _grant(target, row)
        made += 1
    return made


def fill(target: Target, part: Path) -> int:
    """Write every page of a part of PAGES, those that follow each other in one call; return how many pages."""
    pages = 0
    number = start = 0
    held = bytearray()
    for row in _rows(part):
        pages += 1
        place = int(row["pageno"]) * _PAGE
        if held and (row["loid"] != number or place != start + len(held) or len(held) >= _WRITE):
            _put(target, number, start, held)
            held = bytearray()
        if not held:
            number, start = int(row["loid"]), place
        held += row["data"]
    if held:
        _put(target, number, start, held)
    return pages


def _put(target: Target, number: int, start: int, held: bytearray) -> None:
    target.rows("SELECT pg_catalog.lo_put(%s::pg_catalog.oid, %s, %s)", (str(number), start, bytes(held)))


def _owner(target: Target, row: Mapping[str, Any]) -> str | None:
    """The owner's name at the source: of the bootstrap superuser, or as a grant tells it; None when nothing does."""
    if row["lomowner"] == _BOOTSTRAP:
        ((name,),) = target.rows("SELECT quote_ident(rolname) FROM pg_catalog.pg_roles WHERE oid = %s", (_BOOTSTRAP,))
        return str(name)
    if row["lomacl"] is None:
        return None
    granted = target.rows("SELECT grantor::regrole::text FROM aclexplode(%s::aclitem[]) LIMIT 1", (row["lomacl"],))
    return str(granted[0][0]) if granted else None


def _grant(target: Target, row: Mapping[str, Any]) -> None:
    number = int(row["oid"])
    query = (
        "SELECT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END, privilege_type, is_grantable"
        " FROM aclexplode(%s::aclitem[])"
    )
    target.run(f"REVOKE ALL ON LARGE OBJECT {number} FROM CURRENT_USER")
    for grantee, privilege, grantable in target.rows(query, (row["lomacl"],)):
        option = " WITH GRANT OPTION" if grantable else ""
        target.run(f"GRANT {privilege} ON LARGE OBJECT {number} TO {grantee}{option}")


def _rows(part: Path) -> Iterator[dict[str, Any]]:
    with pq.ParquetFile(part) as file:
        for batch in file.iter_batches(_BATCH_ROWS):
            yield from batch.to_pylist()
