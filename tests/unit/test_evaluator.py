"""The second engine's own promises: what it carries, keeps, perturbs and refuses."""

import math
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from reversible.errors import EvaluatorError
from reversible.evaluator import Evaluator, Limits
from reversible.evaluator.operators.special import erf


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


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def test_a_value_in_between_is_returned_when_it_is_named_and_only_then() -> None:
    model = model_of(
        [helper.make_node("Exp", ["x"], ["e"]), helper.make_node("Neg", ["e"], ["y"])],
        {"x": (TensorProto.FLOAT, [None])},
        ["y"],
    )
    engine = Evaluator(model)

    assert set(engine.run({"x": normal(3)})) == {"y"}
    found = engine.run({"x": normal(3)}, keep=["e", "x"])
    np.testing.assert_array_equal(found["e"], -found["y"])
    assert set(found) == {"x", "e", "y"}
    with pytest.raises(EvaluatorError, match="no value is named z"):
        engine.run({"x": normal(3)}, keep=["z"])


def test_a_perturbation_meets_what_rounds_and_leaves_moves_and_sizes_alone() -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"]),
        helper.make_node("Transpose", ["m"], ["t"], perm=[1, 0]),
        helper.make_node("Unsqueeze", ["t", "axes"], ["u"]),
        helper.make_node("Resize", ["u", "", "scales"], ["y"]),
    ]
    constants = {
        "w": normal(3, 4),
        "axes": np.array([0, 1], np.int64),
        "scales": np.array([1, 1, 2, 2], np.float32),
    }
    model = model_of(nodes, {"x": (TensorProto.FLOAT, [2, 3])}, ["y"], constants=constants)
    seen: list[str] = []

    def perturb(name: str, array: np.ndarray) -> np.ndarray:
        seen.append(name)
        return array * 1.5

    plain = Evaluator(model).run({"x": normal(2, 3)})["y"]
    noisy = Evaluator(model).run({"x": normal(2, 3)}, perturb=perturb)["y"]

    assert sorted(seen) == ["m", "w", "x", "y"]
    np.testing.assert_allclose(noisy, plain * 1.5**4, rtol=1e-12)


def test_a_tree_sees_the_number_it_was_given_when_the_rest_is_perturbed() -> None:
    node = helper.make_node(
        "TreeEnsembleRegressor", ["x"], ["y"], domain="ai.onnx.ml", n_targets=1,
        nodes_treeids=[0, 0, 0], nodes_nodeids=[0, 1, 2], nodes_featureids=[0, 0, 0], nodes_values=[5.0, 0.0, 0.0],
        nodes_modes=["BRANCH_LT", "LEAF", "LEAF"], nodes_truenodeids=[1, 0, 0], nodes_falsenodeids=[2, 0, 0],
        target_treeids=[0, 0], target_nodeids=[1, 2], target_ids=[0, 0], target_weights=[1.0, 2.0],
    )  # fmt: skip
    model = model_of([node], {"x": (TensorProto.FLOAT, [None, 1])}, ["y"])

    found = Evaluator(model).run({"x": np.full((1, 1), 5, np.float32)}, perturb=lambda name, array: array * (1 - 1e-7))

    assert found["y"][0, 0] == pytest.approx(2)


def test_a_cast_to_float32_rounds_only_what_the_graph_declares_float64() -> None:
    cast = helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT)
    third = np.array([1 / 3])

    of_double = Evaluator(model_of([cast], {"x": (TensorProto.DOUBLE, [1])}, ["y"])).run({"x": third})["y"]
    of_float = Evaluator(model_of([cast], {"x": (TensorProto.FLOAT, [1])}, ["y"])).run({"x": third})["y"]

    assert of_double[0] == np.float64(np.float32(1 / 3))
    assert of_float[0] == third[0]


def test_an_attribute_of_a_function_is_the_callers() -> None:
    leaky = helper.make_node("LeakyRelu", ["a"], ["b"])
    leaky.attribute.add(name="alpha", type=onnx.AttributeProto.FLOAT, ref_attr_name="slope")
    function = helper.make_function("local", "f", ["a"], ["b"], [leaky], [helper.make_opsetid("", 21)], ["slope"])
    calls = [
        helper.make_node("f", ["x"], ["p"], domain="local", name="first", slope=0.5),
        helper.make_node("f", ["x"], ["q"], domain="local", name="second", slope=2.0),
        helper.make_node("Sub", ["p", "q"], ["y"]),
    ]
    model = model_of(calls, {"x": (TensorProto.FLOAT, [1])}, ["y"], functions=[function])
    model.opset_import.append(helper.make_opsetid("local", 1))

    found = Evaluator(model).run({"x": np.array([-2], np.float32)}, keep=["second/b"])

    assert found["y"][0] == 3
    assert found["second/b"][0] == -4


def test_the_error_function_is_right_to_a_few_units_in_the_last_place() -> None:
    x = np.concatenate([np.linspace(-7, 7, 20_001), [0.0, -0.0, 1e-300, np.inf, -np.inf, 0.46875, 4.0, 6.0]])
    true = np.array([math.erf(one) for one in x])

    assert np.max(np.abs(erf(x) - true) / np.maximum(np.abs(true), 1e-300)) < 1e-15
    assert np.isnan(erf(np.array([np.nan]))[0])
