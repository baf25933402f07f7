"""Which server do tests of a single table share? One with that table, and its owner's password in `OWNER`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from reversible_samples.postgres_server import PostgresServer


@contextmanager
def filled_server(folder: Path, create: str) -> Iterator[PostgresServer]:
    """A PostgreSQL in the folder on which the statements have run."""
    with PostgresServer(folder) as running:
        with psycopg.connect(running.url, autocommit=True) as owner:
            owner.execute(create.encode())
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("OWNER", running.password)
            yield running
