"""How is a PostgreSQL server read, and only read, as it stood at one moment?"""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Self

from reversible.errors import MissingSDKError, SourceError, SourceLostError

if TYPE_CHECKING:
    import psycopg

log = logging.getLogger(__name__)

# One text form for every value, whatever the server, database or role is set to.
_SETTINGS = {
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "extra_float_digits": "3",
    "bytea_output": "hex",
    "lc_monetary": "C",
    "client_encoding": "UTF8",
    "search_path": "",
    "default_transaction_read_only": "on",
    "row_security": "off",  # an error rather than a filtered read
    "synchronize_seqscans": "off",  # the same rows in the same order
    "max_parallel_workers_per_gather": "0",
    "idle_in_transaction_session_timeout": "0",
    "jit": "off",
    "xmloption": "content",
}

_TOO_LARGE = "invalid memory alloc request size"  # MaxAllocSize, 1 GiB (src/include/utils/memutils.h)
_FLUSH_TIMEOUT_S = 2.0  # the log writer's turn comes within 0.6 s, unless wal_writer_delay was raised
_PAGE_HEADER, _SEGMENT_HEADER = 24, 40  # XLogPageHeaderData, XLogLongPageHeaderData: src/include/access/xlog_internal.h


class Session:
    """One connection with one REPEATABLE READ, READ ONLY snapshot; every read happens below a savepoint.

    Args:
        connection: An autocommit connection, fresh.
        where: "host:port/database" for messages.
        statement_timeout_s: 0 waits for ever.
        snapshot: The snapshot of another session to share; a new one when empty.
    """

    def __init__(
        self, connection: "psycopg.Connection[Any]", where: str, *, statement_timeout_s: float, snapshot: str = ""
    ) -> None:
        self.connection = connection
        self.where = where
        for name, value in _SETTINGS.items():
            connection.execute("SELECT pg_catalog.set_config(%s, %s, false)", (name, value))
        timeouts = {"statement_timeout": statement_timeout_s, "lock_timeout": min(statement_timeout_s or 60.0, 60.0)}
        for name, seconds in timeouts.items():
            connection.execute("SELECT pg_catalog.set_config(%s, %s, false)", (name, f"{int(seconds * 1000)}ms"))
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        if snapshot:
            connection.execute(f"SET TRANSACTION SNAPSHOT '{snapshot}'")  # the server's own word
        row = connection.execute(
            "SELECT current_database(), current_user, pg_export_snapshot(), current_setting('server_version_num')::int,"
            " current_setting('server_version'), current_setting('server_encoding'), quote_ident(current_user),"
            " pg_snapshot_xmin(pg_current_snapshot())::text::bigint,"
            " pg_snapshot_xmax(pg_current_snapshot())::text::bigint, current_setting('block_size')::int"
        ).fetchone()
        assert row is not None  # noqa: S101 - SELECT without FROM gives one row
        (
            self.database, self.role, self.snapshot, number, self.version, self.encoding, self.quoted_role,
            self.oldest, self.newest, self.block_bytes,
        ) = row  # fmt: skip
        self.major = number // 10_000
        self._on_disk = self._waited = False
        self._log_end = self._log_positions()[0]  # after the snapshot, before our reading adds to the log

    @classmethod
    def open(
        cls, url: str, password: str | None, *, connect_timeout_s: float, statement_timeout_s: float, snapshot: str = ""
    ) -> Self:
        """Connect and take the snapshot, or share the one that another session exported.

        Raises:
            MissingSDKError: psycopg is not installed.
            SourceError: the server refuses; the message never holds the password.
        """
        psycopg = driver()
        where = address(url, password)
        options = {"connect_timeout": max(2, round(connect_timeout_s)), "application_name": "reversible",
                   "tcp_user_timeout": 60_000}  # fmt: skip
        if password is not None:
            options["password"] = password
        try:
            connection = psycopg.connect(url, autocommit=True, **options)
            return cls(connection, where, statement_timeout_s=statement_timeout_s, snapshot=snapshot)
        except psycopg.Error as error:
            raise _refused(error, where, password) from None  # libpq's own text may quote the connection string

    def rows(self, query: str, parameters: Sequence[Any] | Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        return self.connection.execute(query, parameters).fetchall()

    def rows_if_told(self, query: str, parameters: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]] | None:
        """The rows; None where this server, or this role, is told nothing.

        Raises:
            SourceLostError: the server went away.
        """
        try:
            with self.reading(query):
                return self.rows(query, parameters)
        except SourceLostError:
            raise
        except SourceError as error:
            log.info("%s", error.message)
            return None

    @contextmanager
    def reading(self, subject: str, hint: str = "") -> Iterator[None]:
        """Read below a savepoint, so that one refusal leaves the snapshot alive; the server's error names `subject`.

        Raises:
            SourceError: the server refused or went away.
        """
        psycopg = driver()
        try:
            self.connection.execute("SAVEPOINT reversible")
            yield
            self.connection.execute("RELEASE SAVEPOINT reversible")
        except psycopg.Error as error:
            self._roll_back()
            raise self._failed(error, subject, hint) from error
        except BaseException:
            self._roll_back()
            raise

    @property
    def on_disk(self) -> bool:
        """Whether what the snapshot shows outlives a crash of the server.

        With synchronous_commit = off a commit is seen before it is on disk; a crash then loses it and gives its number
        to another transaction. Each transaction that ended before the snapshot has its record in the log by now, so
        they are safe once the log is on disk up to here. A standby shows nothing that is not. Waits, once, at most two
        seconds.
        """
        deadline = time.monotonic() + (0.0 if self._waited else _FLUSH_TIMEOUT_S)
        while not self._on_disk:
            self._on_disk = self._log_positions()[1] >= self._log_end
            if self._on_disk or time.monotonic() > deadline:
                break
            time.sleep(_FLUSH_TIMEOUT_S / 40)
        self._waited = True
        return self._on_disk

    def _log_positions(self) -> tuple[int, int]:
        """Where the write-ahead log ends, and up to where it is on disk, in bytes from its beginning."""
        if self.rows("SELECT pg_is_in_recovery()")[0][0]:
            return 0, 0
        told = self.rows_if_told(
            "SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint, (pg_current_wal_flush_lsn() - '0/0')::bigint,"
            " current_setting('wal_block_size')::int, pg_size_bytes(current_setting('wal_segment_size'))"
        )
        if not told:
            return 1, 0  # nothing is known to be on disk
        end, flushed, page, segment = told[0]
        header = _SEGMENT_HEADER if end % segment == _SEGMENT_HEADER else _PAGE_HEADER
        return end - header if end % page == header else end, flushed  # nothing is on this page yet

    @property
    def alive(self) -> bool:
        return not self.connection.closed and not self.connection.broken

    def close(self) -> None:
        """Commit, where no query is under way, and go.

        Reading prunes pages and sets hint bits, which the server logs; an aborted transaction leaves that off the disk
        until somebody else commits, and the next session would find the log behind.
        """
        psycopg = driver()
        if self.connection.info.transaction_status == psycopg.pq.TransactionStatus.INTRANS:
            with suppress(psycopg.Error):  # a connection that died meanwhile has nothing to commit
                self.connection.execute("COMMIT")
        self.connection.close()

    def _roll_back(self) -> None:
        psycopg = driver()
        with suppress(psycopg.Error):  # a dead connection: `alive` says so, and the caller's error is the cause
            self.connection.execute("ROLLBACK TO SAVEPOINT reversible")

    def _failed(self, error: "psycopg.Error", subject: str, hint: str) -> SourceError:
        psycopg = driver()
        if not self.alive:
            return SourceLostError(
                f"{subject}: the connection to {self.where} was lost while reading",
                hint="check that the server is up, then type the same command again",
            )
        if isinstance(error, psycopg.errors.InsufficientPrivilege):
            if "row-level security" in str(error):
                hint = f"ALTER ROLE {self.quoted_role} BYPASSRLS"
                return SourceError(f"{subject}: row-level security would hide rows from {self.role}", hint=hint)
            return SourceError(f"{subject}: access denied to {self.role} ({one_line(error)})", hint=hint)
        if isinstance(error, psycopg.errors.QueryCanceled):
            return SourceError(f"{subject}: {one_line(error)}", hint="raise statement_timeout_s in the plan")
        if isinstance(error, psycopg.errors.LockNotAvailable):
            return SourceError(f"{subject}: locked by another session", hint="try again when no DDL runs there")
        if _TOO_LARGE in str(error):  # an internal error, without a code of its own
            return SourceError(
                f"{subject}: a value is too large for the server to send as text, as bytea above 512 MiB is"
                f" ({one_line(error)})",
                hint="exclude this table in the plan with that reason, or keep such values as objects or in pieces",
            )
        return SourceError(f"{subject}: {one_line(error)}")


