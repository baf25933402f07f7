"""Are 100 planted defects in 6 million rows found, localised and classified, and what does it cost beside SQL?

    python benchmarks/defects.py DIR [--lineitem lineitem.parquet] [--rows 6000000] [--rounds 2]

`--lineitem` is TPC-H's table as `tpchgen-cli parquet -s 1 --tables lineitem` writes it; without it, a table of the same
shape is made. Each contender runs in a process of its own, in turns: on a shared machine CPU seconds compare, not
wall time. The hand-written SQL needs the key, the names of all columns and both files on one machine.
"""

import argparse
import json
import pickle
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from reversible.testing import defects


def plant(folder: Path, lineitem: Path | None, rows: int) -> None:
    """Write orig.parquet, copy.parquet with the defects, same.parquet without, and what was planted."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = defects.lineitem(rows) if lineitem is None else pq.read_table(lineitem)
    plain = [one.cast(pa.string()) if pa.types.is_string_view(one.type) else one for one in table.columns]
    table = defects.enriched(pa.table(dict(zip(table.column_names, plain, strict=True))))
    pq.write_table(table, folder / "orig.parquet", row_group_size=1 << 17)
    copy, planted = defects.plant(table)
    pq.write_table(copy, folder / "copy.parquet", compression="zstd", row_group_size=1 << 17)
    order = pa.array(np.random.default_rng(1).permutation(table.num_rows))
    same = table.take(order).select(copy.column_names)
    pq.write_table(same, folder / "same.parquet", compression="zstd", row_group_size=100_000)
    (folder / "defects.pickle").write_bytes(pickle.dumps(planted))


def ours(folder: Path, *, key: tuple[str, ...] = (), copy: str = "copy.parquet") -> dict[str, Any]:
    """`reversible compare`, and its score."""
    from reversible.comparison.tables import open_table
    from reversible.comparison.two_sided import compare_tables

    tables = open_table(str(folder / "orig.parquet")), open_table(str(folder / copy))
    found = compare_tables(*tables, key=key, limit=1000)
    if copy == "same.parquet":
        return {"outcome": str(found.outcome)}
    planted = pickle.loads((folder / "defects.pickle").read_bytes())  # noqa: S301 - written by `plant`
    score = defects.score(planted, found.differences)
    return {name: score[name] for name in ("found", "localised", "classified", "false")}


def full_join(folder: Path) -> dict[str, Any]:
    """What a careful person writes in SQL when there is a key."""
    import duckdb

    database = duckdb.connect(config={"threads": 2})
    one, other = f"'{folder}/orig.parquet'", f"'{folder}/copy.parquet'"
    columns = [row[0] for row in database.execute(f"DESCRIBE SELECT * FROM {one}").fetchall()]  # noqa: S608
    on = " AND ".join(f"a.{name} = b.{name}" for name in defects.KEY)
    differs = " OR ".join(f"a.{name} IS DISTINCT FROM b.{name}" for name in columns if name not in defects.KEY)
    listed = ", ".join(f"a.{name}, b.{name}" for name in columns)
    query = f"SELECT {listed} FROM {one} a FULL JOIN {other} b ON {on} WHERE a.l_orderkey IS NULL OR b.l_orderkey IS NULL OR {differs}"  # noqa: E501, S608
    return {"found": len(database.execute(query).fetchall())}


def except_all(folder: Path) -> dict[str, Any]:
    """Both ways, under 4 GB."""
    import duckdb

    database = duckdb.connect(config={"threads": 2, "memory_limit": "4GB"})
    one, other = f"'{folder}/orig.parquet'", f"'{folder}/copy.parquet'"
    columns = ", ".join(row[0] for row in database.execute(f"DESCRIBE SELECT * FROM {one}").fetchall())  # noqa: S608
    ways = [f"SELECT {columns} FROM {a} EXCEPT ALL SELECT {columns} FROM {b}" for a, b in ((one, other), (other, one))]  # noqa: S608
    return {"rows": sum(len(database.execute(way).fetchall()) for way in ways)}


CONTENDERS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "compare, keyed": lambda folder: ours(folder, key=defects.KEY),
    "FULL JOIN": full_join,
    "compare, keyless": ours,
    "compare, equal tables": lambda folder: ours(folder, copy="same.parquet"),
    "EXCEPT ALL": except_all,
}


def measured(name: str, folder: Path) -> None:
    """One contender in this process: a JSON line."""
    begin = time.monotonic()
    found = CONTENDERS[name](folder)
    used = resource.getrusage(resource.RUSAGE_SELF)
    cost = {
        "cpu_s": used.ru_utime + used.ru_stime,
        "wall_s": time.monotonic() - begin,
        "peak_mib": used.ru_maxrss >> 10,
    }
    sys.stdout.write(json.dumps({"found": found, **cost}) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--lineitem", type=Path)
    parser.add_argument("--rows", type=int, default=6_000_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--contender", choices=CONTENDERS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.contender:
        measured(given.contender, given.folder)
        return
    given.folder.mkdir(parents=True, exist_ok=True)
    if not (given.folder / "defects.pickle").exists():
        plant(given.folder, given.lineitem, given.rows)
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in CONTENDERS}
    for _ in range(given.rounds):
        for name in CONTENDERS:
            command = [sys.executable, __file__, str(given.folder), "--contender", name]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            runs[name].append(json.loads(done.stdout))
    floor = statistics.median(one["cpu_s"] for one in runs["FULL JOIN"])
    sys.stdout.write(f"{'':<24}{'CPU s':>8}{'ratio':>7}{'wall s':>8}{'MiB':>7}  found\n")
    for name, all_runs in runs.items():
        cpu, wall, peak = (statistics.median(one[what] for one in all_runs) for what in ("cpu_s", "wall_s", "peak_mib"))
        found = json.dumps(all_runs[-1]["found"])
        sys.stdout.write(f"{name:<24}{cpu:>8.1f}{cpu / floor:>7.2f}{wall:>8.1f}{peak:>7.0f}  {found}\n")


if __name__ == "__main__":
    main()
