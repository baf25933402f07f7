"""Does every row of a COPY arrive, whole and counted, however it is cut and whatever the network does to it?"""

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path

import psycopg
import pytest
from filled_postgres import filled_server

from reversible.bundle.writer import BundleWriter
from reversible.errors import SourceError
from reversible.machine_code import Loop
from reversible_exporters import postgres_copy, postgres_loops
from reversible_exporters.postgres import PostgresExporter, PostgresSettings
from reversible_exporters.postgres_session import Session
from reversible_samples.postgres_server import PostgresServer

Loops = Mapping[str, Loop] | None
ROWS = 20_000
TABLE = "public.article"
ORDERED = f"SELECT * FROM {TABLE} ORDER BY id"  # noqa: S608 - ours
CREATE = f"""
CREATE TABLE {TABLE} AS SELECT n AS id, CASE WHEN n % 7 <> 0 THEN 'ligne' || chr(10) || '"d" ' || n END AS texte,
                        CASE WHEN n = 700 THEN repeat('long', 300000) ELSE '' END AS note
  FROM generate_series(1, {ROWS}) n
"""  # noqa: S608 - ours


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    with filled_server(tmp_path_factory.mktemp("server"), CREATE) as running:
        yield running


@pytest.fixture
def session(server: PostgresServer) -> Iterator[Session]:
    opened = Session.open(server.url, None, connect_timeout_s=10, statement_timeout_s=0)
    yield opened
    opened.close()


@pytest.fixture(params=["driver", "loops"])
def loops(request: pytest.FixtureRequest) -> Loops:
    """The compiled loops, or None: the messages are then taken by the driver."""
    found = postgres_loops.loops(1 << 40)
    assert found is not None
    return found if request.param == "loops" else None


def drivers_own(session: Session, query: str, form: str) -> list[bytes]:
    """The messages as psycopg's own reader gives them."""
    with session.connection.cursor().copy(f"COPY ({query}) TO STDOUT (FORMAT {form})".encode()) as copy:
        return [bytes(message) for message in copy]


def messages(blocks: list[postgres_copy.Rows]) -> list[bytes]:
    found = []
    for block in blocks:
        ends = [*block.starts[1:], block.size]
        found += [bytes(block.data[begin:end]) for begin, end in zip(block.starts, ends, strict=True)]
    return found


@pytest.mark.parametrize("form", ["csv", "binary", "text"])
@pytest.mark.parametrize("block_bytes", [1, 100, 4096, 8 << 20])
def test_every_message_arrives_whole_whatever_the_size_of_a_block(
    session: Session, monkeypatch: pytest.MonkeyPatch, form: str, block_bytes: int, loops: Loops
) -> None:
    monkeypatch.setattr(postgres_copy, "_BLOCK_BYTES", block_bytes)
    monkeypatch.setattr(postgres_copy, "_LOOP_BYTES", block_bytes)
    blocks = list(postgres_copy.copy(session, ORDERED, form, loops=loops))

    assert messages(blocks) == drivers_own(session, ORDERED, form)
    assert all(block.size <= block_bytes or len(block) == 1 for block in blocks)
    assert all(len(block.data) >= block.size + postgres_copy.PADDING for block in blocks)


