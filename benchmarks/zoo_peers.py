"""What does each peer say about each pair of the zoo? Runs inside the peers' own environment; see benchmarks/zoo.py.

`python zoo_peers.py FOLDER TOOL` reads FOLDER/pairs.json and the Parquet files beside it (a tool for databases: the
tables "left"."PAIR" and "right"."PAIR" of the connection in FOLDER/zoo.connection.json), and prints one JSON line per
pair: `answer` is "equal", "differ", or "refused" with the reason. Each tool is used as its documentation shows, exact
where it can be told to be; a pair without a key gets all columns as key where the tool needs one.
"""

import contextlib
import importlib.metadata
import io
import json
import os
import resource
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Tool = Callable[[Path, Path, str], bool]  # left, right, key or "" -> whether it calls them equal
_PATIENCE_S = 60


def arrow_equals(left: Path, right: Path, key: str) -> bool:
    import pyarrow.parquet as pq

    return bool(pq.read_table(left).equals(pq.read_table(right)))


def polars_assert(left: Path, right: Path, key: str) -> bool:
    import polars as pl
    from polars.testing import assert_frame_equal

    try:
        assert_frame_equal(
            pl.read_parquet(left), pl.read_parquet(right), check_row_order=False, check_column_order=False,
            check_exact=True,
        )  # fmt: skip
    except AssertionError:
        return False
    return True


def duckdb_except(left: Path, right: Path, key: str) -> bool:
    import duckdb

    with duckdb.connect() as database:
        database.execute("SET TimeZone = 'UTC'")
        for name, path in (("l", left), ("r", right)):
            database.execute(f"CREATE TABLE {name} AS FROM read_parquet('{path}')")
        for side in ("l", "r"):
            names = [row[0] for row in database.execute(f"DESCRIBE {side}").fetchall()]
            listed = ", ".join('"' + name.replace('"', '""') + '"' for name in names)
            for one, other in (("l", "r"), ("r", "l")):
                query = f"SELECT count(*) FROM (SELECT {listed} FROM {one} EXCEPT ALL SELECT {listed} FROM {other})"  # noqa: S608
                try:
                    found = database.execute(query).fetchone()
                except duckdb.BinderException as error:
                    if "not found" in str(error):  # a column that one side lacks: the query says so
                        return False
                    raise
                if found is None or found[0]:
                    return False
    return True


def datacompy_polars(left: Path, right: Path, key: str) -> bool:
    import datacompy
    import polars as pl

    one, other = pl.read_parquet(left), pl.read_parquet(right)
    return bool(datacompy.PolarsCompare(one, other, join_columns=[key] if key else one.columns).matches())


def datacompy_pandas(left: Path, right: Path, key: str) -> bool:
    import datacompy
    import pandas as pd

    one, other = pd.read_parquet(left), pd.read_parquet(right)
    return bool(datacompy.PandasCompare(one, other, join_columns=[key] if key else list(one.columns)).matches())


def diffly_default(left: Path, right: Path, key: str) -> bool:
    import diffly
    import polars as pl

    one, other = pl.read_parquet(left), pl.read_parquet(right)
    return bool(diffly.compare_frames(one, other, primary_key=key or list(one.columns)).equal())


def diffly_exact(left: Path, right: Path, key: str) -> bool:
    import diffly
    import polars as pl

    one, other = pl.read_parquet(left), pl.read_parquet(right)
    found = diffly.compare_frames(one, other, primary_key=key or list(one.columns), abs_tol=0, rel_tol=0)
    return bool(found.equal())


def lake_sift(left: Path, right: Path, key: str) -> bool:
    import pyarrow.parquet as pq
    from lakesift.cli import main_entry

    names = key or ",".join(pq.read_schema(left).names)
    status, said = _command(main_entry, ["lake-sift", str(left), str(right), "--key", names, "--json"])
    if status not in (0, 1):
        raise RuntimeError(said)
    return status == 0


def proofframe_fingerprint(left: Path, right: Path, key: str) -> bool:
    from proofframe.cli import main

    prints = []
    for side in (left, right):
        status, said = _command(main, ["proofframe", "fingerprint", str(side)])
        if status:
            raise RuntimeError(said)
        prints.append(json.loads(said)["fingerprint"])
    return prints[0] == prints[1]


def proofframe_diff(left: Path, right: Path, key: str) -> bool:
    import pyarrow.parquet as pq
    from proofframe.cli import main

    names = [key] if key else pq.read_schema(left).names
    keys = [word for name in names for word in ("--key", name)]
    status, said = _command(main, ["proofframe", "diff", *keys, str(left), str(right)])
    if status:
        raise RuntimeError(said)
    found = json.loads(said)
    return not (found["added_count"] or found["removed_count"] or found["changed_count"])


