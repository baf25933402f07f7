"""A verifier kit for the tests: built once for all of them, by the command that a user types."""

import fcntl
import os
import subprocess
import sys

import pytest

import json_schemas
from reversible.evidence import keys
from reversible.evidence.keys import SigningKey
from reversible.kit.manifest import Kit


def shared_kit(tmp_path_factory: pytest.TempPathFactory) -> tuple[Kit, SigningKey]:
    """The kit for this Python, and the key that signed it. pip fetches 150 MB, or takes them from its cache."""
    base = tmp_path_factory.getbasetemp()
    root = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared-kit"
    root.mkdir(exist_ok=True)
    key = keys.load_or_create(root / "keys/key.pem")
    with (root / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (root / "kit").exists():
            command = [sys.executable, "-m", "reversible", "kit", "build", str(root / "kit"), "--json"]
            environment = {**os.environ, "REVERSIBLE_KEY": str(key.path)}
            done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=280)
            assert done.returncode == 0, done.stderr
            assert json_schemas.parsed("kit-build", done.stdout)["key"] == key.fingerprint
    return Kit.read(root / "kit"), key