def driver() -> Any:
    """The psycopg module, loaded on first use.

    Raises:
        MissingSDKError: it is not installed.
    """
    try:
        import psycopg
    except ImportError as error:  # also when there is no libpq for it
        raise MissingSDKError("psycopg", extra="postgres") from error
    return psycopg


def address(url: str, password: str | None = None) -> str:
    """ "host:port/database" of a connection URL, for messages.

    Raises:
        SourceError: it is not a connection string.
    """
    parts = parameters(url, password)
    return f"{parts['host']}:{parts['port']}/{parts['dbname']}"


def parameters(url: str, password: str | None = None) -> dict[str, str]:
    """libpq's parameters in a URL, with its defaults for host, port, user and dbname.

    Raises:
        SourceError: it is not a connection string.
    """
    psycopg = driver()
    try:
        found = {name: str(value) for name, value in psycopg.conninfo.conninfo_to_dict(url).items()}
    except psycopg.Error:
        raise SourceError(
            "the url of the PostgreSQL source is not a connection URL", hint='url = "postgresql://user@host:5432/database"'
        ) from None  # fmt: skip
    defaults = {str(one.keyword, "ascii"): one.val for one in psycopg.pq.Conninfo.get_defaults()}
    for name, fallback in (("host", "localhost"), ("port", "5432"), ("user", "")):
        given = defaults.get(name.encode().decode())
        found.setdefault(name, given.decode() if given else fallback)
    found.setdefault("dbname", found["user"])
    return found