def reladiff_hashdiff(left: Path, right: Path, key: str) -> bool:
    import duckdb
    import reladiff

    with tempfile.TemporaryDirectory() as folder:
        tables = []
        for name, path in (("left", left), ("right", right)):
            file = f"{folder}/{name}.duckdb"
            with duckdb.connect(file) as database:
                database.execute(f"CREATE TABLE t AS FROM read_parquet('{path}')")
                names = [row[0] for row in database.execute("DESCRIBE t").fetchall()]
            keys = (key,) if key else tuple(names)
            tables.append(reladiff.connect_to_table({"driver": "duckdb", "filepath": file}, "t", keys))
        others = tuple(name for name in names if name not in keys)
        found = reladiff.diff_tables(
            *tables, algorithm=reladiff.Algorithm.HASHDIFF, extra_columns=others, allow_empty_tables=True
        )
        return not list(found)


def dvt_rows(left: Path, right: Path, key: str) -> bool:
    import pyarrow.parquet as pq

    keys = key or ",".join(pq.read_schema(left).names)
    return _dvt(left, "row", "--primary-keys", keys, "--hash", "*")


def dvt_schema_and_rows(left: Path, right: Path, key: str) -> bool:
    return _dvt(left, "schema") and dvt_rows(left, right, key)


def _dvt(left: Path, *words: str) -> bool:
    from data_validation.__main__ import main

    os.environ["PSO_DV_CONN_HOME"] = str(left.parent)
    pair = left.name.removesuffix(".left.parquet")
    connections = ["--source-conn", "zoo", "--target-conn", "zoo", "--tables-list", f"left.{pair}=right.{pair}"]
    status, said = _command(main, ["data-validation", "validate", *words, *connections, "--format", "json"])
    if status:
        raise RuntimeError(said)
    found = json.loads([line for line in said.splitlines() if line.startswith("{")][-1])
    return all(one["validation_status"] == "success" for one in found.values())


TOOLS: dict[str, tuple[Tool, tuple[str, ...]]] = {
    "duckdb EXCEPT ALL, both ways": (duckdb_except, ("duckdb",)),
    "polars assert_frame_equal, exact": (polars_assert, ("polars",)),
    "pyarrow Table.equals": (arrow_equals, ("pyarrow",)),
    "datacompy, Polars": (datacompy_polars, ("datacompy", "polars")),
    "datacompy, pandas": (datacompy_pandas, ("datacompy", "pandas")),
    "diffly, default": (diffly_default, ("diffly", "polars")),
    "diffly, tolerances 0": (diffly_exact, ("diffly", "polars")),
    "lake-sift": (lake_sift, ("lake-sift", "duckdb")),
    "proofframe fingerprint": (proofframe_fingerprint, ("proofframe",)),
    "proofframe diff": (proofframe_diff, ("proofframe",)),
    "reladiff hashdiff, DuckDB files": (reladiff_hashdiff, ("reladiff", "duckdb")),
    "DVT row hash": (dvt_rows, ("google-pso-data-validator",)),
    "DVT schema and row hash": (dvt_schema_and_rows, ("google-pso-data-validator",)),
}
IN_POSTGRES = frozenset({"DVT row hash", "DVT schema and row hash"})  # these get the pairs that PostgreSQL can hold


def answers(folder: Path, tool: str) -> Iterator[dict[str, Any]]:
    ask, packages = TOOLS[tool]
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    for pair in json.loads((folder / "pairs.json").read_text()):
        if tool in IN_POSTGRES and not pair["postgres"]:
            continue
        left, right = (folder / f"{pair['name']}.{side}.parquet" for side in ("left", "right"))
        row = {"tool": tool, "versions": versions, "pair": pair["name"]}
        signal.alarm(pair.get("patience_s", _PATIENCE_S))
        before = _cpu_s()
        try:
            answer = "equal" if ask(left, right, pair["key"]) else "differ"
            yield {**row, "answer": answer, "reason": "", "cpu_s": _cpu_s() - before, "peak_mib": _peak_mib()}
        except BaseException as error:  # noqa: BLE001 - whatever a peer raises is its answer: it refused
            said = str(error).strip().splitlines()
            reason = f"{type(error).__name__}: {said[0] if said else ''}"
            cost = {"cpu_s": _cpu_s() - before, "peak_mib": _peak_mib()}
            yield {**row, "answer": "refused", "reason": reason[:200], **cost}
        finally:
            signal.alarm(0)


def _cpu_s() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _peak_mib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


def _command(main: Callable[[], Any], words: list[str]) -> tuple[int, str]:
    """Exit status and output of a command line in this process."""
    before, said = sys.argv, io.StringIO()
    sys.argv = words
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            status = main()
    except SystemExit as leave:
        status = leave.code
    finally:
        sys.argv = before
    return (status if isinstance(status, int) else 1 if status else 0), said.getvalue()


def _too_long(*_: object) -> None:
    raise TimeoutError("no answer in the time given")


if __name__ == "__main__":
    signal.signal(signal.SIGALRM, _too_long)
    out = sys.stdout
    for line in answers(Path(sys.argv[1]), sys.argv[2]):
        print(json.dumps(line), file=out, flush=True)
