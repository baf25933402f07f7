"""A real bundle for the tests of what happens to one: exported from a SQLite file by the command that a user types."""

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

from reversible.bundle.reader import Bundle

PLAN = """
version = 1
[contract]
title = "Hosting"
customer = "Comptoir"
provider = "Amazon Web Services"
languages = ["en", "fr"]
[clauses]
profiles = ["baseline"]
[source.shop]
kind = "sqlite"
path = "{path}"
[destination]
"""


def sample_bundle(root: Path, *, noise_rows: int = 0) -> Bundle:
    """A table of 3,000 rows and its database; and one whose rows are 4,000 bytes each that do not compress."""
    shop = root.with_name(f"{root.name}.sqlite")
    with sqlite3.connect(shop) as database:
        database.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, customer TEXT NOT NULL, amount REAL)")
        rows = ((number, f"customer {number % 97}", number / 8) for number in range(3000))
        database.executemany("INSERT INTO orders VALUES (?, ?, ?)", rows)
        if noise_rows:
            database.execute("CREATE TABLE noise (id INTEGER PRIMARY KEY, bytes BLOB)")
            database.executemany("INSERT INTO noise VALUES (?, ?)", ((n, os.urandom(4000)) for n in range(noise_rows)))
    database.close()
    plan = root.with_name(f"{root.name}.toml")
    plan.write_text(PLAN.format(path=shop), encoding="utf-8")
    command = [sys.executable, "-m", "reversible", "export", str(plan), "--into", str(root)]  # makes root/bundle
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return Bundle.open(root / "bundle")