def one_line(error: BaseException) -> str:
    """The first line of what the server said."""
    lines = str(error).strip().splitlines()
    return lines[0].strip() if lines else type(error).__name__


def _refused(error: "psycopg.Error", where: str, password: str | None) -> SourceError:
    """What a failed connection means; only the server's words are quoted, and never a password."""
    text = str(error)
    known = (
        ("password authentication failed", "the password is refused", "check the variable that `password` names"),
        ("no password supplied", "the server asks for a password", 'password = "${NAME}" in the plan'),
        ("does not exist", None, "check the user and the database in `url`"),
        ("no pg_hba.conf entry", "the server admits no connection from here", "ask for an entry in pg_hba.conf"),
        ("timeout expired", "no answer in time", "check host and port in `url`, and the firewall"),
        ("could not translate host name", "the host name is unknown", "check the host in `url`"),
        ("failed to resolve host", "the host name is unknown", "check the host in `url`"),
        ("Connection refused", "nothing listens there", "check host and port in `url`, and that the server is up"),
    )
    last = [line.strip() for line in text.strip().splitlines() if line.strip()][-1:] or [type(error).__name__]
    said = last[0].rpartition("FATAL:")[2].strip()
    if password:
        said = said.replace(password, "***")
    for fragment, meaning, hint in known:
        if fragment in text:
            return SourceLostError(f"PostgreSQL at {where}: {meaning or said}", hint=hint)
    return SourceLostError(f"PostgreSQL at {where}: {said}", hint="psql with the same url shows more")
