"""How do the rows of a query stream out of PostgreSQL, in bounded memory, at a bounded rate, until told to stop?

COPY ... TO STDOUT by libpq's own calls: psycopg's `Copy.read` waits row by row in Python and takes twice the CPU.
"""

import select
import time
from collections.abc import Generator, Iterator
from threading import Event
from typing import Any

from reversible_exporters.postgres_session import Session, driver

Rows = list[Any]  # COPY's messages (bytes-like), one row each: docs/protocol, "CopyData" of COPY TO

_BLOCK_BYTES = 8 << 20
_BLOCK_ROWS = 1 << 16
_PATIENCE_S = 0.5  # how often a waiting reader looks whether it should stop
_CANCEL_S = 10.0


class Stopped(Exception):  # noqa: N818 - it is not an error of anybody
    """The reading was called off: another reader of the same source failed, or the user stopped the run."""


class Pace:
    """Holds the readers of one source to a number of bytes per second, and stops them all.

    Args:
        bytes_per_s: The limit for one reader; 0: none.
    """

    def __init__(self, bytes_per_s: float = 0.0) -> None:
        self.stop = Event()
        self._bytes_per_s = bytes_per_s

    def wait(self, sent: int, since: float) -> None:
        """Sleep until `sent` bytes are due, counted from the monotonic time `since`."""
        if self._bytes_per_s:
            self.stop.wait(max(0.0, since + sent / self._bytes_per_s - time.monotonic()))
        if self.stop.is_set():
            raise Stopped


def copy(session: Session, query: str, form: str, pace: Pace | None = None) -> Generator[Rows, None, None]:
    """The rows of `query`, in blocks of some MiB; `form` is "csv" or "binary".

    Close it (`contextlib.closing`): closing it early cancels the query at the server, and the session stays usable.

    Raises:
        psycopg.Error: the server refused or went away.
        Stopped: another reader of the same source failed, or the user stopped the run.
    """
    pace = pace or Pace()
    pgconn = session.connection.pgconn
    psycopg = driver()
    pgconn.send_query(f"COPY ({query}) TO STDOUT (FORMAT {form})".encode())
    result = _result(session, pace)
    if result.status != psycopg.pq.ExecStatus.COPY_OUT:
        _drain(session)
        raise psycopg.errors.error_from_result(result)
    ended = False
    try:
        yield from _blocks(session, pace)
        ended = True
    finally:
        if not ended:
            _cancel(session)
    result = _result(session, pace)
    _drain(session)
    if result.status != psycopg.pq.ExecStatus.COMMAND_OK:
        raise psycopg.errors.error_from_result(result)


def _blocks(session: Session, pace: Pace) -> Iterator[Rows]:
    get = session.connection.pgconn.get_copy_data
    rows: Rows = []
    size = sent = 0
    since = time.monotonic()
    while True:
        count, message = get(1)
        if count > 0:
            rows.append(message)
            size += count
            if size >= _BLOCK_BYTES or len(rows) >= _BLOCK_ROWS:
                yield rows
                sent += size
                pace.wait(sent, since)
                rows, size = [], 0
        elif count == 0:
            _wait(session, pace)
        else:
            break
    if rows:
        yield rows


def _wait(session: Session, pace: Pace) -> None:
    """Until the server has sent something; another thread may work meanwhile."""
    pgconn = session.connection.pgconn
    while not select.select([pgconn.socket], [], [], _PATIENCE_S)[0]:
        if pace.stop.is_set():
            raise Stopped
    pgconn.consume_input()


def _result(session: Session, pace: Pace) -> Any:
    pgconn = session.connection.pgconn
    while pgconn.is_busy():
        _wait(session, pace)
    return pgconn.get_result()


def _drain(session: Session) -> None:
    while session.connection.pgconn.get_result() is not None:
        pass


def _cancel(session: Session) -> None:
    """Stop the query at the server and read away what it had sent already."""
    psycopg = driver()
    pgconn = session.connection.pgconn
    try:
        session.connection.cancel_safe(timeout=_CANCEL_S)
        while pgconn.get_copy_data(0)[0] > 0:
            pass
        _drain(session)
    except psycopg.Error:  # the connection is gone: `alive` says so, and the reader's own error is the cause
        session.connection.close()
