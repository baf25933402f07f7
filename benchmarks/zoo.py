"""Who tells the zoo's pairs apart? `python benchmarks/zoo.py [--peers FOLDER] [--only TOOL] [--write]`

Runs tests/conformance/zoo.py through our own fingerprints and, with --peers, through other tools, in environments of
their own below FOLDER, which it makes when they are not there (needs a package index), and behind the product's own
fence: for a peer there is no network; for a tool that compares tables of a database there is one PostgreSQL with the
pairs that it can hold. Counts right answers, silent misses (called equal, and must differ), false alarms (called
different, and must be equal) and refusals (an error). --write puts the table into docs/conformance.md.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
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
DATABASE_PACKAGES = ("google-pso-data-validator",)  # it pins old ones of all that the others need
RIGHT, MISS, ALARM, REFUSED = "right", "silent misses", "false alarms", "refused"
BEGIN, END = "<!-- results: begin -->\n", "<!-- results: end -->\n"

sys.path.insert(0, str(ROOT / "tests"))
sys.path.insert(0, str(HERE))

from peer_environment import environment  # noqa: E402
from zoo_peers import IN_POSTGRES, TOOLS  # noqa: E402
from zoo_postgres import loaded  # noqa: E402

from conformance.paths import PATHS  # noqa: E402
from conformance.zoo import DIFFER, EQUAL, PAIRS, Pair  # noqa: E402
from reversible import fence  # noqa: E402
from reversible_samples.postgres_server import PostgresServer  # noqa: E402


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--peers", type=Path, help="where the peers' environments are; made when they are not there")
    options.add_argument("--only", action="append", help="one tool of benchmarks/zoo_peers.py; may be repeated")
    options.add_argument("--write", action="store_true", help="write the table into docs/conformance.md")
    chosen = options.parse_args()
    found = list(ours())
    if chosen.peers:
        found += theirs(chosen.peers, chosen.only)
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


def theirs(peers: Path, only: Sequence[str] | None) -> Iterator[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as name, PostgresServer(Path(name) / "server") as server:
        folder = Path(name)
        for pair in _asked():
            for side in ("left", "right"):
                pq.write_table(getattr(pair, side), folder / f"{pair.name}.{side}.parquet")
        with psycopg.connect(server.url, autocommit=True) as connection:
            held = {pair.name for pair in loaded(connection, _asked())}
        index = [{"name": pair.name, "key": pair.key, "postgres": pair.name in held} for pair in _asked()]
        (folder / "pairs.json").write_text(json.dumps(index))
        login = {key: getattr(server, key) for key in ("host", "port", "user", "password", "database")}
        (folder / "zoo.connection.json").write_text(json.dumps({"source_type": "Postgres", **login}))
        for tool in only or TOOLS:
            lines = answered(peers, folder, tool, server.port)
            expected = len(held) if tool in IN_POSTGRES else len(index)
            if len(lines) != expected:
                raise SystemExit(f"{tool} answered {len(lines)} of {expected} pairs")
            yield from lines


def answered(peers: Path, folder: Path, tool: str, port: int) -> list[dict[str, Any]]:
    """What a peer says of each pair in the folder, in its own environment and behind the fence."""
    if tool in IN_POSTGRES:
        python, allow = environment(peers / "database", DATABASE_PACKAGES), {port: ("127.0.0.1", port)}
    else:
        python, allow = environment(peers / "files", PACKAGES), {}
    said: list[str] = []
    done = fence.run(
        [str(python), str(HERE / "zoo_peers.py"), str(folder), tool], allow=allow, on_line=said.append,
        env={"PATH": os.defpath, "HOME": str(folder)}, kinds=("namespace", "bubblewrap"),
    )  # fmt: skip
    sought = {f"{one.proto} {one.host}:{one.port}" for one in done.attempts if not one.allowed}
    if done.returncode or sought:
        trouble = done.stderr[-2000:] if done.returncode else ""
        print(f"{tool}: ended with {done.returncode}; refused: {sorted(sought)} {trouble}", file=sys.stderr)
    return [json.loads(line) for line in said if line.startswith("{")]


def report(found: Sequence[dict[str, Any]]) -> Iterator[str]:
    """The table, and below it every pair that a tool got wrong."""
    by_name = {pair.name: pair for pair in _asked()}
    differ = sum(pair.verdict == DIFFER for pair in by_name.values())
    yield (
        f"{datetime.now(UTC):%Y-%m-%d}, Python {sys.version.split()[0]}: {len(by_name)} pairs that Parquet can hold, "
        f"{differ} must differ and {len(by_name) - differ} must be equal."
    )
    yield ""
    yield f"| tool | version | asked | {RIGHT} | {MISS} | {ALARM} | {REFUSED} |"
    yield "|---|---|---|---|---|---|---|"
    tools: dict[str, list[dict[str, Any]]] = {}
    for one in found:
        tools.setdefault(one["tool"], []).append({**one, "class": _class(one["answer"], by_name[one["pair"]])})
    for tool, rows in tools.items():
        counts = [sum(row["class"] == kind for row in rows) for kind in (RIGHT, MISS, ALARM, REFUSED)]
        yield f"| {tool} | {rows[0]['versions']} | {len(rows)} | {' | '.join(map(str, counts))} |"
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


if __name__ == "__main__":
    main()
