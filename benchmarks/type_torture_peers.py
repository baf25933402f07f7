"""How does one peer carry each table of the type torture to Parquet? Run in the peers' own environment.

    python type_torture_peers.py PEER tables.json OUT

`tables.json` is {"url": …, "tables": [names in schema t]}. OUT gets NNN.parquet with columns id and v, or a line in
errors.json. Each peer is called as its own documentation begins, without options that the user would have to know; but
Sling writes Parquet with its own code, because the DuckDB that it would use comes from the network.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.parquet as pq

PACKAGES = (
    "adbc-driver-postgresql",
    "connectorx",
    "dlt[filesystem,parquet,sql_database]",
    "duckdb-extension-postgres-scanner==1.5.5",
    "duckdb==1.5.5",  # the extension's
    "pandas",
    "psycopg2-binary",
    "psycopg[binary]",
    "pyarrow",
    "sling-linux-amd64",
    "sqlalchemy",
)
Reader = Callable[[str], pa.Table]


def _query(table: str) -> str:
    return f'SELECT id, v FROM t."{table.replace(chr(34), chr(34) * 2)}" ORDER BY id'  # noqa: S608


@contextmanager
def duckdb_scanner(url: str) -> Iterator[Reader]:
    import duckdb
    import duckdb_extension_postgres_scanner

    assert duckdb_extension_postgres_scanner.__file__  # noqa: S101
    (extension,) = Path(duckdb_extension_postgres_scanner.__file__).parent.rglob("postgres_scanner.duckdb_extension")
    with duckdb.connect(config={"allow_unsigned_extensions": True}) as connection:
        connection.execute(f"LOAD '{extension}'")
        connection.execute(f"ATTACH '{url}' AS p (TYPE postgres, READ_ONLY)")

        def read(table: str) -> pa.Table:
            quoted = table.replace('"', '""')
            with tempfile.NamedTemporaryFile(suffix=".parquet") as file:
                connection.execute(f"COPY (SELECT id, v FROM p.t.\"{quoted}\" ORDER BY id) TO '{file.name}'")  # noqa: S608
                return pq.read_table(file.name)

        yield read


@contextmanager
def adbc(url: str) -> Iterator[Reader]:
    from adbc_driver_postgresql import dbapi

    with dbapi.connect(url, autocommit=True) as connection:

        def read(table: str) -> pa.Table:
            with connection.cursor() as cursor:
                cursor.execute(_query(table))
                return cursor.fetch_arrow_table()

        yield read


@contextmanager
def connectorx(url: str) -> Iterator[Reader]:
    import connectorx as cx

    yield lambda table: cx.read_sql(url, _query(table), return_type="arrow")


@contextmanager
def pandas(url: str) -> Iterator[Reader]:
    import pandas as pd
    import sqlalchemy

    engine = sqlalchemy.create_engine(url.replace("postgresql://", "postgresql+psycopg2://"))

    def read(table: str) -> pa.Table:
        with engine.connect() as connection, tempfile.NamedTemporaryFile(suffix=".parquet") as file:
            pd.read_sql(sqlalchemy.text(_query(table).replace(":", r"\:")), connection).to_parquet(file.name)
            return pq.read_table(file.name)

    yield read


@contextmanager
def psycopg_naive(url: str) -> Iterator[Reader]:
    """fetchall, then pyarrow guesses the type: the script that everybody has written once."""
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:

        def read(table: str) -> pa.Table:
            rows = connection.execute(_query(table)).fetchall()
            return pa.table({"id": [row[0] for row in rows], "v": [row[1] for row in rows]})

        yield read


@contextmanager
def dlt(url: str) -> Iterator[Reader]:
    """With its Arrow backend; the default one spreads lists and ranges over columns and tables of their own."""
    import dlt as library
    from dlt.sources.sql_database import sql_table

    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    with tempfile.TemporaryDirectory() as scratch:

        def read(table: str) -> pa.Table:
            folder = Path(scratch) / f"{abs(hash(table))}"
            pipeline = library.pipeline(
                f"p{abs(hash(table))}", pipelines_dir=str(folder / "state"), dataset_name="d",
                destination=library.destinations.filesystem(bucket_url=str(folder / "out")),
            )  # fmt: skip
            resource = sql_table(credentials=url, table=table, schema="t", backend="pyarrow")
            resource.apply_hints(table_name="copied")
            pipeline.run(resource, loader_file_format="parquet")
            (file,) = (folder / "out").rglob("copied/*.parquet")
            return pq.read_table(file)

        yield read


@contextmanager
def sling(url: str) -> Iterator[Reader]:
    from sling_linux_amd64 import SLING_BIN

    with tempfile.TemporaryDirectory() as scratch:
        environment = {
            "HOME": scratch, "SLING_DISABLE_TELEMETRY": "true", "SLING_DUCKDB_COMPUTE": "false", "NO_COLOR": "1",
            "PG": f"{url}?sslmode=disable",
        }  # fmt: skip

        def read(table: str) -> pa.Table:
            file = Path(scratch) / "copied.parquet"
            file.unlink(missing_ok=True)
            words = ["--src-conn", "PG", "--src-stream", _query(table), "--tgt-object", f"file://{file}"]
            done = subprocess.run(
                [SLING_BIN, "run", *words], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                timeout=60, check=False,
            )  # fmt: skip
            if done.returncode:
                raise RuntimeError((done.stdout + done.stderr)[-300:])
            return pq.read_table(file)

        yield read


PEERS: dict[str, tuple[str, Any]] = {
    "DuckDB scanner": ("duckdb", duckdb_scanner),
    "ADBC": ("adbc-driver-postgresql", adbc),
    "connectorx": ("connectorx", connectorx),
    "dlt (pyarrow)": ("dlt", dlt),
    "Sling": ("sling-linux-amd64", sling),
    "pandas": ("pandas", pandas),
    "psycopg, naive": ("psycopg", psycopg_naive),
}


def main(peer: str, tables: Path, out: Path) -> None:
    given = json.loads(tables.read_text(encoding="utf-8"))
    assert urlsplit(given["url"]).hostname == "127.0.0.1"  # noqa: S101 - never anybody's own server
    package, opened = PEERS[peer]
    errors: dict[str, str] = {}
    with opened(given["url"]) as read:
        for number, table in enumerate(given["tables"]):
            try:
                found = read(table)
                names = {name.lower(): name for name in found.column_names}
                pq.write_table(
                    pa.table({"id": found[names["id"]], "v": found[names["v"]]}), out / f"{number:03d}.parquet"
                )
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException as error:  # noqa: BLE001 - a Rust panic is no Exception; the error is the result
                errors[table] = f"{type(error).__name__}: {str(error).strip().splitlines()[-1:]}"[:200]
    (out / "errors.json").write_text(json.dumps({"version": version(package), "errors": errors}), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
