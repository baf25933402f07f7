"""How do the rows of a query arrive: by the text protocol, and by the binary one?

PyMySQL connects, authenticates and encrypts; the rows are taken from its stream, because its cursors make one Python
object per value. The text protocol is cut into packets here, the binary protocol (prepared statements, which PyMySQL
does not speak) by PyMySQL's own packet reader: the two routes share no code of ours. Both formats:
https://dev.mysql.com/doc/dev/mysql-server/latest/PAGE_PROTOCOL.html
"""

import struct
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from reversible_exporters.mysql_session import Session, driver

_BLOCK_BYTES = 8 << 20
_BLOCK_ROWS = 1 << 16
_READ_BYTES = 1 << 20
_HEADER = struct.Struct("<I")  # three bytes of length, one of sequence
_LONGEST = 0xFFFFFF  # a packet of this length goes on in the next one
_END, _ERROR = 0xFE, 0xFF
_END_BYTES = 9  # an end is shorter; a row that begins with the same byte is longer than _LONGEST
_PREPARE, _EXECUTE, _CLOSE = 0x16, 0x17, 0x19


class Cut(ValueError):  # noqa: N818 - it says what happened
    """What the server sent is not what the protocol allows, or it changed values on the way and warns."""


@dataclass(frozen=True)
class Rows:
    """Some rows as they came: row n is buffer[starts[n]:ends[n]]."""

    buffer: bytearray
    starts: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]


def text_rows(session: Session, query: str) -> Generator[Rows, None, None]:
    """The rows of a query in the text protocol, in blocks of some megabytes.

    Raises:
        Cut: the stream is out of order, or the server warns that it altered values.
    """
    connection = session.connection
    connection._execute_command(0x03, query)
    _columns(connection, connection._read_packet())
    with _whole(session):
        yield from _cut(session)
    _refuse_warnings(session)


def binary_rows(session: Session, query: str) -> Generator[list[bytes], None, None]:
    """The rows of a query in the binary protocol, as a prepared statement gives them.

    Raises:
        Cut: the server warns that it altered values.
    """
    connection = session.connection
    connection._execute_command(_PREPARE, query)
    answer = connection._read_packet().get_all_data()
    statement, fields, parameters = struct.unpack_from("<IHH", answer, 1)
    if parameters:
        raise Cut("a query with a parameter")
    for _ in range(fields + bool(fields)):  # the columns, then an end
        connection._read_packet()
    connection._execute_command(_EXECUTE, struct.pack("<IBI", statement, 0, 1))
    _columns(connection, connection._read_packet())
    rows: list[bytes] = []
    size = 0
    with _whole(session):
        while True:
            packet = connection._read_packet()
            if packet.is_eof_packet():
                break
            rows.append(packet.get_all_data())
            size += len(rows[-1])
            if size >= _BLOCK_BYTES or len(rows) >= _BLOCK_ROWS:
                try:
                    yield rows
                except GeneratorExit:
                    session.stop_statement()
                    _drop(connection)
                    raise
                rows, size = [], 0
    if rows:
        yield rows
    _refuse_warnings(session)
    connection._execute_command(_CLOSE, struct.pack("<I", statement))  # the server does not answer


def _columns(connection: Any, first: Any) -> None:
    for _ in range(first.read_length_encoded_integer()):
        connection._read_packet()
    if not connection._read_packet().is_eof_packet():
        raise Cut("the columns of an answer do not end")


def _cut(session: Session) -> Iterator[Rows]:
    """The packets of an answer. A reader that stops early stops the statement too; the rest is read and dropped."""
    connection = session.connection
    stream = connection._rfile
    data = bytearray()
    starts: list[int] = []
    ends: list[int] = []
    at = 0
    sequence: int = connection._next_seq_id
    continued = stopped = False
    while True:
        chunk = stream.read1(_READ_BYTES)
        if not chunk:
            raise ConnectionResetError("the server closed the connection")
        data += chunk
        size = len(data)
        while at + 4 <= size:
            word = _HEADER.unpack_from(data, at)[0]
            length = word & _LONGEST
            end = at + 4 + length
            if end > size:
                break
            if word >> 24 != sequence:
                raise Cut("packets out of order")
            sequence = (sequence + 1) & 0xFF
            if continued:  # the rest of a row of 16 megabytes or more: close the gap that its header makes
                del data[at : at + 4]
                size, at = size - 4, end - 4
                ends[-1], continued = at, length == _LONGEST
                continue
            first = data[at + 4] if length else _ERROR
            if (first >= _END and length < _END_BYTES) or first == _ERROR:
                if first == _ERROR and not stopped:
                    driver().err.raise_mysql_exception(bytes(data[at + 4 : end]))
                if end != size:
                    raise Cut("more than the rows")
                if starts and not stopped:
                    yield Rows(data, np.array(starts, np.int64), np.array(ends, np.int64))
                return
            starts.append(at + 4)
            ends.append(end)
            at, continued = end, length == _LONGEST
        if not continued and (at >= _BLOCK_BYTES or len(starts) >= _BLOCK_ROWS):
            rest = data[at:]
            del data[at:]
            try:
                if not stopped:
                    yield Rows(data, np.array(starts, np.int64), np.array(ends, np.int64))
            except GeneratorExit:
                session.stop_statement()
                stopped = True
            data, starts, ends, at = rest, [], [], 0


@contextmanager
def _whole(session: Session) -> Iterator[None]:
    """An answer that is left in its middle for any reason but the reader's own leaves no usable connection."""
    try:
        yield
    except (driver().MySQLError, GeneratorExit):
        raise  # the server ended the answer itself, or it was read to its end below
    except BaseException:
        session.abandon()
        raise


def _drop(connection: Any) -> None:
    with suppress(driver().MySQLError):  # "query execution was interrupted"
        while not connection._read_packet().is_eof_packet():
            pass


def _refuse_warnings(session: Session) -> None:
    """A value that does not fit an answer becomes NULL with a warning (1301): never in silence."""
    found = session.rows("SHOW WARNINGS LIMIT 1")
    if found:
        raise Cut(f"the server warns: {found[0][2]}")
