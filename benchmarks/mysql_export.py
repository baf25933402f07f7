"""How long does a lossless export of MySQL take, beside the server's own batch output to nowhere?

    python benchmarks/mysql_export.py [--scale 0.1] [--rounds 3]

Starts a throw-away MariaDB (Debian's mariadb-server), loads TPC-H lineitem as `tpchgen-cli` makes it (0.6 M rows at
scale 0.1), and prints seconds and ratios of one round beside the other: only ratios within a round hold on a shared
machine. The floor is `mariadb --batch --quick` to /dev/null: the server's work and the wire, and nothing made of it.
"""

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from reversible.assets import Kind
from reversible.bundle.writer import BundleWriter
from reversible_exporters.mysql import MySQLExporter, MySQLSettings
from reversible_samples.mariadb_server import MariaDBServer, program

_GOAL = 1.8
_LINEITEM = """
    CREATE TABLE lineitem (
      l_orderkey bigint NOT NULL, l_partkey int NOT NULL, l_suppkey int NOT NULL, l_linenumber int NOT NULL,
      l_quantity decimal(15,2) NOT NULL, l_extendedprice decimal(15,2) NOT NULL, l_discount decimal(15,2) NOT NULL,
      l_tax decimal(15,2) NOT NULL, l_returnflag char(1) NOT NULL, l_linestatus char(1) NOT NULL,
      l_shipdate date NOT NULL, l_commitdate date NOT NULL, l_receiptdate date NOT NULL,
      l_shipinstruct char(25) NOT NULL, l_shipmode char(10) NOT NULL, l_comment varchar(44) NOT NULL,
      PRIMARY KEY (l_orderkey, l_linenumber))"""


def main() -> int:
    """Print the rounds and the median ratio; 1 when it is above the goal."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--scale", default="0.1", help="TPC-H scale factor")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--tpchgen", default=shutil.which("tpchgen-cli"), help="pip install tpchgen-cli")
    given = options.parse_args()
    if not given.tpchgen:
        options.error("tpchgen-cli is not on the PATH")
    with tempfile.TemporaryDirectory() as scratch, MariaDBServer(Path(scratch, "server")) as server:
        _load(server, Path(scratch), given.tpchgen, given.scale)
        os.environ["BENCHMARK_PASSWORD"] = server.password
        ratios = [_round(server, Path(scratch), n) for n in range(given.rounds)]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    median = statistics.median(ratios)
    print(f"median ratio {median:.2f} (goal <= {_GOAL}), peak memory {peak:.0f} MiB")
    return int(median > _GOAL)


def _load(server: MariaDBServer, scratch: Path, tpchgen: str, scale: str) -> None:
    subprocess.run([tpchgen, "tbl", "-s", scale, "--tables=lineitem", f"--output-dir={scratch}"], check=True)
    load = f"LOAD DATA LOCAL INFILE '{scratch}/lineitem.tbl' INTO TABLE lineitem FIELDS TERMINATED BY '|'"
    _client(server, "--local-infile=1", f"--execute={_LINEITEM}; {load}; ANALYZE TABLE lineitem")


def _round(server: MariaDBServer, scratch: Path, n: int) -> float:
    started = time.perf_counter()
    _client(server, "--batch", "--quick", "--execute=SELECT * FROM lineitem")
    floor = time.perf_counter() - started
    settings = {"url": server.url, "password": "${BENCHMARK_PASSWORD}"}
    source = MySQLExporter("bench", MySQLSettings.model_validate(settings))
    table = next(asset for asset in source.discover() if asset.kind is Kind.TABLE)
    with BundleWriter(scratch / f"bundle-{n}") as writer:
        started, cpu = time.perf_counter(), time.process_time()
        source.export(table, writer)
        exported, used = time.perf_counter() - started, time.process_time() - cpu
        started = time.perf_counter()
        writer.put_witness(table, source.witness(table))
        witnessed = time.perf_counter() - started
        writer.close_asset(table, exporter="benchmark", at=datetime.now(UTC))
        rows = writer.finish(about={"tool": "benchmark"}, at=datetime.now(UTC)).document(table, "table.json")["rows"]
    source.close()
    ratio = exported / floor
    print(
        f"{rows:,} rows: floor {floor:.2f} s, export {exported:.2f} s ({used:.2f} s of our CPU), ratio {ratio:.2f};"
        f" witness {witnessed:.2f} s",
        flush=True,
    )
    return ratio


def _client(server: MariaDBServer, *arguments: str) -> None:
    connection = [f"--host={server.host}", f"--port={server.port}", f"--user={server.user}", server.database]
    subprocess.run(
        [str(program("mariadb")), "--no-defaults", *arguments, *connection], check=True, stdout=subprocess.DEVNULL,
        env={**os.environ, "MYSQL_PWD": server.password},
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
