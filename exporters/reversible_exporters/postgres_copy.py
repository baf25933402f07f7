"""How do the rows of a query stream out of PostgreSQL, in bounded memory, at a bounded rate, until told to stop?

COPY ... TO STDOUT by libpq's own calls: psycopg's `Copy.read` waits row by row in Python and takes twice the CPU.
Each message is copied into a block at once: a list of them costs twice as much again (docs/benchmarks.md).
"""

import ctypes
import select
import time
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from threading import Event
from typing import Any

import numpy as np
import numpy.typing as npt

from reversible.machine_code import Loop
from reversible_exporters import postgres_loops
from reversible_exporters.postgres_session import Session, driver

PADDING = 64  # bytes after the last row of a block, so that a read of up to 64 bytes at its end stays inside
_BLOCK_BYTES = 8 << 20
_LOOP_BYTES = 4 << 20  # of a block for compiled loops
_BLOCK_ROWS = 1 << 16
_PATIENCE_S = 0.5  # how often a waiting reader looks whether it should stop
_CANCEL_S = 10.0
_NO_MORE = -1  # PQgetCopyData: the COPY has ended


class Stopped(Exception):  # noqa: N818 - it is not an error of anybody
    """The reading was called off: another reader of the same source failed, or the user stopped the run."""


@dataclass(frozen=True)
class Rows:
    """Some rows as COPY sent them, one message each: protocol-message-formats, "CopyData".

    Attributes:
        data: The messages, one after the other, and `PADDING` bytes without meaning.
        starts: Where each message begins in `data`, shape (rows,).
        size: Where the last message ends.
    """

    data: npt.NDArray[np.uint8]
    starts: npt.NDArray[np.int64]
    size: int

    def __len__(self) -> int:
        return len(self.starts)


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


def copy(
    session: Session, query: str, form: str, pace: Pace | None = None, loops: Mapping[str, Loop] | None = None
) -> Generator[Rows, None, None]:
    """The rows of `query`, in blocks of some MiB; `form` is "csv", "text", or "binary" with its trailer as a row more.

    Close it (`contextlib.closing`): closing it early cancels the query at the server, and the session stays usable.

    Raises:
        psycopg.Error: the server refused or went away.
        ValueError: the server counts other rows than came.
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
    came = 0
    try:
        functions = loops and postgres_loops.libpq(type(pgconn).__module__)
        blocks = _blocks_by_loop(session, pace, loops["receive"], functions) if loops and functions else None
        for rows in blocks or _blocks(session, pace):
            came += len(rows)
            yield rows
        ended = True
    finally:
        if not ended:
            _cancel(session)
    result = _result(session, pace)
    _drain(session)
    if result.status != psycopg.pq.ExecStatus.COMMAND_OK:
        raise psycopg.errors.error_from_result(result)
    if result.command_tuples != came - (form == "binary"):
        raise ValueError(f"the server counts {result.command_tuples} rows, and {came - (form == 'binary')} came")


def _blocks(session: Session, pace: Pace) -> Iterator[Rows]:
    """A block ends where the next row does not fit: whatever the network does, the same rows make the same blocks."""
    get = session.connection.pgconn.get_copy_data
    since = time.monotonic()
    sent = size = 0
    block, sizes = BytesIO(), list[int]()
    while True:
        count, message = get(1)
        if count > 0:
            if sizes and (size + count > _BLOCK_BYTES or len(sizes) == _BLOCK_ROWS):
                yield _rows(block, sizes)
                sent += size
                pace.wait(sent, since)
                block, sizes, size = BytesIO(), [], 0
            block.write(message)
            sizes.append(count)
            size += count
        elif count == 0:
            _wait(session, pace)
        else:
            break
    if sizes:
        yield _rows(block, sizes)


def _blocks_by_loop(session: Session, pace: Pace, receive: Loop, functions: tuple[int, int, int]) -> Iterator[Rows]:
    """The same by a compiled loop that calls libpq itself, while other threads may run."""
    pgconn = session.connection.pgconn
    address = pgconn.pgconn_ptr  # type: ignore[attr-defined]  # both of psycopg's forms have it, their protocol not
    since = time.monotonic()
    sent, room = 0, _LOOP_BYTES
    block, starts = np.empty(room + PADDING, np.uint8), np.empty(_BLOCK_ROWS, np.int64)
    state = np.zeros(4, np.int64)
    try:
        while True:
            answer = receive(
                address, *functions, block.ctypes.data, room, starts.ctypes.data, _BLOCK_ROWS,
                state.ctypes.data,
            )  # fmt: skip
            came, size = int(state[postgres_loops.CAME]), int(state[postgres_loops.SIZE])
            if answer == postgres_loops.WAIT:
                _wait(session, pace)
                continue
            if answer == postgres_loops.FAILED:
                pgconn.consume_input()  # again, for the driver's own error
                continue
            if answer not in (postgres_loops.FULL, _NO_MORE):
                raise driver().OperationalError(f"getting copy data failed: {pgconn.get_error_message()}")
            if came:
                yield Rows(block, starts[:came].copy(), size)
                sent += size
                pace.wait(sent, since)
            if answer == _NO_MORE:
                break
            room = max(_LOOP_BYTES, int(state[postgres_loops.LENGTH]))
            block = np.empty(room + PADDING, np.uint8)
            state[postgres_loops.CAME] = state[postgres_loops.SIZE] = 0
    finally:
        if state[postgres_loops.POINTER]:
            ctypes.CFUNCTYPE(None, ctypes.c_void_p)(functions[-1])(int(state[postgres_loops.POINTER]))


def _rows(block: BytesIO, sizes: list[int]) -> Rows:
    ends = np.cumsum(np.array(sizes, np.int64))
    block.write(bytes(PADDING))
    return Rows(np.frombuffer(block.getbuffer(), np.uint8), ends - sizes, int(ends[-1]))


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
        while (result := pgconn.get_result()) is not None:
            while result.status == psycopg.pq.ExecStatus.COPY_OUT and pgconn.get_copy_data(0)[0] > 0:
                pass
    except psycopg.Error:  # the connection is gone: `alive` says so, and the reader's own error is the cause
        session.connection.close()
