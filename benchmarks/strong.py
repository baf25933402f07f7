"""What does the strong fingerprint cost? `python benchmarks/strong.py FILE.parquet [ROUNDS]`

CPU seconds and peak memory of reading the file with pyarrow in one thread, and of reading and hashing it: each in a
process of its own, in turns, medians. The file's columns all count; TPC-H lineitem at scale 1 is the usual one.
"""

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq

from reversible.fingerprint import Cells, Column, family
from reversible.fingerprint.strong import RowDigests

_BATCH_ROWS = 1 << 16


def decode(path: str) -> int:
    file = pq.ParquetFile(path, memory_map=False, pre_buffer=False)
    return sum(batch.num_rows for batch in file.iter_batches(_BATCH_ROWS, use_threads=False))


def hashed(path: str) -> int:
    file = pq.ParquetFile(path, memory_map=False, pre_buffer=False)
    columns = [Column(field.name, family(field.type)) for field in file.schema_arrow]
    with tempfile.TemporaryDirectory() as folder, RowDigests(columns, Path(folder)) as digests:
        for batch in file.iter_batches(_BATCH_ROWS, use_threads=False):
            digests.add(dict(zip(batch.schema.names, map(Cells, batch.columns), strict=True)))
        return digests.finish().rows


WAYS: dict[str, Callable[[str], int]] = {"decode": decode, "strong": hashed}


def main(path: str, rounds: int) -> None:
    figures: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for _ in range(rounds):
        for way in WAYS:
            command = [sys.executable, __file__, path, way]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            figures[way].append(json.loads(done.stdout))
    floor = statistics.median(one["cpu_s"] for one in figures["decode"])
    for way, found in figures.items():
        seconds = statistics.median(one["cpu_s"] for one in found)
        peak = max(one["peak_mib"] for one in found)
        million = found[0]["rows"] / 1e6 / seconds
        print(f"{way}: {seconds:.2f} s CPU, {seconds / floor:.1f} x decode, {million:.2f} Mrow/s, {peak:.0f} MiB")


def one(path: str, way: str) -> None:
    begin = time.process_time()
    rows = WAYS[way](path)
    cpu = time.process_time() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"rows": rows, "cpu_s": cpu, "peak_mib": peak}))


if __name__ == "__main__":
    if sys.argv[2:] and sys.argv[2] in WAYS:
        one(sys.argv[1], sys.argv[2])
    else:
        main(sys.argv[1], int(sys.argv[2]) if sys.argv[2:] else 3)
