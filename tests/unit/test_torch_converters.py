"""Does a PyTorch model leave in each of the forms in which vendors keep it, and is a trap named in one line?"""

import io
import json
import os
import pickle
import timeit
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from reversible.errors import SourceError
from reversible_exporters import conversion
from reversible_exporters.torch_onnx import TorchConverter

torch = pytest.importorskip("torch")
nn = torch.nn


class Encoder(nn.Module):  # type: ignore[misc]
    """Three inputs of three types, two outputs, a free length."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(50, 16)
        self.mix = nn.Conv1d(16, 24, 3, padding=1)
        self.last = nn.Linear(24, 4)

    def forward(self, ids: Any, mask: Any, weight: Any) -> dict[str, Any]:
        tokens = self.mix(self.table(ids).transpose(1, 2)).transpose(1, 2)
        kept = mask[..., None].to(tokens.dtype)
        pooled = (tokens * kept * weight[:, None, None]).sum(1) / kept.sum(1).clamp(min=1)
        logits = self.last(pooled)
        return {"logits": logits, "class": logits.argmax(1)}


class Branches(nn.Module):  # type: ignore[misc]
    """What it does depends on numbers: only a graph with control flow is this model."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 6)

    def forward(self, x: torch.Tensor, times: int = 2) -> torch.Tensor:
        y = x
        for _ in range(times):
            y = self.layer(y)
        if bool(y.sum() > 0):
            y = y * 3
        return y


class Forever(nn.Module):  # type: ignore[misc]
    """A script that never ends."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        while bool(x.sum() == x.sum()):
            x = x * 1.0
        return x


def seeded(made: Callable[[], Any]) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(11)
        return made().eval()


def images() -> Any:
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(6, 5),
    )  # fmt: skip
    net[1].running_mean.normal_()
    net[1].running_var.uniform_(0.5, 1.5)
    return net


def asked(target: Path, feeds: dict[str, Any]) -> list[Any]:
    return list(onnxruntime.InferenceSession(str(target), providers=["CPUExecutionProvider"]).run(None, feeds))


def test_a_program_with_several_inputs_outputs_types_and_free_dimensions_leaves(tmp_path: Path) -> None:
    net = seeded(Encoder)
    batch, length = torch.export.Dim("batch"), torch.export.Dim("length", max=512)
    program = torch.export.export(
        net, (torch.zeros(2, 7, dtype=torch.int64), torch.ones(2, 7, dtype=torch.int64), torch.rand(2)),
        dynamic_shapes=({0: batch, 1: length}, {0: batch, 1: length}, {0: batch}),
    )  # fmt: skip
    torch.export.save(program, str(tmp_path / "model.pt2"))

    described = TorchConverter().convert(tmp_path / "model.pt2", tmp_path / "model.onnx")

    assert [(one["name"], one["shape"]) for one in described["inputs"]] == [
        ("ids", ["batch", "length"]), ("mask", ["batch", "length"]), ("weight", ["batch"]),
    ]  # fmt: skip
    draw = np.random.default_rng(0)
    feeds = {
        "ids": draw.integers(0, 50, (9, 31)), "mask": draw.integers(0, 2, (9, 31)),
        "weight": draw.random(9).astype(np.float32),
    }  # fmt: skip
    answers = asked(tmp_path / "model.onnx", feeds)
    with torch.no_grad():
        expected = net(*(torch.from_numpy(one) for one in feeds.values()))
    assert np.abs(answers[0] - expected["logits"].numpy()).max() < 1e-5
    assert (answers[1] == expected["class"].numpy()).all()
    assert described["parameters"]["identical"] > 0.99


@pytest.mark.slow
def test_a_traced_script_leaves_for_images_of_every_size(tmp_path: Path) -> None:
    net = seeded(images)
    with torch.no_grad():
        torch.jit.save(torch.jit.trace(net, torch.zeros(2, 3, 20, 30)), str(tmp_path / "model.pt"))

    described = TorchConverter().convert(tmp_path / "model.pt", tmp_path / "model.onnx")

    assert described["form"] == "TorchScript archive"
    assert described["inputs"][0]["shape"] == ["batch", 3, "height", "width"]
    rows = np.random.default_rng(2).normal(0, 1, (5, 3, 17, 51)).astype(np.float32)
    with torch.no_grad():
        off = (
            asked(tmp_path / "model.onnx", {described["inputs"][0]["name"]: rows})[0]
            - net(torch.from_numpy(rows)).numpy()
        )
    assert np.abs(off).max() < 1e-5


@pytest.mark.slow
def test_a_script_that_decides_on_numbers_keeps_both_branches(tmp_path: Path) -> None:
    net = seeded(Branches)
    torch.jit.save(torch.jit.script(net), str(tmp_path / "model.pt"))

    described = TorchConverter().convert(tmp_path / "model.pt", tmp_path / "model.onnx")

    assert described["left_out"] == ["times at other values than its default"]
    name = described["inputs"][0]["name"]
    for sign in (1, -1):  # one of them takes the other branch
        rows = sign * np.random.default_rng(3).normal(0, 1, (4, 6)).astype(np.float32)
        with torch.no_grad():
            assert (
                np.abs(asked(tmp_path / "model.onnx", {name: rows})[0] - net(torch.from_numpy(rows)).numpy()).max()
                < 1e-5
            )


CODE = """
import torch

