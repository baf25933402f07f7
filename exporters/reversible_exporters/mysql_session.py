"""How is a MySQL or MariaDB server read, and only read, as it stood at one moment?"""

import ipaddress
import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import unquote, urlsplit

from reversible.errors import MissingSDKError, SourceError, SourceLostError

if TYPE_CHECKING:
    from pymysql.connections import Connection

log = logging.getLogger(__name__)

# One text form for every value and all rows of every table, whatever the server or the user is set to.
_SETTINGS = {
    "time_zone": "'+00:00'",
    "sql_mode": "'ALLOW_INVALID_DATES'",  # neither PAD_CHAR_TO_FULL_LENGTH nor ANSI_QUOTES
    "character_set_results": "utf8mb4",
    "sql_select_limit": "18446744073709551615",  # a server may give fewer rows without a word
    "sql_big_selects": "1",
    "group_concat_max_len": "4294967295",
    "sql_quote_show_create": "1",
    "net_write_timeout": "3600",  # a reader that compresses is slow at times
    "net_read_timeout": "3600",
    "lock_wait_timeout": "60",
}
_MANY_WARNINGS = "SET SESSION max_error_count = 65535"  # of those that SHOW WARNINGS lists
_MARIADB = {"system_versioning_asof": "DEFAULT"}  # else a server may answer with the past
_MYSQL = {
    "information_schema_stats_expiry": "0",
    "show_create_table_verbosity": "0",
    "show_gipk_in_create_table_and_information_schema": "1",  # the key column that a server made, which it may hide
}
_DENIED = frozenset({1044, 1045, 1142, 1143, 1227, 1356, 1370})
_LOST = frozenset({2006, 2013, 2055, 1927, 1053, 1079})
_TOO_LONG = frozenset({1969, 3024, 1317})
_LOCKED = frozenset({1205, 1213})
_NEEDS_A_RIGHT = 1227  # ER_SPECIFIC_ACCESS_DENIED_ERROR
_CHANGED = 1412  # ER_TABLE_DEF_CHANGED: the table was altered after the snapshot


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where a server is, and how to reach it safely."""

    host: str
    port: int
    user: str
    database: str
    tls: str  # "verify", "encrypt" or "off"
    ssl_ca: Path | None = None

    @property
    def where(self) -> str:
        return f"{self.host}:{self.port}/{self.database}"


def address(url: str, *, tls: str | None = None, ssl_ca: Path | None = None) -> Address:
    """The parts of "mysql://user@host:3306/database"; TLS is verified unless the server is this machine.

    Raises:
        SourceError: it is not such a URL.
    """
    hint = 'url = "mysql://user@host:3306/database"'
    try:
        parts = urlsplit(url)
        port = parts.port or 3306
    except ValueError:
        raise SourceError("the url of the MySQL source is not a URL", hint=hint) from None
    database = unquote(parts.path.removeprefix("/"))
    if parts.scheme not in ("mysql", "mariadb") or not parts.hostname or not database or parts.query:
        raise SourceError("the url of the MySQL source lacks the scheme, a host or a database", hint=hint)
    if parts.password is not None:
        raise SourceError("the url of the MySQL source holds a password", hint='password = "${NAME}" in the plan')
    chosen = tls or ("off" if _here(parts.hostname) and ssl_ca is None else "verify")
    return Address(
        host=parts.hostname, port=port, user=unquote(parts.username or ""), database=database, tls=chosen,
        ssl_ca=ssl_ca,
    )  # fmt: skip


class Session:
    """One connection with one REPEATABLE READ, READ ONLY snapshot of the transactional tables.

    Args:
        connection: Fresh, speaking utf8mb4.
        address: Where it leads.
        password: For the second connection that stops a statement.
        statement_timeout_s: 0 waits for ever.
    """

    def __init__(
        self, connection: "Connection[Any]", address: Address, password: str | None, *, statement_timeout_s: float
    ) -> None:
        self.connection = connection
        self.address = address
        self.where = address.where
        self.database = address.database
        self._password = password
        self._timeout_s = connection.connect_timeout
        version, comment = (str(one) for one in self.rows("SELECT VERSION(), @@version_comment")[0])
        self.version = version
        self.is_mariadb = "mariadb" in f"{version} {comment}".lower()
        self.product = "MariaDB" if self.is_mariadb else "MySQL"
        settings = {**_SETTINGS, **(_MARIADB if self.is_mariadb else _MYSQL)}
        if self.is_mariadb:
            settings["max_statement_time"] = f"{statement_timeout_s:g}"
        else:
            settings["max_execution_time"] = f"{int(statement_timeout_s * 1000)}"
        for name, value in settings.items():
            with suppress_unknown(self.is_mariadb):
                self.run(f"SET SESSION {name} = {value}")
        with suppress_unknown(self.is_mariadb, _NEEDS_A_RIGHT):  # MySQL asks for one; where it lacks, fewer are listed
            self.run(_MANY_WARNINGS)
        self.run("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        self._made = self._when_made()  # before the snapshot: what changes between the two is noticed
        with nullcontext() if self.is_mariadb else self._no_ddl():
            self.run("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
            self._lock(partitioned=self.is_mariadb)
        self.role, self.id = self.rows("SELECT CURRENT_USER(), CONNECTION_ID()")[0]

    @classmethod
    def open(
        cls, address: Address, password: str | None, *, connect_timeout_s: float, statement_timeout_s: float
    ) -> Self:
        """Connect and take the snapshot.

        Raises:
            MissingSDKError: PyMySQL is not installed.
            SourceError: the server refuses; the message never holds the password.
        """
        pymysql = driver()
        try:
            connection = _connect(address, password, connect_timeout_s)
            return cls(connection, address, password, statement_timeout_s=statement_timeout_s)
        except pymysql.MySQLError as error:
            raise _refused(error, address, password) from None
        except (OSError, RuntimeError) as error:  # TLS, or a plugin that needs a package
            raise SourceError(f"MySQL at {address.where}: {one_line(error)}", hint=_TLS_HINT) from None

    def rows(self, query: str, parameters: tuple[Any, ...] | None = None) -> list[tuple[Any, ...]]:
        """All rows of a small answer, as Python values."""
        with self.connection.cursor() as cursor:
            cursor.execute(query, parameters)
            return [tuple(row) for row in cursor.fetchall()]

    def named(self, query: str, parameters: tuple[Any, ...] | None = None) -> list[dict[str, Any]]:
        """The same with the columns' names, lower case: MySQL 8 names those of information_schema in capitals."""
        with self.connection.cursor() as cursor:
            cursor.execute(query, parameters)
            names = [str(one[0]).lower() for one in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    @contextmanager
    def _no_ddl(self) -> Iterator[None]:
        """MySQL: another connection keeps DDL out until this one does.

        A table that is renamed, or whose columns swap their names, keeps its CREATE_TIME there, so that nothing would
        tell afterwards.
        """
        other = _connect(self.address, self._password, self._timeout_s)
        with other:
            guard = copy(self)
            guard.connection = other
            guard.run("START TRANSACTION")
            guard._lock(partitioned=False)
            yield

    def _lock(self, *, partitioned: bool) -> None:
        """Keep DDL away from the tables, or the partitioned ones alone, as long as the transaction lasts.

        Of MariaDB's CREATE_TIME, an EXCHANGE PARTITION alone leaves no trace.
        """
        pymysql = driver()
        query = (
            "SELECT DISTINCT table_name FROM information_schema.partitions"
            " WHERE table_schema = DATABASE() AND partition_name IS NOT NULL"
            if partitioned
            else "SELECT table_name FROM information_schema.tables"
            " WHERE table_schema = DATABASE() AND table_type = 'BASE TABLE'"
        )
        for (name,) in self.rows(query):
            try:
                self.rows(f"SELECT 1 FROM {quote(self.database)}.{quote(str(name))} LIMIT 0")  # noqa: S608 - quoted
            except pymysql.MySQLError as error:
                if not error.args or error.args[0] in _LOCKED | _LOST:
                    raise
                log.debug("%s: %s", name, one_line(error))  # what cannot be read is refused by its name later

    def hold(self, relation: str) -> bool:
        """Lock the table against DDL, and tell whether it is the one that the snapshot knew by this name.

        Rows have a snapshot, definitions have none: after DROP PARTITION or RENAME TABLE the server reads what is left
        without a word. Seconds are as fine as CREATE_TIME is; MariaDB's is that of the definition's last change.
        """
        self.rows(f"SELECT 1 FROM {quote(self.database)}.{quote(relation)} LIMIT 0")  # noqa: S608 - quoted
        made = self._when_made(relation)  # also of a name that differs in case only
        return relation in made and made[relation] == self._made.get(relation)

    def _when_made(self, relation: str | None = None) -> dict[str, Any]:
        found = self.rows(
            "SELECT table_name, create_time FROM information_schema.tables WHERE table_schema = DATABASE()"
            " AND table_name = coalesce(%s, table_name)",
            (relation,),
        )
        return {str(name): made for name, made in found}

    def run(self, statement: str) -> None:
        with self.connection.cursor() as cursor:
            cursor.execute(statement)

    @contextmanager
    def reading(self, subject: str, hint: str = "") -> Iterator[None]:
        """A refusal leaves the snapshot alive; the server's error names `subject`.

        Raises:
            SourceError: the server refused or went away.
        """
        pymysql = driver()
        try:
            yield
        except pymysql.MySQLError as error:
            raise self._failed(error, subject, hint) from error
        except OSError as error:
            self.abandon()
            raise self._failed(pymysql.OperationalError(2013, str(error)), subject, hint) from error

    @property
    def alive(self) -> bool:
        return bool(self.connection.open)

    def stop_statement(self) -> None:
        """End the statement whose rows are being read; the connection must be dropped when this does not work."""
        pymysql = driver()
        with suppress(pymysql.MySQLError, OSError):
            other = _connect(self.address, self._password, self._timeout_s)
            with other, other.cursor() as cursor:
                cursor.execute(f"KILL QUERY {int(self.id)}")

    def abandon(self) -> None:
        """Drop the connection without a word: it stands in the middle of an answer."""
        self.connection._force_close()

    def close(self) -> None:
        if self.alive:
            pymysql = driver()
            with suppress(pymysql.MySQLError, OSError):  # it is going away in any case
                self.connection.close()

    def _failed(self, error: Any, subject: str, hint: str) -> SourceError:
        code = error.args[0] if error.args and isinstance(error.args[0], int) else 0
        said = one_line(error)
        if code in _LOST or not self.alive:
            self.abandon()
            return SourceLostError(
                f"{subject}: the connection to {self.where} was lost while reading",
                hint="check that the server is up, then type the same command again",
            )
        if code in _DENIED:
            return SourceError(f"{subject}: access denied to {self.role} ({said})", hint=hint)
        if code in _TOO_LONG:
            return SourceError(f"{subject}: {said}", hint="raise statement_timeout_s in the plan")
        if code in _LOCKED:
            return SourceError(f"{subject}: locked by another session", hint="try again when no DDL runs there")
        if code == _CHANGED:
            self.abandon()  # only a new snapshot sees the new definition, and a run is of one: it ends here
            return SourceLostError(
                f"{subject}: altered while the export ran", hint="type the same command again when no DDL runs there"
            )
        return SourceError(f"{subject}: {said}")


@contextmanager
def suppress_unknown(is_mariadb: bool, *more: int) -> Iterator[None]:
    """A variable that this version does not have yet or any more (1193) has nothing to set."""
    pymysql = driver()
    try:
        yield
    except pymysql.MySQLError as error:
        if error.args[0] not in (1193, 1238, *more):
            raise
        log.debug("%s: %s", "MariaDB" if is_mariadb else "MySQL", one_line(error))


def driver() -> Any:
    """The pymysql module, loaded on first use.

    Raises:
        MissingSDKError: it is not installed.
    """
    try:
        import pymysql
    except ModuleNotFoundError as error:
        raise MissingSDKError("PyMySQL", extra="mysql") from error
    return pymysql


def writable(address: Address, password: str | None, *, timeout_s: float) -> "Connection[Any]":
    """A connection that may write, for a restore.

    Raises:
        SourceError: the server refuses; the message never holds the password.
    """
    pymysql = driver()
    try:
        return _connect(address, password, timeout_s)
    except pymysql.MySQLError as error:
        raise _refused(error, address, password) from None
    except (OSError, RuntimeError) as error:
        raise SourceError(f"MySQL at {address.where}: {one_line(error)}", hint=_TLS_HINT) from None


def quote(name: str) -> str:
    """A name as MySQL's DDL writes it."""
    return "`" + name.replace("`", "``") + "`"


def one_line(error: BaseException) -> str:
    """The first line of what the server said."""
    text = str(error.args[1]) if len(error.args) > 1 else str(error)
    lines = text.strip().splitlines()
    return lines[0].strip() if lines else type(error).__name__


def _connect(address: Address, password: str | None, timeout_s: float) -> "Connection[Any]":
    pymysql = driver()
    options: dict[str, Any] = {"ssl_disabled": True}
    if address.tls != "off":
        import ssl

        context = ssl.create_default_context(cafile=None if address.ssl_ca is None else str(address.ssl_ca))
        if address.tls == "encrypt":
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        options = {"ssl": context}
    connection: Connection[Any] = pymysql.connect(
        host=address.host, port=address.port, user=address.user, password=password or "", database=address.database,
        charset="utf8mb4", autocommit=True, connect_timeout=timeout_s, local_infile=False, program_name="reversible",
        **options,
    )  # fmt: skip
    if address.tls != "off" and not connection._secure:
        connection.close()
        raise SourceError(f"MySQL at {address.where}: the server offers no TLS", hint=_TLS_HINT)
    _keep_alive(connection._sock)
    return connection


def _keep_alive(sock: socket.socket | None) -> None:
    """A server that is gone without a goodbye is noticed within a minute or two."""
    if sock is not None and hasattr(socket, "TCP_USER_TIMEOUT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 60_000)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10)


def _here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


_TLS_HINT = 'tls = "verify" with ssl_ca = "/path/to/ca.pem", or tls = "encrypt" or "off" in the plan'


def _refused(error: Any, address: Address, password: str | None) -> SourceError:
    """What a failed connection means; only the server's words are quoted, and never a password."""
    code = error.args[0] if error.args else 0
    said = one_line(error)
    if password:
        said = said.replace(password, "***")
    known = {
        1045: ("the user or the password is refused", "check `url`, the variable that `password` names, and `tls`"),
        3159: ("the server takes no connection without TLS", _TLS_HINT),
        1044: ("the user may not use this database", f"GRANT SELECT ON {quote(address.database)}.* TO the user"),
        1049: ("there is no such database", "check the database in `url`"),
        1130: ("the server admits no connection from here", "ask for an account with this machine's host"),
        1040: ("too many connections", "try again later"),
        2003: ("nothing answers there", "check host and port in `url`, and that the server is up"),
    }
    meaning, hint = known.get(code, (said, "mariadb with the same user and host shows more"))
    if "SSL" in said or "CERTIFICATE" in said:
        meaning, hint = said, _TLS_HINT
    return SourceLostError(f"MySQL at {address.where}: {meaning}", hint=hint)
