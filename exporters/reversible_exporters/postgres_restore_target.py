"""How is a PostgreSQL server written to, so that a killed restore goes on where it stopped?

A journal in a schema of the target's own notes each finished step in the step's own transaction: the step and its
note are there together or not at all. The journal goes away when nothing is left to do.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

from reversible.errors import DestinationError
from reversible.interfaces import Restored
from reversible_exporters import postgres_catalog
from reversible_exporters.postgres_session import address, driver, one_line
from reversible_exporters.restored_values import NotEmptyError

if TYPE_CHECKING:
    import psycopg

log = logging.getLogger(__name__)

# The export's text was written under these: it must be read under the same.
_SETTINGS = {
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "lc_monetary": "C",
    "client_encoding": "UTF8",
    "search_path": "",
    "xmloption": "content",
    "bytea_output": "hex",
    "client_min_messages": "warning",
    "default_transaction_read_only": "off",
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "lock_timeout": "60s",
}
_LOCK = 0x7265_7665_7273  # "revers": pg_advisory_lock's number, so that two restores never work at once
_CONNECT_TIMEOUT_S = 10
_OCCUPIED = """
SELECT pg_describe_object(classid, oid, 0) FROM (
  SELECT 'pg_class'::regclass AS classid, oid, relnamespace AS space FROM pg_class
   WHERE relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
  UNION ALL SELECT 'pg_proc'::regclass, oid, pronamespace FROM pg_proc
  UNION ALL SELECT 'pg_type'::regclass, oid, typnamespace FROM pg_type WHERE typtype IN ('d', 'e', 'r')
  UNION ALL SELECT 'pg_namespace'::regclass, oid, oid FROM pg_namespace WHERE nspname <> 'public') one
 WHERE oid >= 16384 AND (SELECT nspname !~ '^pg_' AND nspname <> %s FROM pg_namespace n WHERE n.oid = space)
   AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = one.classid AND d.objid = one.oid AND deptype = 'e')
UNION ALL SELECT 'large object ' || oid FROM pg_largeobject_metadata
 ORDER BY 1 LIMIT 4"""  # oid from 16384 on: FirstNormalObjectId, not of initdb


def apart(target: "Target", document: Mapping[str, Any]) -> Iterator[Restored]:
    """A note for each rule of the database itself that is another one at the source, which no restore can set."""
    subject = f"DATABASE {document['name']}"
    here = postgres_catalog.locale(target.rows)
    for rule, there in document["locale"].items():
        if here[rule] != there:
            what = "text is stored otherwise" if rule == "encoding" else "text sorts and compares otherwise"
            seen = f"{rule} {here[rule]} here, {there} at the source: {what}"
            yield Restored(step="note", subject=subject, seen=seen)
    known = postgres_catalog.settings(target.rows)
    for one in document["settings"]:
        if one not in known:
            seen = f"at the source ALTER DATABASE … SET {one}; here it is not"
            yield Restored(step="note", subject=subject, seen=seen)


class Target:
    """One autocommit connection to the database that is restored into."""

    def __init__(self, connection: "psycopg.Connection[Any]", where: str, digest: str) -> None:
        self.connection = connection
        self.where = where
        self.journal = f"reversible_restore_{digest[:12]}"
        self._done: set[str] = set()

    @classmethod
    def open(cls, url: str, digest: str) -> Self:
        """Connect; the password comes from PGPASSWORD or ~/.pgpass.

        Raises:
            DestinationError: the server refuses, or another restore is at work there.
        """
        psycopg = driver()
        where = address(url)
        connection = None
        try:
            connection = psycopg.connect(
                url, autocommit=True, connect_timeout=_CONNECT_TIMEOUT_S, application_name="reversible restore"
            )
            for name, value in _SETTINGS.items():
                connection.execute("SELECT pg_catalog.set_config(%s, %s, false)", (name, value))
            connection.execute("SELECT pg_catalog.pg_advisory_lock(%s)", (_LOCK,))
            connection.execute("SELECT pg_catalog.set_config('lock_timeout', '0', false)")
        except psycopg.errors.LockNotAvailable as error:
            assert connection is not None  # noqa: S101 - it refused a lock
            connection.close()
            raise DestinationError(
                f"PostgreSQL at {where}: another restore is at work there", hint="wait until it ends"
            ) from error
        except psycopg.Error as error:
            said = [line.strip() for line in str(error).splitlines() if line.strip()][-1:] or ["no answer"]
            raise DestinationError(
                f"PostgreSQL at {where}: {said[0].rpartition('FATAL:')[2].strip()}",
                hint="psql with the same URL shows more; the password comes from PGPASSWORD or ~/.pgpass",
            ) from None  # libpq's own text may quote the connection string
        return cls(connection, where, digest)

    def begin(self, *, allow_non_empty: bool) -> bool:
        """Take an interrupted restore of this bundle up, or begin one; return whether it was taken up.

        Raises:
            NotEmptyError: the database is not empty.
        """
        if self.rows("SELECT FROM pg_namespace WHERE nspname = %s", (self.journal,)):
            self._done = {step for (step,) in self.rows(f"SELECT step FROM {self.journal}.step")}  # noqa: S608
            return True
        occupied = [name for (name,) in self.rows(_OCCUPIED, (self.journal,))]
        if occupied and not allow_non_empty:
            more = ", and more" if len(occupied) > 3 else ""
            raise NotEmptyError(
                f"{self.where} is not empty: {', '.join(occupied[:3])}{more}",
                hint="restore into a new database (createdb NAME), or say --allow-non-empty",
            )
        with self.connection.transaction():
            self.run(f"CREATE SCHEMA {self.journal}")
            self.run(f"CREATE TABLE {self.journal}.step (step text PRIMARY KEY)")
        return False

    def is_done(self, step: str) -> bool:
        return step in self._done

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """What happens inside and the note of it, in one transaction."""
        with self.connection.transaction():
            yield
            insert = f"INSERT INTO {self.journal}.step VALUES (%s)"  # noqa: S608 - hex digits
            self.connection.execute(insert.encode(), (name,))
        self._done.add(name)

    def end(self) -> None:
        """Take the journal away: nothing is left to do."""
        self.run(f"DROP SCHEMA {self.journal} CASCADE")

    def rows(self, query: str, parameters: Sequence[Any] | None = None) -> list[tuple[Any, ...]]:
        return self.connection.execute(query.encode(), parameters).fetchall()

    def run(self, statement: str) -> None:
        self.connection.execute(statement.encode())

    def close(self) -> None:
        self.connection.close()

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Turn a connection that was lost into an error of the destination; what the server refuses stays as it is.

        Raises:
            DestinationError: the server went away.
        """
        psycopg = driver()
        try:
            yield
        except psycopg.Error as error:
            if not self.connection.closed and not self.connection.broken:
                raise
            raise DestinationError(
                f"the connection to {self.where} was lost: {one_line(error)}",
                hint="type the same command again: finished steps are kept",
            ) from error
