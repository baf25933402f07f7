"""Do the largest values that PostgreSQL keeps leave whole, or with the reason why not?"""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from reversible.assets import Kind
from reversible.bundle.reader import Bundle
from reversible.bundle.writer import BundleWriter
from reversible.errors import SourceError
from reversible_exporters.postgres import PostgresExporter
from reversible_samples.postgres_server import PostgresServer
from reversible_verifiers.rows import Rows
from reversible_verifiers.values import Values

MEMORY = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(MEMORY < 16 << 30, reason="a value is held some seven times; 16 GiB of memory are needed"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    with PostgresServer(tmp_path_factory.mktemp("postgres")) as running:
        os.environ["TEST_LARGE"] = running.url
        yield running
        os.environ.pop("TEST_LARGE")


def leave(server: PostgresServer, values: str, root: Path) -> Bundle:
    """Export a table of three rows: `values`, something small, and NULL.

    Raises:
        SourceError: it cannot leave.
    """
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS grand")
        connection.execute(f"CREATE TABLE grand AS SELECT 1 AS id, {values} AS v")  # type: ignore[arg-type]
        connection.execute("INSERT INTO grand VALUES (2, 'petit'), (3, NULL)")
    source = PostgresExporter("large", PostgresExporter.Settings(url="${TEST_LARGE}", pg_dump=str(server.pg_dump)))
    with BundleWriter(root) as writer:
        try:
            for asset in source.discover():
                if asset.kind is Kind.TABLE:
                    source.export(asset, writer)
                    writer.put_witness(asset, source.witness(asset))
                    writer.close_asset(asset, exporter="postgres", at=datetime.now(UTC))
        finally:
            source.close()
        return writer.finish(about={"sources": []}, at=datetime.now(UTC))


@pytest.mark.parametrize(
    "values",
    [
        pytest.param("repeat('abcdefghij', 100000000)", id="text of 1 GB"),
        pytest.param("decode(repeat('00ff', 100000000), 'hex') || decode(repeat('7f', 200000000), 'hex')", id="400 MB"),
    ],
)
def test_a_large_value_leaves_whole(server: PostgresServer, tmp_path: Path, values: str) -> None:
    bundle = leave(server, values, tmp_path / "bundle")

    found = [one for verifier in (Rows(), Values()) for one in verifier.verify(bundle.assets[0], bundle)]

    assert {one.metric: one.value for one in found} == {
        "data.rows_missing": 0,
        "data.rows_extra": 0,
        "data.cells_different": 0,
        "data.mismatch_rate_ub95": 0,
    }


def test_what_the_server_cannot_send_as_text_is_said(server: PostgresServer, tmp_path: Path) -> None:
    values = "decode(repeat('00', 300000000), 'hex') || decode(repeat('ff', 300000000), 'hex')"

    with pytest.raises(SourceError, match=r"public\.grand: a value is too large for the server to send as text"):
        leave(server, values, tmp_path / "bundle")
