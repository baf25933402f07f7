"""How do the rows of a query arrive: by the text protocol, and by the binary one?

PyMySQL connects, authenticates and encrypts; the rows are taken from its stream, because its cursors make one Python
object per value. The text protocol is cut into packets here, the binary protocol (prepared statements, which PyMySQL
does not speak) is read packet by packet elsewhere: the two routes share no code that touches a row. Both formats:
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

_BLOCK_BYTES = 2 << 20  # more would leave the processor's caches
_BLOCK_ROWS = 1 << 16
_READ_BYTES = 1 << 20
_HEADER = struct.Struct("<I")  # three bytes of length, one of sequence
_LONGEST = 0xFFFFFF  # a packet of this length goes on in the next one
_END, _ERROR = 0xFE, 0xFF
_END_BYTES = 9  # an end is shorter; a row that begins with the same byte is longer than _LONGEST
_NO_SUCH_CHARACTER = frozenset({1300, 1977, 3854})  # codes of MariaDB and MySQL
_DEPRECATED = frozenset({1287, 1681, 3719, 3720, 3778})  # of MySQL: said of the query's words, not of a value
_PREPARE, _EXECUTE, _CLOSE = 0x16, 0x17, 0x19


class Cut(ValueError):  # noqa: N818 - it says what happened
    """What the server sent is not what the protocol allows, or it changed values on the way and warns."""


@dataclass(frozen=True)
class Rows:
    """Some rows as they came: row n is buffer[starts[n]:ends[n]]. The buffer is the reader's to write in."""

    buffer: npt.NDArray[np.uint8]
    starts: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]


def text_rows(session: Session, query: str, *, odd: bool = False) -> Generator[Rows, None, None]:
    """The rows of a query in the text protocol, in blocks of some megabytes.

    `odd`: the query tells itself which texts utf8mb4 lacks, so that the server's warning about them says nothing new.

    Raises:
        Cut: the stream is out of order, or the server warns that it altered values.
    """
    connection = session.connection
    connection._execute_command(0x03, query)
    _columns(connection, connection._read_packet())
    with _whole(session):
        yield from _cut(session)
    _refuse_warnings(session, odd=odd)


def binary_rows(session: Session, query: str, *, odd: bool = False) -> Generator[list[bytes], None, None]:
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
        packets = _packets(connection)
        for row in packets:
            rows.append(row)
            size += len(row)
            if size >= _BLOCK_BYTES or len(rows) >= _BLOCK_ROWS:
                try:
                    yield rows
                except GeneratorExit:
                    session.stop_statement()
                    with suppress(driver().MySQLError):  # "query execution was interrupted"
                        for _ in packets:
                            pass
                    raise
                rows, size = [], 0
    if rows:
        yield rows
    _refuse_warnings(session, odd=odd)
    connection._execute_command(_CLOSE, struct.pack("<I", statement))  # the server does not answer


def _columns(connection: Any, first: Any) -> None:
    for _ in range(first.read_length_encoded_integer()):
        connection._read_packet()
    if not connection._read_packet().is_eof_packet():
        raise Cut("the columns of an answer do not end")


def _cut(session: Session) -> Iterator[Rows]:
    """The packets of an answer. A reader that stops early stops the statement too; the rest is read and dropped."""
    stream = session.connection._rfile
    unpack = _HEADER.unpack_from
    data = bytearray()
    heads: list[int] = []  # where the packet of each row begins
    joints: list[int] = []  # after which row one packet more was joined to it
    at = 0
    sequence: int = session.connection._next_seq_id
    continued = stopped = False
    while True:
        chunk = stream.read1(_READ_BYTES)
        if not chunk:
            raise ConnectionResetError("the server closed the connection")
        data += chunk
        size = len(data)
        while at + 4 < size:  # and one byte of it
            length = unpack(data, at)[0] & _LONGEST
            end = at + 4 + length
            if end > size:
                break
            if continued:  # the rest of a row of 16 megabytes or more: close the gap that its header makes
                joints.append(len(heads))
                del data[at : at + 4]
                size, at, continued = size - 4, end - 4, length == _LONGEST
                continue
            if data[at + 4] >= _END and (length < _END_BYTES or data[at + 4] == _ERROR):
                rows, _ = _rows(data, heads, at, joints, sequence)
                if data[at + 4] == _ERROR and not stopped:
                    driver().err.raise_mysql_exception(bytes(data[at + 4 : end]))
                if end != size:
                    raise Cut("more than the rows")
                if heads and not stopped:
                    yield rows
                return
            heads.append(at)
            at, continued = end, length == _LONGEST
        if not continued and (at >= _BLOCK_BYTES or len(heads) >= _BLOCK_ROWS):
            rest = data[at:]
            rows, sequence = _rows(data, heads, at, joints, sequence)
            try:
                if not stopped:
                    yield rows
            except GeneratorExit:
                session.stop_statement()
                stopped = True
            data, heads, joints, at = rest, [], [], 0


def _rows(data: bytearray, heads: list[int], end: int, joints: list[int], sequence: int) -> tuple[Rows, int]:
    """The rows whose packets begin at `heads`, and the number that the next packet must have.

    Raises:
        Cut: a packet is lost or out of order.
    """
    starts = np.array(heads, np.int64)
    content = np.frombuffer(data, np.uint8)
    expected = sequence + np.arange(len(heads) + 1)
    for row in joints:
        expected[row:] += 1
    if (content[starts + 3] != expected[:-1] & 0xFF).any():
        raise Cut("packets out of order")
    return Rows(content, starts + 4, np.append(starts[1:], end)[: len(starts)]), int(expected[-1]) & 0xFF


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


def _packets(connection: Any) -> Iterator[bytes]:
    """The rows of a binary answer, each read by its own length."""
    read = connection._rfile.read
    sequence: int = connection._next_seq_id
    parts: list[bytes] = []
    while True:
        header = read(4)
        length = int.from_bytes(header[:3], "little")
        body = read(length)
        if len(header) < 4 or len(body) < length:
            raise ConnectionResetError("the server closed the connection")
        if header[3] != sequence:
            raise Cut("packets out of order")
        sequence = (sequence + 1) % 256
        parts.append(body)
        if length == _LONGEST:
            continue
        row = body if len(parts) == 1 else b"".join(parts)
        if row[:1] == b"\xff":
            driver().err.raise_mysql_exception(row)
        if row[:1] == b"\xfe" and len(row) < _END_BYTES:
            return
        yield row
        parts = []


def _refuse_warnings(session: Session, *, odd: bool) -> None:
    """A value that does not fit an answer becomes NULL with a warning (1301): never in silence."""
    found = session.rows("SHOW WARNINGS")
    count = int(session.rows("SHOW COUNT(*) WARNINGS")[0][0])  # a SELECT would end MySQL's list
    told = _DEPRECATED | (_NO_SUCH_CHARACTER if odd else set())
    serious = [text for _, code, text in found if code not in told]
    if serious or count > len(found):
        raise Cut(f"the server warns: {serious[0] if serious else f'{count} times, and does not list them all'}")
