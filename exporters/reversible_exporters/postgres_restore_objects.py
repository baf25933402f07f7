"""How do large objects go back to PostgreSQL, page by page, with their numbers, owners and grants?

A bundle holds them as the rows of the two catalogs that PostgreSQL keeps them in. No server takes rows for a catalog,
so each object is made by `lo_create`, under its own number because rows refer to it, and filled by `lo_put`. Owners
and grants come after the content: a role that the target lacks costs no object.
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
    """Make every object of a part of OBJECTS; return how many."""
    made = 0
    for row in _rows(part):
        target.rows("SELECT pg_catalog.lo_create(%s::pg_catalog.oid)", (str(row["oid"]),))
        made += 1
    return made


def give(target: Target, part: Path, number: int, name: str) -> None:
    """Give the objects that belong to the role `number` at the source to the role `name`.

    Raises:
        psycopg.Error: the target has no such role.
    """
    ((quoted,),) = target.rows(
        "SELECT quote_ident(coalesce((SELECT rolname FROM pg_catalog.pg_roles WHERE oid = %s AND oid = %s), %s))",
        (number, _BOOTSTRAP, name),  # the bootstrap superuser is one and the same, under any name
    )
    for row in _rows(part):
        if row["lomowner"] == number:
            target.run(f"ALTER LARGE OBJECT {int(row['oid'])} OWNER TO {quoted}")


def grant(target: Target, part: Path) -> None:
    """Grant on every object of a part what was granted on it at the source.

    Raises:
        psycopg.Error: the target lacks a role that one is granted to.
    """
    for row in _rows(part):
        if row["lomacl"] is not None:
            _grant(target, row)


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


def as_at_the_source(metadata: str, owners: Mapping[str, str]) -> str:
    """What FROM reads to see OBJECTS with the source's numbers of its owners; a role that it does not know is 0.

    A role has another number on each server; only its name is the same.
    """
    known = [f"({int(number)}, {_literal(name)})" for number, name in owners.items() if int(number) != _BOOTSTRAP]
    numbers = f"(VALUES ({_BOOTSTRAP}, NULL){''.join(f', {one}' for one in known)}) v(number, name)"
    role = f"(r.rolname = v.name OR v.number = {_BOOTSTRAP} AND r.oid = {_BOOTSTRAP})"
    owner = (
        f"SELECT number::oid FROM {numbers} JOIN pg_catalog.pg_roles r ON {role} WHERE r.oid = m.lomowner"  # noqa: S608
        " ORDER BY number LIMIT 1"
    )
    return f"(SELECT oid, coalesce(({owner}), 0::oid) AS lomowner, lomacl FROM {metadata} m) objects"  # noqa: S608


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _put(target: Target, number: int, start: int, held: bytearray) -> None:
    target.rows("SELECT pg_catalog.lo_put(%s::pg_catalog.oid, %s, %s)", (str(number), start, bytes(held)))


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
