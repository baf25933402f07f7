"""Which status does `check` end with when several systems refuse, and does it foresee a sample that is too small?"""

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from reversible.comparison.sampling import hypergeometric_bound
from reversible.plan import sample_size

PLAN = """
version = 1
[contract]
title = "Shop"
customer = "Customer SA"
provider = "Vendor SA"
[clauses]
profiles = ["baseline"]
{criterion}
[source.shop]
kind = "sqlite"
path = "{path}"
{sampling}
[destination]
kind = "local"
{storage}
"""
NOWHERE = """
[destination.storage]
url = "s3://sortie/exit"
endpoint_url = "http://127.0.0.1:9"
region = "eu-local"
access_key = "${EU_ACCESS}"
secret_key = "${EU_SECRET}"
"""
CONTRACT = """
[[clauses.criterion]]
clause = "DAT-04"
metric = "data.mismatch_rate_ub95"
value = 0.001
basis = "contract"
"""


def check(folder: Path, **given: str) -> tuple[int, list[dict[str, Any]]]:
    with closing(sqlite3.connect(folder / "shop.db")) as connection:
        connection.execute("CREATE TABLE client (id INTEGER PRIMARY KEY)")
    text = PLAN.format(**{"path": "shop.db", "sampling": "", "storage": "", "criterion": "", **given})
    (folder / "exit-plan.toml").write_text(text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "reversible", "check", "exit-plan.toml", "--json"], cwd=folder, capture_output=True,
        text=True, check=False, env={**os.environ, "EU_ACCESS": "a", "EU_SECRET": "b"},
    )  # fmt: skip
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)["answers"]


@pytest.mark.parametrize(
    ("path", "storage", "status"),
    [("shop.db", "", 0), ("gone.db", "", 4), ("shop.db", NOWHERE, 6), ("gone.db", NOWHERE, 4), ("${GONE}", NOWHERE, 2)],
)
def test_the_status_is_the_first_of_the_documented_ones(tmp_path: Path, path: str, storage: str, status: int) -> None:
    assert check(tmp_path, path=path, storage=storage)[0] == status


@pytest.mark.parametrize(
    ("rows", "criterion", "said"),
    [
        ("3000", "", "3,000 clean rows bound the mismatch rate at 0.001 and DAT-04 asks <= 0.0001: it fails on large"),
        ("29955", "", "sample_rows = 29956"),
        ("29956", "", ""),
        ("3000", CONTRACT, ""),
        ("2000", CONTRACT, "asks <= 0.001"),
    ],
)
def test_a_sample_that_its_clause_will_not_accept_is_said_before_a_run(
    tmp_path: Path, rows: str, criterion: str, said: str
) -> None:
    sampling = f"sample_above_rows = 1000\nsample_rows = {rows}"
    status, answers = check(tmp_path, sampling=sampling, criterion=criterion)
    warned = [one for one in answers if one["subject"] == "sample_rows"]

    assert status == 0
    assert [one["seen"].startswith("warning: ") and said in one["seen"] for one in warned] == ([True] if said else [])


def test_without_a_sample_nothing_is_said(tmp_path: Path) -> None:
    assert not [one for one in check(tmp_path, sampling="sample_rows = 5")[1] if one["subject"] == "sample_rows"]


@pytest.mark.parametrize("rows", [1, 100, 3000, 30_000])
def test_the_bound_of_large_tables_is_the_limit_of_the_exact_one(rows: int) -> None:
    bounds = [hypergeometric_bound(0, rows, rows * times) for times in (2, 100, 10_000)]

    assert bounds == sorted(bounds)
    assert bounds[-1] == pytest.approx(sample_size.bound(rows), rel=1e-3)
    assert bounds[-1] <= sample_size.bound(rows)
    assert sample_size.rows_for(sample_size.bound(rows) * (1 + 1e-9)) == rows