class Net(torch.nn.Module):
    def __init__(self, width=6):
        super().__init__()
        self.body = torch.nn.Sequential(torch.nn.Linear(width, 8), torch.nn.GELU(), torch.nn.Linear(8, 3))

    def forward(self, x):
        return self.body(x)
"""
MODEL_FN = """
def model_fn(model_dir):
    net = Net()
    net.load_state_dict(torch.load(model_dir + "/model.pth", weights_only=True))
    return net

def predict_fn(data, model):
    return model(data).softmax(1)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("name", "code"), [("code/inference.py", CODE + MODEL_FN), ("model.py", CODE)])
def test_a_state_dict_leaves_with_the_code_that_its_vendor_gave(name: str, code: str, tmp_path: Path) -> None:
    package = tmp_path / "package"
    (package / name).parent.mkdir(parents=True)
    (package / name).write_text(code, encoding="utf-8")
    scope: dict[str, Any] = {}
    exec(CODE, scope)  # noqa: S102 - our own text above
    net = seeded(scope["Net"])
    torch.save(net.state_dict(), package / "model.pth")

    assert conversion.source_in(["model.pth", name], "here") == (".", "torch")
    done = conversion.convert("torch", package, tmp_path / "model.onnx")

    assert done.executed_vendor_code
    assert done.described["vendor_code"] == [name]
    assert ["predict_fn" in one for one in done.described["left_out"]] == ([True] if "inference" in name else [])
    rows = np.random.default_rng(4).normal(0, 1, (5, 6)).astype(np.float32)
    with torch.no_grad():
        assert np.abs(asked(tmp_path / "model.onnx", {"x": rows})[0] - net(torch.from_numpy(rows)).numpy()).max() < 1e-6


class Shell:
    def __reduce__(self) -> Any:
        return os.system, ("touch /tmp/reversible-was-here",)


class Gadget:
    def __reduce__(self) -> Any:
        return timeit.timeit, ("import os; os.system('touch /tmp/reversible-was-here')",)


class Numpy:
    def __reduce__(self) -> Any:
        return np.load, ("/etc/passwd",)


