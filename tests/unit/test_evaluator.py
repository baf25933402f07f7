"""The second engine's own promises: what it carries, keeps, perturbs and refuses."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from reversible.errors import EvaluatorError
from reversible.evaluator import Evaluator, Limits


def model_of(
    nodes: list[onnx.NodeProto],
    inputs: dict[str, tuple[int, list[int | str | None]]],
    outputs: list[str],
    *,
    constants: dict[str, np.ndarray] | None = None,
    opset: int = 21,
    **more: object,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.UNDEFINED, None) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()],
    )
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=imports, **more)


def test_floats_travel_in_float64_whatever_the_graph_declares() -> None:
    third = np.array([1 / 3], np.float32)
    model = model_of(
        [helper.make_node("Exp", ["x"], ["e"]), helper.make_node("Log", ["e"], ["y"])],
        {"x": (TensorProto.FLOAT, ["n"])},
        ["y"],
    )

    found = Evaluator(model).run({"x": third})["y"]

    assert found.dtype == np.float64
    assert abs(found[0] - np.float64(third[0])) < 1e-15


def test_as_declared_the_same_graph_rounds_to_float32() -> None:
    model = model_of([helper.make_node("Exp", ["x"], ["y"])], {"x": (TensorProto.FLOAT, ["n"])}, ["y"])

    found = Evaluator(model, precision=np.float32).run({"x": np.array([1.5], np.float32)})["y"]

    assert found.dtype == np.float32


def test_every_operator_that_is_not_covered_is_named_at_once() -> None:
    model = model_of(
        [
            helper.make_node("Tokenizer", ["x"], ["t"], domain="com.microsoft"),
            helper.make_node("NoSuch", ["t"], ["u"]),
            helper.make_node("Relu", ["u"], ["y"]),
        ],
        {"x": (TensorProto.STRING, [None])},
        ["y"],
    )

    with pytest.raises(EvaluatorError, match=r"NoSuch \(ai\.onnx opset 21\), Tokenizer \(com\.microsoft"):
        Evaluator(model)


def test_external_data_is_read_from_the_models_folder_alone(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    model = model_of(
        [helper.make_node("Add", ["x", "w"], ["y"])],
        {"x": (TensorProto.FLOAT, [4])},
        ["y"],
        constants={"w": np.arange(4, dtype=np.float32)},
    )
    onnx.save_model(model, str(inside / "m.onnx"), save_as_external_data=True, location="w.bin", size_threshold=0)

    found = Evaluator(inside / "m.onnx").run({"x": np.zeros(4, np.float32)})["y"]

    np.testing.assert_array_equal(found, [0, 1, 2, 3])
    (inside / "w.bin").rename(tmp_path / "w.bin")
    for location in ("../w.bin", str(tmp_path / "w.bin")):
        escaping = onnx.load_model(str(inside / "m.onnx"), load_external_data=False)
        escaping.graph.initializer[0].external_data[0].value = location
        (inside / "e.onnx").write_bytes(escaping.SerializeToString())
        with pytest.raises(EvaluatorError, match="outside the model's folder"):
            Evaluator(inside / "e.onnx")
    (inside / "w.bin").symlink_to(tmp_path / "w.bin")
    with pytest.raises(EvaluatorError, match="outside the model's folder"):
        Evaluator(inside / "m.onnx")


def test_an_absurd_shape_is_refused_before_it_is_allocated() -> None:
    model = model_of(
        [helper.make_node("ConstantOfShape", ["s"], ["y"])],
        {"s": (TensorProto.INT64, [1])},
        ["y"],
    )

    with pytest.raises(EvaluatorError, match=r"node y \(ConstantOfShape\): a value of shape \[1000000000000\]"):
        Evaluator(model).run({"s": np.array([10**12])})


def test_a_loop_without_an_end_is_stopped() -> None:
    body = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["c_out"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("c", TensorProto.BOOL, []),
        ],
        [helper.make_tensor_value_info("c_out", TensorProto.BOOL, [])],
    )
    model = model_of([helper.make_node("Loop", ["", "c"], [], body=body)], {"c": (TensorProto.BOOL, [])}, ["c"])
    model.graph.node[0].output.append("")

    with pytest.raises(EvaluatorError, match="stopped after 1000 steps"):
        Evaluator(model, limits=Limits(steps=1000)).run({"c": np.array(True)})
