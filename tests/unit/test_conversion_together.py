"""Do several models share the start of a framework, and nothing else?"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from reversible.errors import SourceError
from reversible_exporters import conversion

torch = pytest.importorskip("torch")

PREAMBLE = """
import json, os, threading, time
from pathlib import Path
from reversible_exporters import conversion_fork

def answer(source, target):
    print('{"answers": ["from the model"]}', flush=True)
    if source.name == "dies":
        os.kill(os.getpid(), 9)
    if source.name == "raises":
        raise LookupError("a bug")
    if source.name == "lingers" and not os.fork():
        time.sleep(20)
    return {"name": source.name, "process": os.getpid(), "long": "x" * 200_000}
"""


def forked(*names: str, prepare: str = "lambda: None") -> dict[str, Any]:
    """What `each` says of models of these names, from a process of its own."""
    models = f"[(Path(one), Path(one)) for one in {names!r}]"
    code = f"{PREAMBLE}\nprint(json.dumps(conversion_fork.each({prepare}, answer, {models})))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True, timeout=15)
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def test_each_model_has_a_process_and_a_pipe_of_its_own() -> None:
    answers = forked("a", "b", "c")["answers"]

    assert [one["name"] for one in answers] == ["a", "b", "c"]
    assert len({one["process"] for one in answers}) == 3


@pytest.mark.parametrize("name", ["dies", "raises"])
def test_a_process_that_ends_without_an_answer_takes_no_other_with_it(name: str) -> None:
    answers = forked(name, "b")["answers"]

    assert answers[0] is None
    assert answers[1]["name"] == "b"


def test_what_a_model_leaves_running_is_not_waited_for() -> None:
    assert [one["name"] for one in forked("lingers", "b")["answers"]] == ["lingers", "b"]


def test_a_process_with_threads_is_not_forked() -> None:
    said = forked("a", "b", prepare="lambda: threading.Thread(target=time.sleep, args=(1,)).start()")

    assert list(said) == ["error", "hint"]
    assert said["error"].startswith("2 threads")


MODEL = """
import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.body = torch.nn.Linear(6, 3)

    def forward(self, x):
        return self.body(x).relu()
"""
DIES = "import os; os._exit(0)"
CALLS = """
import socket
try:
    socket.create_connection(("192.0.2.1", 443), timeout=1)
except OSError:
    pass
"""


def package(folder: Path, prologue: str = "") -> tuple[Path, Path]:
    """Weights with their code, and where the ONNX file shall be."""
    source = folder / "original"
    source.mkdir(parents=True)
    (source / "model.py").write_text(prologue + MODEL, encoding="utf-8")
    torch.manual_seed(7)
    layer = torch.nn.Linear(6, 3)
    torch.save({"body.weight": layer.weight, "body.bias": layer.bias}, source / "model.pth")
    return source, folder / "model.onnx"


def no_model(folder: Path) -> tuple[Path, Path]:
    folder.mkdir()
    (folder / "model.pt").write_bytes(b"garbage")
    return folder / "model.pt", folder / "model.onnx"


@pytest.mark.slow
def test_each_gets_what_it_would_get_alone(tmp_path: Path) -> None:
    """Same bytes; a refusal and a sudden end are of one model only."""
    alone = package(tmp_path / "alone")
    conversion.convert("torch", *alone)

    models = [package(tmp_path / "good"), no_model(tmp_path / "none"), package(tmp_path / "dies", DIES)]
    good, refused, died = conversion.convert_together("torch", models)

    assert isinstance(good, conversion.Conversion)
    assert good.executed_vendor_code
    assert models[0][1].read_bytes() == alone[1].read_bytes()
    assert isinstance(refused, SourceError)
    assert refused.message.startswith("model.pt is ")
    assert died is None


@pytest.mark.slow
def test_an_attempt_to_reach_somewhere_is_never_laid_at_another_models_door(tmp_path: Path) -> None:
    models = [package(tmp_path / "good"), package(tmp_path / "calls", CALLS)]

    assert conversion.convert_together("torch", models) == [None, None]

    attempts = [conversion.convert("torch", source, target).attempts for source, target in models]
    assert attempts == [(), ("tcp 192.0.2.1:443",)]


def test_one_model_or_a_converter_without_a_start_to_share_is_left_alone(tmp_path: Path) -> None:
    assert conversion.convert_together("torch", [no_model(tmp_path / "one")]) == [None]
    two = [no_model(tmp_path / "two"), no_model(tmp_path / "three")]
    assert conversion.convert_together("sklearn", two) == [None, None]
