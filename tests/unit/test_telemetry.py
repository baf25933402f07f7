"""No dependency of ours phones home: ONNX Runtime's telemetry is off wherever this package is loaded."""

import subprocess
import sys
from pathlib import Path

import pytest

from reversible import fence

_PATIENCE_S = 16  # the first message leaves about ten seconds after the session is made

_SESSION = f"""
import time
import onnxruntime
from onnx import helper
edge = [helper.make_tensor_value_info(name, 1, [1]) for name in "xy"]
graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", edge[:1], edge[1:])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
session = onnxruntime.InferenceSession(model.SerializeToString())
time.sleep({_PATIENCE_S})
"""


def asked_for(script: str, home: Path) -> list[str]:
    """The hosts that a process asks for behind the fence."""
    (home / "tmp").mkdir(parents=True)
    done = fence.run(
        [sys.executable, "-I", "-c", script],
        env={"PATH": "/usr/bin:/bin", "HOME": str(home), "TMPDIR": str(home / "tmp")},
        timeout_s=120,
    )
    assert done.returncode == 0, done.stderr
    if not done.counted:
        pytest.skip(f"the fence {done.kind} counts nothing here")
    return [one.host for one in done.attempts]


@pytest.mark.slow
@pytest.mark.timeout(150)
def test_onnx_runtime_asks_for_no_host_once_reversible_is_loaded(tmp_path: Path) -> None:
    with_us = asked_for("import reversible\n" + _SESSION, tmp_path / "with")

    assert with_us == []
    assert not list((tmp_path / "with").rglob("*onnxruntime*"))  # nor does it give this machine a number


@pytest.mark.slow
@pytest.mark.timeout(150)
def test_onnx_runtime_alone_would_phone_home(tmp_path: Path) -> None:
    """Shows that the test above can fail. When this one does, ONNX Runtime has mended its ways: drop both."""
    assert any("microsoft" in host for host in asked_for(_SESSION, tmp_path / "alone"))


def test_every_process_of_ours_says_no_before_onnx_runtime_is_loaded() -> None:
    for module in ("reversible.cli.main", "reversible.destinations.rerun", "reversible_exporters.conversion"):
        script = f"import os, sys, {module}; sys.exit(os.environ.get('ORT_DISABLE_TELEMETRY') != '1')"

        done = subprocess.run([sys.executable, "-I", "-c", script], check=False, timeout=60)

        assert done.returncode == 0, module
