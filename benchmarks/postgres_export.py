"""How long does a lossless export of PostgreSQL take, beside the server's own binary COPY to nowhere?

    python benchmarks/postgres_export.py [--scale 1] [--rounds 3]

Starts a throw-away PostgreSQL 18, loads TPC-H lineitem as `tpchgen-cli` makes it (6 M rows at scale 1), and prints
seconds and ratios of one round beside the other: only ratios within a round hold on a shared machine. The floor is
psql's `COPY ... (FORMAT binary)` to /dev/null. Each export and each witness is a process of its own, so that its CPU
seconds and its peak memory are its own. "again" is a second run over the unchanged table with `--since` the first.
"at best" is the ratio of an export whose CPU, and the server's for it, keeps every core busy, to a floor that waits
for the server's CPU alone: on a busy machine it holds longer than the ratio of the wall times. With numba (extra
`fast`) the loops are compiled before, once per machine and version; --no-loops measures without them.
"""

import argparse
import json
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
from typing import Any

import psycopg

from reversible.bundle.reader import Bundle
from reversible.bundle.writer import BundleWriter
from reversible_exporters import postgres_loops
from reversible_exporters.postgres import PostgresExporter, PostgresSettings
from reversible_samples.postgres_server import PostgresServer

_GOAL, _GOAL_MIB = 1.2, 500
_LINEITEM = """
    CREATE TABLE lineitem (
      l_orderkey bigint NOT NULL, l_partkey bigint NOT NULL, l_suppkey bigint NOT NULL, l_linenumber integer NOT NULL,
      l_quantity numeric(15,2) NOT NULL, l_extendedprice numeric(15,2) NOT NULL, l_discount numeric(15,2) NOT NULL,
      l_tax numeric(15,2) NOT NULL, l_returnflag char(1) NOT NULL, l_linestatus char(1) NOT NULL,
      l_shipdate date NOT NULL, l_commitdate date NOT NULL, l_receiptdate date NOT NULL,
      l_shipinstruct char(25) NOT NULL, l_shipmode char(10) NOT NULL, l_comment varchar(44) NOT NULL)"""


