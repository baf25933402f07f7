"""What do the peers say of 100 planted defects, and what does it cost beside `reversible compare`?

    python benchmarks/defects_peers.py DIR --peers FOLDER [--rows 500000] [--rounds 2]

The tables of benchmarks/defects.py, with a single whole number as key, since some peers take no other: once with the
defects, once only in another order. Each peer is asked as benchmarks/zoo_peers.py asks it, in its own environment
behind the product's own fence, whether the two are equal; each in a process of its own, in turns. CPU seconds compare
on a shared machine; they hold the peer's imports. DVT compares tables of a database only and is not asked here.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
sys.path.insert(0, str(HERE.parent / "tests"))

from defects import plant  # noqa: E402
from zoo import answered  # noqa: E402
from zoo_peers import IN_POSTGRES, TOOLS  # noqa: E402

PAIRS = {"defects": "copy.parquet", "same": "same.parquet"}
KEY = "row_key"
PATIENCE_S = 300
OURS = {"compare, keyed": [KEY], "compare, keyless": []}


def prepare(folder: Path, rows: int) -> None:
    """Write PAIR.left.parquet and PAIR.right.parquet of both pairs, and the list that the peers read."""
    folder.mkdir(parents=True, exist_ok=True)
    plant(folder, None, rows)
    for pair, right in PAIRS.items():
        for side, name in (("left", "orig.parquet"), ("right", right)):
            table = pq.read_table(folder / name)
            key = pc.add(pc.multiply(table["l_orderkey"].cast(pa.int64()), 8), table["l_linenumber"].cast(pa.int64()))
            pq.write_table(table.add_column(0, KEY, key), folder / f"{pair}.{side}.parquet")
    listed = [{"name": pair, "key": KEY, "postgres": False, "patience_s": PATIENCE_S} for pair in PAIRS]
    (folder / "pairs.json").write_text(json.dumps(listed))


def ours(folder: Path, key: list[str]) -> None:
    """Both pairs in this process, a JSON line each."""
    from zoo_peers import _cpu_s, _peak_mib

    for pair in PAIRS:
        before = _cpu_s()
        from reversible.comparison.tables import open_table
        from reversible.comparison.two_sided import compare_tables

        tables = [open_table(str(folder / f"{pair}.{side}.parquet")) for side in ("left", "right")]
        found = compare_tables(*tables, key=key, limit=1000)
        answer = "equal" if found.outcome == "equal" else f"differ: {len(found.differences)} named"
        cost = {"cpu_s": _cpu_s() - before, "peak_mib": _peak_mib()}
        sys.stdout.write(json.dumps({"pair": pair, "answer": answer, "reason": "", **cost}) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--peers", type=Path)
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--ours", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.ours:
        ours(given.folder, OURS[given.ours])
        return
    if given.peers is None:
        parser.error("--peers FOLDER")
    if not (given.folder / "pairs.json").exists():
        prepare(given.folder, given.rows)
    found: dict[str, list[dict[str, Any]]] = {}
    for _ in range(given.rounds):
        for name in (*OURS, *(name for name in TOOLS if name not in IN_POSTGRES)):
            if name in OURS:
                command = [sys.executable, __file__, str(given.folder), "--ours", name]
                said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
                lines = [json.loads(line) for line in said]
            else:
                lines = answered(given.peers, given.folder, name, 0)
            found.setdefault(name, []).extend(lines)
    report(found)


def report(found: dict[str, list[dict[str, Any]]]) -> None:
    base = _median(found["compare, keyed"], "defects", "cpu_s")
    print(f"| tool | of {len(PAIRS)} tables: with 100 defects | CPU s | ratio | in another order | CPU s | peak MiB |")
    print("|---|---|---|---|---|---|---|")
    for name, lines in found.items():
        versions = next((f" ({line['versions']})" for line in lines if "versions" in line), "")
        cells = [f"{name}{versions}"]
        for pair in PAIRS:
            said = next((line for line in lines if line["pair"] == pair), {"answer": "no answer", "reason": ""})
            cpu = _median(lines, pair, "cpu_s")
            cells += [f"{said['answer']} {said['reason'][:60]}".strip(), f"{cpu:.1f}"]
            cells += [f"{cpu / base:.2f}"] if pair == "defects" else []
        peak = max((line["peak_mib"] for line in lines), default=0)
        print(f"| {' | '.join([*cells, f'{peak:,}'])} |")


def _median(lines: list[dict[str, Any]], pair: str, what: str) -> float:
    return statistics.median([line[what] for line in lines if line["pair"] == pair] or [float("nan")])


if __name__ == "__main__":
    main()
