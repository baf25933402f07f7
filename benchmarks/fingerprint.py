"""What does the fingerprint cost beside plainly decoding the same Parquet file?

    python benchmarks/fingerprint.py [--scale 1] [--rounds 3] [--folder DIR]

Makes TPC-H lineitem (6,001,215 rows at scale 1) with tpchgen-cli, rewrites it with pyarrow and zstd, then runs each way
as a process of its own, in turn, so that a noisy machine is noisy for all. Prints the medians of CPU seconds (user and
system, the whole process, imports included), their ratio to the decode of the same round, and the peak memory.
Needs the extra `fast` and `pip install tpchgen-cli`.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

KEY = ("l_orderkey", "l_linenumber")


def make(folder: Path, scale: float) -> Path:
    """lineitem, written with pyarrow and zstd."""
    wanted = folder / f"lineitem-{scale:g}.parquet"
    if wanted.exists():
        return wanted
    beside = Path(sys.executable).with_name("tpchgen-cli")
    program = str(beside) if beside.exists() else shutil.which("tpchgen-cli")
    if program is None:
        sys.exit("tpchgen-cli is missing: pip install tpchgen-cli")
    raw = folder / f"raw-{scale:g}"  # one folder for each scale: the program keeps a file that is there
    subprocess.run([program, "parquet", "-s", f"{scale:g}", "--tables", "lineitem", "-o", str(raw), "-q"], check=True)
    with pq.ParquetFile(raw / "lineitem.parquet", memory_map=False, pre_buffer=False) as source:
        fields = [pa.field(one.name, pa.string() if pa.types.is_string_view(one.type) else one.type)
                  for one in source.schema_arrow]  # fmt: skip
        partial = wanted.with_suffix(".partial")
        with pq.ParquetWriter(partial, pa.schema(fields), compression="zstd") as writer:
            for batch in source.iter_batches(1 << 17):
                writer.write_batch(batch.cast(pa.schema(fields)))
    partial.rename(wanted)
    return wanted


def decode(path: Path) -> str:
    with pq.ParquetFile(path, memory_map=False, pre_buffer=False) as file:
        return str(sum(batch.num_rows for batch in file.iter_batches(1 << 16, use_threads=False)))


def fingerprint(path: Path, engine: str, *, sketch: int) -> str:
    from reversible.fingerprint import Accumulator, Cells, Plan, buckets_for, parquet

    rows = pq.read_metadata(path).num_rows
    found = Accumulator(Plan("benchmark", parquet.columns(path), KEY, buckets_for(rows), sketch), engine)  # type: ignore[arg-type]
    for batch in parquet.batches(path):
        found.add({name: Cells(batch.column(name)) for name in batch.schema.names}, batch.num_rows)
    return found.result().digest


def duckdb(path: Path, query: str) -> str:
    import duckdb as engine

    columns = ", ".join(pq.read_schema(path).names)
    connection = engine.connect(config={"threads": 1})
    return str(connection.execute(query.format(columns=columns, path=path)).fetchone())


WAYS: dict[str, tuple[str, Callable[[Path], str]]] = {
    "decode": ("pyarrow decodes, nothing else", decode),
    "numba": ("fingerprint, numba", lambda path: fingerprint(path, "numba", sketch=510)),
    "numba-0": ("the same without the sketch", lambda path: fingerprint(path, "numba", sketch=0)),
    "numpy": ("fingerprint, numpy", lambda path: fingerprint(path, "numpy", sketch=510)),
    "numpy-0": ("the same without the sketch", lambda path: fingerprint(path, "numpy", sketch=0)),
    "duckdb-hash": (
        "DuckDB sum(hash(row)), not stable across versions",
        lambda path: duckdb(path, "SELECT sum(hash({columns})::HUGEINT) FROM '{path}'"),
    ),
    "duckdb-md5": (
        "DuckDB sum(md5(row as text))",
        lambda path: duckdb(path, "SELECT sum(md5_number_lower(concat_ws('|', {columns}))::HUGEINT) FROM '{path}'"),
    ),
}


def run(name: str, path: Path) -> tuple[float, float, str]:
    """CPU seconds, peak MiB, and what it printed."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryFile("w+") as output:
        arguments = [sys.executable, __file__, "--way", name, "--path", str(path)]
        with subprocess.Popen(arguments, stdout=output, env=environment) as process:
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            sys.exit(f"{name} failed")
        output.seek(0)
        digest, peak = output.read().rsplit(maxsplit=1)
        return usage.ru_utime + usage.ru_stime, int(peak) / 1024, digest


def peak_kib() -> int:
    """Of this program alone; `ru_maxrss` would begin with the memory of the process that started it."""
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "reversible-benchmark")
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--path", type=Path)
    asked = parser.parse_args()
    if asked.way:
        pa.set_cpu_count(1)
        print(WAYS[asked.way][1](asked.path), peak_kib())
        return
    asked.folder.mkdir(exist_ok=True)
    path = asked.path or make(asked.folder, asked.scale)
    ways = ["decode", *(name for name in asked.ways.split(",") if name != "decode")]
    if "numba" in ways or "numba-0" in ways:
        run("numba", make(asked.folder, 0.01))  # compiled once per machine, not part of the figure
    figures: dict[str, list[tuple[float, float, str]]] = {name: [] for name in ways}
    for _ in range(asked.rounds):
        for name in ways:
            figures[name].append(run(name, path))
    digests = {figures[name][0][2] for name in ("numba", "numpy") if name in figures}
    if len(digests) > 1:
        sys.exit(f"the engines disagree: {digests}")
    rows = pq.read_metadata(path).num_rows
    packages = ("pyarrow", "numpy", "numba", "llvmlite", "xxhash", "duckdb")
    print(f"{rows:,} rows, {asked.rounds} rounds; {', '.join(f'{name} {version(name)}' for name in packages)}\n")
    print("| way | CPU s | ratio to decode | peak MiB |\n|---|---|---|---|")
    for name in ways:
        seconds = statistics.median(one[0] for one in figures[name])
        pairs = zip(figures[name], figures["decode"], strict=True)
        ratio = statistics.median(one[0] / other[0] for one, other in pairs)
        memory = max(one[1] for one in figures[name])
        print(f"| {WAYS[name][0]} | {seconds:.2f} | {ratio:.2f} | {memory:.0f} |")


if __name__ == "__main__":
    main()