def main() -> int:
    """Print the rounds and the median ratio; 1 when it is above the goal."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--scale", default="1", help="TPC-H scale factor")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--workers", type=int, default=2)
    options.add_argument("--tpchgen", default=shutil.which("tpchgen-cli"), help="pip install tpchgen-cli")
    options.add_argument("--no-loops", action="store_true", help="as if numba were not installed")
    options.add_argument("--export-only", action="store_true", help="neither the witness nor the second run")
    options.add_argument("--child", nargs=3, metavar=("STEP", "URL", "FOLDER"), help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.child:
        return _child(*given.child, workers=given.workers, loops=not given.no_loops)
    if not given.tpchgen:
        options.error("tpchgen-cli is not on the PATH")
    if not given.no_loops and postgres_loops.loops(sys.maxsize) is None:
        options.error("numba is not installed (extra `fast`): --no-loops measures without")
    with tempfile.TemporaryDirectory() as scratch, PostgresServer(Path(scratch, "server")) as server:
        _load(server, Path(scratch), given.tpchgen, given.scale)
        os.environ["BENCHMARK_PASSWORD"] = server.password
        rounds = [_round(server, Path(scratch, f"round-{n}"), given) for n in range(given.rounds)]
    median = statistics.median(ratio for ratio, _ in rounds)
    peak = max(peak for _, peak in rounds)
    print(f"median ratio {median:.2f} (goal <= {_GOAL}), peak memory {peak:.0f} MiB (goal <= {_GOAL_MIB})")
    return int(median > _GOAL or peak > _GOAL_MIB)


def _load(server: PostgresServer, scratch: Path, tpchgen: str, scale: str) -> None:
    subprocess.run([tpchgen, "csv", "-s", scale, "--tables=lineitem", f"--output-dir={scratch}"], check=True)
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(_LINEITEM)
        with (
            (scratch / "lineitem.csv").open("rb") as file,
            connection.cursor().copy("COPY lineitem FROM STDIN (FORMAT csv, HEADER)") as copy,
        ):
            while block := file.read(1 << 20):
                copy.write(block)
        connection.execute("ALTER TABLE lineitem ADD PRIMARY KEY (l_orderkey, l_linenumber)")
        connection.execute("VACUUM ANALYZE lineitem")
    (scratch / "lineitem.csv").unlink()


def _round(server: PostgresServer, folder: Path, given: argparse.Namespace) -> tuple[float, float]:
    served = _served(server)
    begin = time.perf_counter()
    query = "COPY lineitem TO STDOUT (FORMAT binary)"
    subprocess.run(
        [str(server.program("psql")), "-X", "-q", "-c", query, server.url], check=True, stdout=subprocess.DEVNULL
    )
    floor = time.perf_counter() - begin
    floor_served = _served(server) - served
    steps = ("export",) if given.export_only else ("export", "witness", "again")
    export, *others = (_measured(server, step, folder, given) for step in steps)
    ratio = export["seconds"] / floor
    least = (export["cpu"] + export["served"]) / (os.cpu_count() or 1) / floor_served
    print(
        f"{export['rows']:,} rows: floor {floor:.2f} s ({floor_served:.2f} s of the server's CPU); export"
        f" {export['seconds']:.2f} s ({export['cpu']:.2f} s of our CPU, {export['served']:.2f} s of the server's,"
        f" {export['mib']:.0f} MiB), ratio {ratio:.2f}, at best {least:.2f}; load {os.getloadavg()[0]:.1f}",
        flush=True,
    )
    for step, one in zip(steps[1:], others, strict=True):
        print(f"  {step}: {one['seconds']:.2f} s ({one['cpu']:.2f} s CPU, {one['mib']:.0f} MiB)", flush=True)
    return ratio, max(one["mib"] for one in (export, *others))


def _served(server: PostgresServer) -> float:
    """CPU seconds of the server's connections that have ended: proc(5), cutime and cstime."""
    time.sleep(0.2)  # a connection ends a moment after its client
    process_id = (server.directory / "data/postmaster.pid").read_text(encoding="utf-8").split()[0]
    fields = Path(f"/proc/{process_id}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")


def _measured(server: PostgresServer, step: str, folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    command = [
        sys.executable,
        __file__,
        "--workers",
        str(given.workers),
        *(["--no-loops"] if given.no_loops else []),
        "--child",
        step,
        server.url_of("postgres"),
        str(folder),
    ]
    os.environ["BENCHMARK_PG_DUMP"] = str(server.pg_dump)
    served = _served(server)
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    return {**json.loads(done.stdout), "served": _served(server) - served}


def _child(step: str, url: str, folder: str, *, workers: int, loops: bool) -> int:
    if not loops:
        postgres_loops.loops = lambda size_bytes: None
    settings = {
        "url": url, "password": "${BENCHMARK_PASSWORD}", "pg_dump": os.environ["BENCHMARK_PG_DUMP"], "workers": workers,
    }  # fmt: skip
    source = PostgresExporter("bench", PostgresSettings.model_validate(settings))
    table = next(asset for asset in source.discover() if asset.name == "public.lineitem")
    since = Bundle.open(Path(folder, "first")) if step == "again" else None
    with BundleWriter(Path(folder, "first" if since is None else "again"), since=since) as writer:
        begin, cpu = time.perf_counter(), time.process_time()
        source.export(table, writer)  # for the witness: at once, from the parts that stand
        if step == "witness":
            begin, cpu = time.perf_counter(), time.process_time()
            writer.put_witness(table, source.witness(table))
        seconds, used = time.perf_counter() - begin, time.process_time() - cpu
        if step == "witness":
            writer.close_asset(table, exporter="benchmark", at=datetime.now(UTC))
            writer.finish(about={"tool": "benchmark"}, at=datetime.now(UTC))
    source.close()
    mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "cpu": used, "mib": mib, "rows": table.rows}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
