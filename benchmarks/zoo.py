"""Who tells the zoo's pairs apart? `python benchmarks/zoo.py [--peers VENV] [--only TOOL] [--write]`

Runs tests/conformance/zoo.py through our own fingerprints and, with --peers, through other tools in an environment of
their own, which it makes when VENV is not there (needs a package index). Counts right answers, silent misses (called
equal, and must differ), false alarms (called different, and must be equal) and refusals (an error). --write puts the
table into docs/conformance.md.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

HERE = Path(__file__).parent
ROOT = HERE.parent
PACKAGES = (
    "datacompy",
    "diffly",
    "duckdb",
    "lake-sift",
    "pandas",
    "polars",
    "proofframe",
    "pyarrow",
    "pytz",
    "reladiff",
)
RIGHT, MISS, ALARM, REFUSED = "right", "silent misses", "false alarms", "refused"
BEGIN, END = "<!-- results: begin -->\n", "<!-- results: end -->\n"

sys.path.insert(0, str(ROOT / "tests"))
sys.path.insert(0, str(HERE))

from conformance.paths import PATHS  # noqa: E402
from conformance.zoo import DIFFER, EQUAL, PAIRS, Pair  # noqa: E402


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--peers", type=Path, help="the peers' virtual environment; made when it is not there")
    options.add_argument("--only", action="append", help="one tool of benchmarks/zoo_peers.py; may be repeated")
    options.add_argument("--write", action="store_true", help="write the table into docs/conformance.md")
    chosen = options.parse_args()
    found = list(ours())
    if chosen.peers:
        found += theirs(_environment(chosen.peers), chosen.only)
    text = "\n".join(report(found))
    print(text)
    if chosen.write:
        page = ROOT / "docs/conformance.md"
        before, _, rest = page.read_text().partition(BEGIN)
        page.write_text(f"{before}{BEGIN}{text}\n{END}{rest.partition(END)[2]}")


def ours() -> Iterator[dict[str, Any]]:
    from reversible import __version__

    for tool, path in PATHS.items():
        for pair in _asked():
            with tempfile.TemporaryDirectory() as folder:
                answer = path(pair.left, pair.right, pair.key, Path(folder))
            yield {"tool": f"**{tool}**", "versions": f"reversible {__version__}", "pair": pair.name, "answer": answer,
                   "reason": ""}  # fmt: skip


def theirs(python: Path, only: Sequence[str] | None) -> Iterator[dict[str, Any]]:
    from zoo_peers import TOOLS

    with tempfile.TemporaryDirectory() as folder:
        for pair in _asked():
            for side in ("left", "right"):
                pq.write_table(getattr(pair, side), Path(folder, f"{pair.name}.{side}.parquet"))
        index = [{"name": pair.name, "key": pair.key} for pair in _asked()]
        Path(folder, "pairs.json").write_text(json.dumps(index))
        for tool in only or TOOLS:
            command = [str(python), str(HERE / "zoo_peers.py"), folder, tool]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
            if len(lines) != len(index):
                raise SystemExit(f"{tool} answered {len(lines)} of {len(index)} pairs:\n{done.stderr[-2000:]}")
            yield from lines


def report(found: Sequence[dict[str, Any]]) -> Iterator[str]:
    """The table, and below it every pair that a tool got wrong."""
    by_name = {pair.name: pair for pair in _asked()}
    differ = sum(pair.verdict == DIFFER for pair in by_name.values())
    yield (
        f"{datetime.now(UTC):%Y-%m-%d}, Python {sys.version.split()[0]}: {len(by_name)} pairs that Parquet can hold, "
        f"{differ} must differ and {len(by_name) - differ} must be equal."
    )
    yield ""
    yield f"| tool | version | {RIGHT} | {MISS} | {ALARM} | {REFUSED} |"
    yield "|---|---|---|---|---|---|"
    tools: dict[str, list[dict[str, Any]]] = {}
    for one in found:
        tools.setdefault(one["tool"], []).append({**one, "class": _class(one["answer"], by_name[one["pair"]])})
    for tool, rows in tools.items():
        counts = [sum(row["class"] == kind for row in rows) for kind in (RIGHT, MISS, ALARM, REFUSED)]
        yield f"| {tool} | {rows[0]['versions']} | {' | '.join(map(str, counts))} |"
    missed: dict[str, list[str]] = {}
    for rows in tools.values():
        for row in rows:
            if row["class"] == MISS:
                missed.setdefault(row["pair"], []).append(row["tool"])
    yield ""
    yield "**Silent misses**: called equal, and are not."
    yield ""
    for name, who in missed.items():
        yield f"- `{name}` ({by_name[name].why}): {'; '.join(who)}."
    yield ""
    yield "**False alarms and refusals**, by tool:"
    yield ""
    for tool, rows in tools.items():
        alarms = [f"`{row['pair']}`" for row in rows if row["class"] == ALARM]
        refused: dict[str, list[str]] = {}
        for row in rows:
            if row["class"] == REFUSED:
                refused.setdefault(row["reason"].split(":")[0], []).append(f"`{row['pair']}`")
        if alarms or refused:
            said = [f"false alarms: {', '.join(alarms)}"] if alarms else []
            said += [f"refused with {kind}: {', '.join(pairs)}" for kind, pairs in refused.items()]
            yield f"- {tool}: {'; '.join(said)}."


def _class(answer: str, pair: Pair) -> str:
    if answer == pair.verdict:
        return RIGHT
    return {EQUAL: MISS, DIFFER: ALARM}.get(answer, REFUSED)


def _asked() -> list[Pair]:
    return [pair for pair in PAIRS if pair.parquet]


def _environment(folder: Path) -> Path:
    python = folder / "bin/python"
    if not python.exists():
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
    return python


if __name__ == "__main__":
    main()