def zipped(content: bytes) -> bytes:
    """As torch.save lays its pickle in a zip."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("model/data.pkl", content)
        archive.writestr("model/version", "3\n")
        archive.writestr("model/byteorder", "little")
    return stream.getvalue()


@pytest.mark.parametrize("payload", [Shell(), Gadget(), Numpy()], ids=["os.system", "timeit", "numpy.load"])
@pytest.mark.parametrize("packed", [True, False], ids=["zip", "plain"])
def test_a_pickle_that_would_run_code_is_refused_and_runs_none(payload: Any, packed: bool, tmp_path: Path) -> None:
    content = pickle.dumps(payload, protocol=2)
    (tmp_path / "model.pt").write_bytes(zipped(content) if packed else content)

    with pytest.raises(SourceError, match=r"^model\.pt is refused: opening it would run [\w.]+, which") as refused:
        TorchConverter().convert(tmp_path / "model.pt", tmp_path / "model.onnx")

    assert "\n" not in refused.value.message
    assert not Path("/tmp/reversible-was-here").exists()


def saved(value: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(value, stream)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (lambda: saved(seeded(images).state_dict()), "holds weights by name, and not how they are connected"),
        (lambda: saved({"epoch": 3, "state_dict": seeded(images).state_dict()}), "not how they are connected"),
        (lambda: saved([1, 2]), "holds a list, which is no model"),
        (lambda: saved(seeded(Encoder)), "opening it would run"),
        (lambda: b"", "is not a whole file"),
        (lambda: b"\x00garbage" * 99, "model.pt is "),
        (lambda: saved({"a": torch.zeros(9999)})[:9000], "is not a whole archive"),
        (lambda: zipped(b"\x80\x02garbage"), "model.pt is "),
    ],
    ids=["state dict", "checkpoint", "list", "own class", "empty", "garbage", "cut", "garbage inside"],
)
def test_what_is_no_model_is_refused_with_the_reason(content: Any, said: str, tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(content())

    with pytest.raises(SourceError, match=said) as refused:
        TorchConverter().convert(tmp_path / "model.pt", tmp_path / "model.onnx")

    assert "\n" not in refused.value.message


def test_a_module_of_pytorchs_own_layers_is_opened_as_data(tmp_path: Path) -> None:
    torch.save(seeded(lambda: nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))), tmp_path / "model.pth")

    described = TorchConverter().convert(tmp_path / "model.pth", tmp_path / "model.onnx")

    assert described["inputs"][0]["shape"] == ["batch", 6]


@pytest.mark.slow
def test_a_script_that_never_ends_is_ended(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.script(Forever()), str(tmp_path / "model.pt"))

    with pytest.raises(SourceError, match=r"model\.pt: its conversion took too long"):
        conversion.convert("torch", tmp_path / "model.pt", tmp_path / "model.onnx", time_s=45)


def test_a_bomb_of_zeros_is_not_unpacked_beyond_its_bounds(tmp_path: Path) -> None:
    """64 GiB of zeros in a zip of 64 MiB would be the whole memory; here 16 GiB, refused by the limit of the fence."""
    path = tmp_path / "model.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("model/version", "3\n")
        with archive.open("model/data.pkl", "w", force_zip64=True) as member:
            for _ in range(1 << 8):
                member.write(bytes(1 << 24))

    with pytest.raises(SourceError, match=r"model\.pt") as refused:
        conversion.convert("torch", path, tmp_path / "model.onnx", time_s=120)

    assert "\n" not in refused.value.message


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["model.pt2", "code/inference.py"], ["model.pt2"]),
        (["model.pth"], ["model.pth"]),
        (["model.pth", "code/inference.py", "code/requirements.txt"], ["."]),
        (["a/model.pth", "a/inference.py"], ["a"]),
        (["model.bin", "inference.py"], []),
        (["deep/er/code/inference.py", "model.pt"], ["model.pt"]),
    ],
)
def test_what_is_taken_is_judged_by_names_alone(names: list[str], found: list[str]) -> None:
    assert TorchConverter().sources(names) == found


def test_a_refusal_is_plain_json_for_the_process_that_asked(tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(pickle.dumps(Shell(), protocol=2))

    with pytest.raises(SourceError, match="opening it would run"):
        conversion.convert("torch", tmp_path / "model.pt", tmp_path / "model.onnx")

    assert json.dumps(conversion.source_in(["model.pt"], "here")) == '["model.pt", "torch"]'


class Odd(nn.Module):  # type: ignore[misc]
    """Nothing in its weights says that it takes 9 x 5 numbers and a length."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, table: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        if table.shape[1:] != (9, 5):
            raise ValueError("a table has 9 rows of 5")
        place = torch.arange(9)[None, :, None]
        return (table * (place < lengths[:, None, None]) * self.scale).sum(1)


def test_an_example_beside_the_model_says_what_it_takes(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.script(seeded(Odd)), str(tmp_path / "model.pt"))
    with pytest.raises(
        SourceError, match=r"no input was found that it takes \(table: Tensor, lengths: Tensor\)"
    ) as told:
        TorchConverter().convert(tmp_path / "model.pt", tmp_path / "model.onnx")
    assert "example_inputs.npz" in told.value.hint

    np.savez(tmp_path / "example_inputs.npz", table=np.ones((3, 9, 5), np.float32), lengths=np.array([9, 2, 5]))
    described = TorchConverter().convert(tmp_path / "model.pt", tmp_path / "model.onnx")

    assert [one["shape"] for one in described["inputs"]] == [["batch", 9, 5], ["batch"]]


class Dice(nn.Module):  # type: ignore[misc]
    """Drops numbers also when it is used: its answers are drawn, and so would every noise floor be."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(nn.functional.dropout(x, 0.5, True))


def test_a_model_that_throws_dice_is_not_judged(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.script(seeded(Dice)), str(tmp_path / "model.pt"))

    with pytest.raises(SourceError, match="different answers to the same question"):
        TorchConverter().convert(tmp_path / "model.pt", tmp_path / "model.onnx")
