"""Wrong, corrupt and hostile models: refused in one line, never a crash or a hang."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from reversible.errors import EvaluatorError
from reversible.evaluator import Evaluator, Limits

FLOAT = TensorProto.FLOAT
OPSETS = [helper.make_opsetid("", 21), helper.make_opsetid("local", 1)]


def model_of(
    nodes: list[onnx.NodeProto], *, opset: int = 21, functions: list[onnx.FunctionProto] | None = None
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes, "graph", [helper.make_tensor_value_info("x", FLOAT, [None])], [onnx.ValueInfoProto(name="y")]
    )
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("local", 1)]
    return helper.make_model(graph, opset_imports=imports, functions=functions or [])


def doubled(name: str, callee: str) -> onnx.FunctionProto:
    """A function that calls another one twice."""
    nodes = [
        helper.make_node(callee, ["a"], ["b"], domain="local" if callee != "Relu" else ""),
        helper.make_node(callee, ["b"], ["c"], domain="local" if callee != "Relu" else ""),
    ]
    return helper.make_function("local", name, ["a"], ["c"], nodes, OPSETS)


def chain(*ops: tuple[str, list[str], list[str]], **attributes: object) -> list[onnx.NodeProto]:
    return [helper.make_node(op, inputs, outputs, **attributes) for op, inputs, outputs in ops]


REFUSED_WHEN_READ = {
    "a cycle": (
        model_of(chain(("Add", ["x", "b"], ["a"]), ("Relu", ["a"], ["b"]), ("Relu", ["b"], ["y"]))),
        "the graph has a cycle through",
    ),
    "a value from nowhere": (model_of(chain(("Add", ["x", "z"], ["y"]))), "z used and never produced"),
    "a value made twice": (model_of(chain(("Relu", ["x"], ["y"]), ("Abs", ["x"], ["y"]))), "y is produced twice"),
    "an opset of the future": (model_of(chain(("Relu", ["x"], ["y"])), opset=999), r"Relu \(ai.onnx opset 999\)"),
    "opset 0": (model_of(chain(("Relu", ["x"], ["y"])), opset=0), r"Relu \(ai.onnx opset 0\)"),
    "a function that calls itself": (
        model_of([helper.make_node("f", ["x"], ["y"], domain="local")], functions=[doubled("f", "f")]),
        "calls itself",
    ),
    "an output that nothing makes": (model_of(chain(("Relu", ["x"], ["w"]))), "y used and never produced"),
}


@pytest.mark.parametrize("what", REFUSED_WHEN_READ)
def test_a_broken_model_is_refused_when_it_is_read(what: str) -> None:
    model, message = REFUSED_WHEN_READ[what]

    with pytest.raises(EvaluatorError, match=message) as caught:
        Evaluator(model)

    assert "\n" not in caught.value.message


@pytest.mark.parametrize("content", [b"", b"garbage", b"\x08\x07", b"\xff" * 100, b"\x0a" + b"\xff" * 9])
def test_a_file_that_is_no_model_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "model.onnx"
    file.write_bytes(content)

    with pytest.raises(EvaluatorError) as caught:
        Evaluator(file)

    assert "\n" not in caught.value.message


def test_a_real_file_cut_anywhere_or_with_a_byte_changed_never_crashes(tmp_path: Path) -> None:
    weights = numpy_helper.from_array(np.ones((2, 3, 3, 3), np.float32), "w")
    model = model_of(chain(("Conv", ["x", "w"], ["c"]), ("Relu", ["c"], ["y"])))
    model.graph.initializer.append(weights)
    del model.graph.input[:]
    model.graph.input.append(helper.make_tensor_value_info("x", FLOAT, [1, 3, 8, 8]))
    whole = model.SerializeToString()
    rng = np.random.default_rng(0)
    file = tmp_path / "model.onnx"
    refused = 0
    for _ in range(300):
        damaged = bytearray(whole[: rng.integers(len(whole))] if rng.random() < 0.3 else whole)
        for at in rng.integers(0, max(1, len(damaged)), 3):
            if damaged:
                damaged[at % len(damaged)] = rng.integers(256)
        file.write_bytes(damaged)
        try:
            engine = Evaluator(file)
            engine.run({one.name: np.ones([2 if not isinstance(size, int) else size for size in one.shape or ()],
                                          one.dtype) for one in engine.inputs})  # fmt: skip
        except EvaluatorError:
            refused += 1

    assert refused > 50  # anything else than an EvaluatorError fails the test


REFUSED_WHEN_RUN = {
    "an Expand to 10^12": (chain(("Expand", ["x", "s"], ["y"])), [10**6, 10**6]),
    "a Tile of 10^12": (chain(("Tile", ["x", "s"], ["y"])), [10**12]),
    "a negative shape": (chain(("ConstantOfShape", ["s"], ["y"])), [-5]),
    "a Pad of 10^12": (chain(("Pad", ["x", "s"], ["y"])), [10**12, 0]),
    "a Resize to 10^12": (chain(("Resize", ["x", "", "", "s"], ["y"])), [10**12]),
    "a OneHot of 10^12": (chain(("OneHot", ["s", "s", "x"], ["y"])), [10**12]),
    "a Gather far outside": (chain(("Gather", ["x", "s"], ["y"])), [10**12]),
    "a Reshape that does not fit": (chain(("Reshape", ["x", "s"], ["y"])), [7, 7]),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED_WHEN_RUN)
def test_an_absurd_size_is_refused_before_it_is_made(what: str) -> None:
    nodes, sizes = REFUSED_WHEN_RUN[what]
    model = model_of(nodes)
    model.graph.initializer.append(numpy_helper.from_array(np.array(sizes, np.int64), "s"))

    with pytest.raises(EvaluatorError, match=r"node .* \(") as caught:
        Evaluator(model).run({"x": np.ones(2, np.float32)})

    assert "\n" not in caught.value.message


def test_a_broadcast_of_two_long_vectors_is_refused() -> None:
    model = model_of(chain(("Unsqueeze", ["x", "a"], ["c"]), ("Mul", ["x", "c"], ["y"])))
    model.graph.initializer.append(numpy_helper.from_array(np.array([1], np.int64), "a"))

    with pytest.raises(EvaluatorError, match=r"takes .* bytes"):
        Evaluator(model).run({"x": np.ones(10**6, np.float32)})


def test_functions_that_call_functions_twice_each_do_not_run_for_years() -> None:
    functions = [doubled("f0", "Relu"), *(doubled(f"f{at}", f"f{at - 1}") for at in range(1, 60))]
    model = model_of([helper.make_node("f59", ["x"], ["y"], domain="local")], functions=functions)

    with pytest.raises(EvaluatorError, match="stopped after 10000 steps"):
        Evaluator(model, limits=Limits(steps=10_000)).run({"x": np.ones(1, np.float32)})


def test_functions_that_call_each_other_very_deep_are_refused() -> None:
    functions = [doubled("f0", "Relu"), *(doubled(f"f{at}", f"f{at - 1}") for at in range(1, 300))]
    model = model_of([helper.make_node("f299", ["x"], ["y"], domain="local")], functions=functions)

    with pytest.raises(EvaluatorError, match="more than 100 deep"):
        Evaluator(model)


def test_a_tree_with_a_cycle_is_refused() -> None:
    node = helper.make_node(
        "TreeEnsembleRegressor", ["x"], ["y"], domain="ai.onnx.ml", n_targets=1,
        nodes_treeids=[0, 0, 0], nodes_nodeids=[0, 1, 2], nodes_featureids=[0, 0, 0], nodes_values=[0.0, 0.0, 0.0],
        nodes_modes=["BRANCH_LEQ", "BRANCH_LEQ", "LEAF"], nodes_truenodeids=[1, 1, 0], nodes_falsenodeids=[2, 2, 0],
        target_treeids=[0], target_nodeids=[2], target_ids=[0], target_weights=[1.0],
    )  # fmt: skip
    graph = helper.make_graph(
        [node], "g", [helper.make_tensor_value_info("x", FLOAT, [None, 1])], [onnx.ValueInfoProto(name="y")]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("ai.onnx.ml", 3)])

    with pytest.raises(EvaluatorError, match="a tree has a cycle"):
        Evaluator(model).run({"x": np.zeros((1, 1), np.float32)})


@pytest.mark.parametrize(
    ("feeds", "message"),
    [
        ({}, "inputs are missing: x"),
        ({"x": np.ones(2, np.float32), "z": np.ones(2)}, "the model has no input z"),
        ({"x": np.ones(2, np.int64)}, "the input x is float32, not int64"),
        ({"x": np.ones((2, 2), np.float32)}, "has shape"),
    ],
)
def test_feeds_that_do_not_fit_are_refused(feeds: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(EvaluatorError, match=message):
        Evaluator(model_of(chain(("Relu", ["x"], ["y"])))).run(feeds)


@pytest.mark.parametrize(("op", "size"), [("Softmax", 0), ("ReduceMax", 1), ("ReduceSum", 1), ("TopK", 0), ("Relu", 0)])
def test_a_tensor_without_elements_is_computed(op: str, size: int) -> None:
    nodes = chain(("TopK", ["x", "k"], ["y", "i"])) if op == "TopK" else chain((op, ["x"], ["y"]))
    model = model_of(nodes)
    model.graph.initializer.append(numpy_helper.from_array(np.array([0], np.int64), "k"))

    found = Evaluator(model).run({"x": np.zeros(0, np.float32)})["y"]

    assert found.size == size
