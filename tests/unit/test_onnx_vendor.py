"""A file that is ONNX already leaves with standard operators alone, or is refused in one line that names the fault."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from reversible.errors import SourceError
from reversible_exporters import onnx_vendor
from reversible_exporters.onnx_vendor import OnnxConverter

DRAW = np.random.default_rng(0)


def model(nodes: list[Any], *, inputs: int = 1, opset: int = 18, domains: tuple[str, ...] = ("com.microsoft",)) -> Any:
    value = helper.make_tensor_value_info
    given = [value(f"x{one}", TensorProto.FLOAT, ["n", 4, 6]) for one in range(inputs)]
    weights = [
        numpy_helper.from_array(DRAW.normal(size=(6, 6)).astype(np.float32), "w"),
        numpy_helper.from_array(DRAW.normal(size=6).astype(np.float32), "b"),
    ]
    graph = helper.make_graph(nodes, "g", given, [value("y", TensorProto.FLOAT, ["i", "j", "k"])], weights)
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(one, 1) for one in domains)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


def node(kind: str, inputs: list[str], output: str = "y", domain: str = "com.microsoft", **settings: Any) -> Any:
    return helper.make_node(kind, inputs, [output], domain=domain, **settings)


FUSED = {
    "Gelu": ([node("Gelu", ["x0"])], 1),
    "BiasGelu": ([node("BiasGelu", ["x0", "b"])], 1),
    "FastGelu": ([node("FastGelu", ["x0", "b"])], 1),
    "QuickGelu": ([node("QuickGelu", ["x0"], alpha=1.5)], 1),
    "FusedMatMul": ([node("FusedMatMul", ["x0", "x1"], transB=1, alpha=0.25)], 2),
    "FusedMatMul of weights": ([node("FusedMatMul", ["x0", "w"], transB=1)], 1),
    "FusedMatMul after another": (
        [node("FusedMatMul", ["x0", "w"], "h", alpha=2.0), node("FusedMatMul", ["h", "x1"], transA=1)], 2),
}  # fmt: skip


@pytest.mark.parametrize("fused", FUSED.values(), ids=FUSED)
def test_fused_operators_are_written_out_and_answer_the_same(fused: tuple[list[Any], int], tmp_path: Path) -> None:
    made = model(fused[0], inputs=fused[1])
    onnx.save(made, str(tmp_path / "vendor.onnx"))

    described = OnnxConverter().convert(tmp_path / "vendor.onnx", tmp_path / "model.onnx")

    fed = {f"x{one}": DRAW.normal(0, 3, (5, 4, 6)).astype(np.float32) for one in range(fused[1])}
    before, after = (
        onnxruntime.InferenceSession(str(tmp_path / name), providers=["CPUExecutionProvider"]).run(None, fed)[0]
        for name in ("vendor.onnx", "model.onnx")
    )
    assert np.abs(before - after).max() <= 2e-6 * max(1.0, np.abs(before).max())
    assert described["domains"] == ["ai.onnx"]
    assert "written out" in described["exporter"]


def test_a_wrong_expansion_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    onnx.save(model([node("FastGelu", ["x0"])]), str(tmp_path / "vendor.onnx"))
    monkeypatch.setitem(onnx_vendor._FUSED, "FastGelu", onnx_vendor._gelu)  # erf for tanh: 5e-4 apart

    with pytest.raises(SourceError, match="written out, it answers otherwise: off by"):
        OnnxConverter().convert(tmp_path / "vendor.onnx", tmp_path / "model.onnx")


def plain(folder: Path) -> Path:
    onnx.save(model([node("Relu", ["x0"], domain="")], domains=()), str(folder / "vendor.onnx"))
    return folder / "vendor.onnx"


def test_a_standard_file_leaves_as_it_came(tmp_path: Path) -> None:
    described = OnnxConverter().convert(plain(tmp_path), tmp_path / "model.onnx")

    assert described["exporter"] == "as it came"
    assert described["self_check"]["max_abs_diff"] == 0.0


def test_external_data_comes_inside(tmp_path: Path) -> None:
    made = model([node("MatMul", ["x0", "w"], domain="")], domains=())
    onnx.save(made, str(tmp_path / "vendor.onnx"), save_as_external_data=True, location="weights.bin", size_threshold=0)

    OnnxConverter().convert(tmp_path / "vendor.onnx", tmp_path / "model.onnx")

    (tmp_path / "weights.bin").unlink()
    onnx.checker.check_model(str(tmp_path / "model.onnx"), full_check=True)


def vendor_operator(path: Path) -> None:
    onnx.save(model([node("Attention", ["x0", "w", "b"])]), str(path))


def cpu_layout(path: Path) -> None:
    onnx.save(
        model([node("Conv", ["x0", "w"], domain="com.microsoft.nchwc")], domains=("com.microsoft.nchwc",)), str(path)
    )


def own_domain(path: Path) -> None:
    onnx.save(model([node("Secret", ["x0"], domain="ai.vendor")], domains=("ai.vendor",)), str(path))


def cyclic(path: Path) -> None:
    onnx.save(model([node("Add", ["x0", "y"], "z", ""), node("Relu", ["z"], "y", "")], domains=()), str(path))


def from_the_future(path: Path) -> None:
    onnx.save(model([node("Relu", ["x0"], domain="")], opset=999, domains=()), str(path))


def new_format(path: Path) -> None:
    made = model([node("Relu", ["x0"], domain="")], domains=())
    made.ir_version = 999
    onnx.save(made, str(path))


def outside(path: Path) -> None:
    made = model([node("MatMul", ["x0", "w"], domain="")], domains=())
    onnx.save(made, str(path), save_as_external_data=True, location="weights.bin", size_threshold=0)
    loaded = onnx.load(str(path), load_external_data=False)
    loaded.graph.initializer[0].external_data[0].value = "../../etc/passwd"
    path.write_bytes(loaded.SerializeToString())


def without_weights(path: Path) -> None:
    made = model([node("MatMul", ["x0", "w"], domain="")], domains=())
    onnx.save(made, str(path), save_as_external_data=True, location="weights.bin", size_threshold=0)
    (path.parent / "weights.bin").unlink()


def with_a_pickle(path: Path) -> None:
    class Payload:
        def __reduce__(self) -> tuple[Any, ...]:
            return print, ("run",)

    made = model([node("Relu", ["x0"], domain="", doc=pickle.dumps(Payload(), protocol=4))], domains=())
    onnx.save(made, str(path))


def nothing(path: Path) -> None:
    path.write_bytes(b"")


def garbage(path: Path) -> None:
    path.write_bytes(b"\xff\x00garbage" * 99)


def another_kind(path: Path) -> None:
    path.write_bytes(b'{"not": "a model"}')


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (vendor_operator, "vendor's own operators: com.microsoft:Attention"),
        (cpu_layout, "vendor's own operators: com.microsoft.nchwc:Conv"),
        (own_domain, "vendor's own operators: ai.vendor:Secret"),
        (cyclic, "does not load"),
        (from_the_future, "does not load"),
        (new_format, "does not load"),
        (outside, "weights outside its folder"),
        (without_weights, r"weights in weights\.bin, which did not come with it"),
        (with_a_pickle, "executable pickle"),
        (nothing, "not an ONNX file|not a whole ONNX file"),
        (garbage, "not an ONNX file|not a whole ONNX file"),
        (another_kind, "not an ONNX file|not a whole ONNX file"),
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)
def test_what_may_not_leave_is_refused_in_one_line(damage: Callable[[Path], None], said: str, tmp_path: Path) -> None:
    damage(tmp_path / "vendor.onnx")

    with pytest.raises(SourceError, match=said) as refused:
        OnnxConverter().convert(tmp_path / "vendor.onnx", tmp_path / "model.onnx")

    assert "\n" not in refused.value.message
    assert len(refused.value.message) < 500
