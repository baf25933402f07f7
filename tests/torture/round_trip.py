"""What does a test of a whole round trip need: a database, its bundle, a restored copy, and both dumps?"""

import os
import re
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg

from reversible.assets import Asset, Kind
from reversible.bundle.reader import Bundle
from reversible.bundle.writer import BundleWriter
from reversible.interfaces import Restored
from reversible_exporters.postgres import PostgresExporter, PostgresSettings
from reversible_exporters.postgres_restore import PostgresRestorer
from reversible_samples.postgres_server import PostgresServer

AT = datetime(2026, 11, 24, tzinfo=UTC)


class Database:
    """A new database on a server; the password is in PGPASSWORD, as a user of the tool has it."""

    def __init__(self, server: PostgresServer, *, name: str = "", make: bool = True) -> None:
        self.server = server
        self.name = name or f"d{uuid.uuid4().hex[:12]}"
        if not make:
            return
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{self.name}"'.encode())

    @property
    def url(self) -> str:
        return f"postgresql://{self.server.user}@{self.server.host}:{self.server.port}/{self.name}"

    @contextmanager
    def connected(self) -> Iterator["psycopg.Connection[Any]"]:
        with psycopg.connect(self.url, password=self.server.password, autocommit=True) as connection:
            yield connection

    def run(self, sql: str) -> None:
        with self.connected() as connection:
            connection.execute(sql.encode())

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with self.connected() as connection:
            return connection.execute(sql.encode()).fetchall()

    def dump(self, *arguments: str) -> bytes:
        """pg_dump's plain SQL, schema and data. Normalised: the two lines that name versions, \\restrict's token."""
        command = [str(self.server.pg_dump), "--no-password", *arguments, self.url]
        environment = {**os.environ, "PGPASSWORD": self.server.password}
        done = subprocess.run(command, env=environment, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()
        text = re.sub(rb"(?m)^\\(un)?restrict \w+$", rb"\\\1restrict", done.stdout)
        return re.sub(rb"(?m)^-- Dumped (from database|by pg_dump) version .*$", rb"-- Dumped \1", text)


def exported(database: Database, root: Path, **settings: Any) -> Bundle:
    """The database's bundle, as run.py writes it."""
    os.environ["TEST_ADMIN"] = database.server.password
    given = {"url": database.url, "password": "${TEST_ADMIN}", "pg_dump": database.server.pg_dump, **settings}
    source = PostgresExporter("shop", PostgresSettings.model_validate(given))
    with BundleWriter(root) as writer:
        for asset in source.discover():
            if asset.obstacle is None:
                source.export(asset, writer)
                writer.put_witness(asset, source.witness(asset))
                writer.close_asset(asset, exporter="test", at=AT)
        source.close()
        return writer.finish(about={"tool": "test"}, at=AT)


def restored(bundle: Bundle, target: Database, **options: Any) -> list[Restored]:
    """What `reversible restore` does, step by step."""
    os.environ["PGPASSWORD"] = target.server.password
    return list(PostgresRestorer(target.url, **options).restore(bundle, *assets_of(bundle)))


def assets_of(bundle: Bundle) -> tuple[Asset, list[Asset]]:
    (database,) = [asset for asset in bundle.assets if asset.kind is Kind.DATABASE]
    return database, [asset for asset in bundle.assets if asset.kind is Kind.TABLE]


def wrong(steps: list[Restored]) -> list[str]:
    """What the target refused, what differs, and what could not be compared."""
    return [f"{one.step} {one.subject}: {one.seen}" for one in steps if one.ok is not True]
