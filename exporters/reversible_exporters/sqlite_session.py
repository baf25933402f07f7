"""How is an SQLite file read, in one snapshot, without a byte of it changing?

`mode=ro`, one read transaction held from the first question to the last. Never `immutable`: that flag ignores locks
and the -wal file, and a database in use would be read torn. In WAL mode the engine may leave its own empty -wal and
-shm beside the file, as every reader of it does; the database is untouched.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

from reversible.errors import SourceError

_OLDEST = (3, 37, 0)  # PRAGMA table_list: virtual, shadow, STRICT and WITHOUT ROWID without parsing SQL
CODECS = {"UTF-8": "utf-8", "UTF-16le": "utf-16-le", "UTF-16be": "utf-16-be"}  # PRAGMA encoding -> Python's name
_HINTS = {
    "locked": "let the writer finish, stop it, or raise busy_timeout_s",
    "not a database": "an encrypted file (SQLCipher) must be decrypted by its own program first",
    "unable to open": "the file must be readable; in WAL mode its folder must be writable, or checkpoint it first: "
    "PRAGMA journal_mode = DELETE",
    "readonly": "a crashed writer left a journal: open the file once with its own program, so that it recovers",
    "malformed": "PRAGMA integrity_check; the last good backup",
    "no such function": "the schema calls a function of the application; SQLite alone does not have it",
    "too big": "the witness spells values in hexadecimal: none may be over half of SQLite's limit of 10^9 bytes",
}


class Undecodable(bytes):
    """A TEXT value that is not valid in the database's encoding: its bytes."""


class Session:
    """One connection in one read transaction."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self.connection = connection
        self.path = path
        self.described: dict[str, Any] = {}  # table -> its columns: counting their classes reads the whole table
        self.encoding = str(self.value("PRAGMA encoding"))

    @classmethod
    def open(cls, path: Path, *, busy_timeout_s: float) -> Self:
        """Open the file and begin the snapshot.

        Raises:
            SourceError: there is no such database, it is locked, or this SQLite is too old.
        """
        if sqlite3.sqlite_version_info < _OLDEST:
            raise SourceError(f"SQLite {sqlite3.sqlite_version} is older than 3.37", hint="a newer Python")
        if not path.is_file():
            raise SourceError(f"{path}: no such file")
        if path.stat().st_size == 0:
            raise SourceError(f"{path}: the file is empty; SQLite would call it a database without tables")
        with reading(path.name):
            uri = f"file:{quote(str(path.absolute()))}?mode=ro"
            connection = sqlite3.connect(
                uri, uri=True, isolation_level=None, timeout=busy_timeout_s, check_same_thread=False
            )
            try:
                connection.text_factory = decoded
                for one in ("query_only = 1", "trusted_schema = 0", "cell_size_check = 1"):
                    connection.execute(f"PRAGMA {one}")
                connection.execute("BEGIN")
                connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()  # the snapshot begins here
                return cls(connection, path)
            except BaseException:
                connection.close()
                raise

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return self.connection.execute(query, values).fetchall()

    def value(self, query: str) -> Any:
        return self.connection.execute(query).fetchone()[0]

    def names(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Rows of the catalog.

        Raises:
            SourceError: a name in it is not valid text: nothing that we write could carry it.
        """
        found = self.rows(query, values)
        if any(isinstance(cell, Undecodable) for row in found for cell in row):
            raise SourceError(f"{self.path.name}: a name or definition in the schema is not valid {self.encoding}")
        return found

    @property
    def codec(self) -> str:
        """Python's name of the encoding in which the file keeps its text."""
        return CODECS[self.encoding]

    @property
    def changes_under_us(self) -> bool:
        """Whether a writer may go on while we read: in WAL mode it does, in the others it waits for us."""
        return str(self.value("PRAGMA journal_mode")).lower() == "wal"

    def close(self) -> None:
        self.connection.close()


def decoded(raw: bytes) -> str | Undecodable:
    """A TEXT value as Python keeps it; never with a replacement character."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return Undecodable(raw)


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Say what SQLite refused, of what, and what to do about it.

    Raises:
        SourceError: SQLite refused.
    """
    try:
        yield
    except sqlite3.Error as error:
        said = str(error)
        hint = next((hint for words, hint in _HINTS.items() if words in said), "")
        raise SourceError(f"{what}: SQLite says: {said}", hint=hint) from error
    except UnicodeDecodeError as error:  # values are never decoded strictly: SQLite's own message quotes broken bytes
        said = error.object.decode(errors="backslashreplace")
        raise SourceError(f"{what}: SQLite says: {said}", hint=_HINTS["malformed"]) from error