def test_no_block_holds_more_rows_than_its_limit(
    session: Session, monkeypatch: pytest.MonkeyPatch, loops: Loops
) -> None:
    monkeypatch.setattr(postgres_copy, "_BLOCK_ROWS", 999)
    monkeypatch.setattr(postgres_copy, "_LOOP_BYTES", 8 << 20)
    blocks = list(postgres_copy.copy(session, ORDERED, "csv", loops=loops))

    assert [len(block) for block in blocks] == [999] * (ROWS // 999) + [ROWS % 999]


def test_a_query_without_rows_gives_no_block_and_a_binary_one_its_trailer(session: Session, loops: Loops) -> None:
    nothing = "SELECT 1 WHERE false"

    assert not list(postgres_copy.copy(session, nothing, "csv", loops=loops))
    assert sum(map(len, postgres_copy.copy(session, nothing, "binary", loops=loops))) == 1


@pytest.mark.parametrize("form", ["csv", "text"])
def test_what_the_server_says_in_the_middle_of_a_copy_is_the_error(session: Session, form: str, loops: Loops) -> None:
    query = f"SELECT id, 1 / (id - {ROWS - 10}) FROM {TABLE} ORDER BY id"  # noqa: S608 - ours

    with pytest.raises(SourceError, match="division by zero"), session.reading("table"):
        list(postgres_copy.copy(session, query, form, loops=loops))
    assert session.rows("SELECT 1") == [(1,)]


def test_a_server_that_goes_away_in_the_middle_of_a_copy_is_an_error(session: Session, loops: Loops) -> None:
    end = "pg_terminate_backend(pg_backend_pid())"
    query = f"SELECT id > {ROWS - 10} AND {end} FROM {TABLE}"  # noqa: S608

    with pytest.raises(psycopg.OperationalError):
        list(postgres_copy.copy(session, query, "text", loops=loops))
    assert not session.alive


@pytest.mark.parametrize("query", [ORDERED, "SELECT 1"])  # left while rows come, and after the last one
def test_a_copy_that_is_left_early_leaves_its_session_usable(
    session: Session, monkeypatch: pytest.MonkeyPatch, query: str, loops: Loops
) -> None:
    monkeypatch.setattr(postgres_copy, "_BLOCK_BYTES", 4096)
    monkeypatch.setattr(postgres_copy, "_LOOP_BYTES", 4096)

    def interrupted() -> None:
        with session.reading("table"), closing(postgres_copy.copy(session, query, "csv", loops=loops)) as blocks:
            next(blocks)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()

    assert session.rows("SELECT 1") == [(1,)]


class _Loss:
    """A relay before the server that loses one message with a row; a network does not, a faulty pooler may.

    Frames of the protocol: a byte of type, then the length of the rest and of itself, as a big-endian int32.
    """

    def __init__(self, server: PostgresServer, marked: bytes) -> None:
        self._server = server
        self._marked = marked
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.lost = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                upstream = socket.create_connection((self._server.host, self._server.port))
                threading.Thread(target=self._forth, args=(client, upstream), daemon=True).start()
                threading.Thread(target=self._back, args=(upstream, client), daemon=True).start()

    @staticmethod
    def _forth(client: socket.socket, upstream: socket.socket) -> None:
        with suppress(OSError):
            while block := client.recv(1 << 16):
                upstream.sendall(block)
        upstream.close()

    def _back(self, upstream: socket.socket, client: socket.socket) -> None:
        with suppress(OSError), upstream.makefile("rb") as stream:
            while header := stream.read(5):
                body = stream.read(int.from_bytes(header[1:], "big") - 4)
                if header[:1] == b"d" and self._marked in body:
                    self.lost += 1
                else:
                    client.sendall(header + body)
        client.close()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_row_that_is_lost_on_the_way_is_no_export(
    server: PostgresServer, tmp_path: Path, workers: int, loops: Loops, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_loops, "loops", lambda size: loops)
    with closing(_Loss(server, b'"d" 1234\t' if loops else b'"d"" 1234"')) as relay:
        url = f"postgresql://postgres@127.0.0.1:{relay.port}/{server.database}?sslmode=disable&gssencmode=disable"
        settings = {"url": url, "password": "${OWNER}", "workers": workers, "part_mib": 0.25}
        with closing(PostgresExporter("shop", PostgresSettings.model_validate(settings))) as exporter:
            table = next(one for one in exporter.discover() if one.name == TABLE)
            with BundleWriter(tmp_path / "b") as writer, pytest.raises(SourceError) as caught:
                exporter.export(table, writer)

    assert relay.lost == 1
    assert caught.value.message.startswith(f"table {TABLE}: what the server sent cannot be read: the server counts ")
