"""References from the original and from the port, and the first module that diverges between them."""

import io
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import served_model
from onnx import helper, numpy_helper
from test_outputs import epsilon

from reversible.equivalence import ladder, localisation, reference, runtime
from reversible.equivalence.ratio import error_ratio
from reversible.errors import BundleError, EvaluatorError

torch = pytest.importorskip("torch")
INPUTS = np.random.default_rng(11).uniform(0, 16, (60, 64)).astype(np.float32)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    onnx.save(served_model.graph(), str(tmp_path / "model.onnx"))
    return tmp_path / "model.onnx"


# --- black box ---------------------------------------------------------------------------------------------------


def numbered_leaves(path: Path, table: list[float]) -> Path:
    """As our exporters write trees: the number of the leaf, cast to a whole one, and what it says from a table."""
    tree = helper.make_node(
        "TreeEnsembleRegressor", ["x"], ["leaf"], domain="ai.onnx.ml", n_targets=1,
        nodes_treeids=[0] * 5, nodes_nodeids=list(range(5)), nodes_featureids=[0, 1, 0, 0, 0],
        nodes_values=[0.0, 0.5, 0.0, 0.0, 0.0], nodes_modes=["BRANCH_LEQ", "BRANCH_LEQ", "LEAF", "LEAF", "LEAF"],
        nodes_truenodeids=[1, 2, 0, 0, 0], nodes_falsenodeids=[4, 3, 0, 0, 0],
        target_treeids=[0] * 3, target_nodeids=[2, 3, 4], target_ids=[0] * 3, target_weights=[1.0, 2.0, 3.0],
    )  # fmt: skip
    graph = helper.make_graph(
        [
            tree,
            helper.make_node("Cast", ["leaf"], ["whole"], to=onnx.TensorProto.INT64),
            helper.make_node("Gather", ["table", "whole"], ["answer"]),
        ],
        "forest",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor_value_info("answer", onnx.TensorProto.FLOAT, ["n", 1])],
        [numpy_helper.from_array(np.array(table, np.float32), "table")],
    )
    versions = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)]
    onnx.save(helper.make_model(graph, opset_imports=versions, ir_version=10), str(path))
    return path


def test_drawn_roundings_send_no_row_to_another_leaf(tmp_path: Path) -> None:
    """A floor as wide as the distance between two leaves would forgive every fault of a forest."""
    feeds = {"x": np.random.default_rng(1).normal(0, 1, (40, 2)).astype(np.float32)}
    good = reference.of_port(numbered_leaves(tmp_path / "good.onnx", [0.0, 0.3, 0.7, 0.1]), feeds)
    bad = reference.of_port(numbered_leaves(tmp_path / "bad.onnx", [0.0, 0.3, 0.70001, 0.1]), feeds)
    recorded = runtime.ask(runtime.session(tmp_path / "good.onnx"), feeds)

    assert good.floor.max() < 1e-6
    assert error_ratio(recorded, good.answers, good.floor).within()
    assert not error_ratio(recorded, bad.answers, bad.floor).within()


def test_the_reference_does_not_depend_on_the_batches_it_was_computed_in(path: Path) -> None:
    whole = reference.of_port(path, {"pixels": INPUTS}, batch=60)
    pieces = reference.of_port(path, {"pixels": INPUTS}, batch=7)

    assert np.allclose(whole.answers, pieces.answers, rtol=1e-12, atol=0)
    assert 0.3 < np.median(whole.floor / pieces.floor) < 3
    assert reference.of_port(path, {"pixels": INPUTS}, batch=7).floor.tolist() == pieces.floor.tolist()


def test_a_reference_is_stored_and_read_as_it_was(path: Path, tmp_path: Path) -> None:
    made = reference.of_port(path, {"pixels": INPUTS})
    stream = io.BytesIO()
    reference.write(made, stream, inputs_sha256="a" * 64)
    (tmp_path / "floor.parquet").write_bytes(stream.getvalue())

    found = reference.read(tmp_path / "floor.parquet", inputs_sha256="a" * 64, count=60)

    assert found is not None
    assert np.array_equal(found.answers, made.answers)
    assert np.array_equal(found.floor, made.floor)
    assert (found.source, found.about["runs"], len(found.about["evaluations"])) == ("port", 4, 3)
    assert reference.read(tmp_path / "none.parquet", inputs_sha256="", count=1) is None


def test_a_port_whose_answers_depend_on_the_batch_does_not_excuse_itself(path: Path) -> None:
    model = served_model.graph()
    model.graph.node[-1].attribute[0].i = 0  # softmax over the batch
    onnx.save(model, str(path))

    found = reference.of_port(path, {"pixels": INPUTS})

    assert found.floor.max() < 1e-4


def test_what_is_not_covered_or_refused_is_said(path: Path) -> None:
    with pytest.raises(EvaluatorError):
        reference.of_port(path, {"pixels": INPUTS[:, :32]})
    path.write_bytes(b"garbage")
    with pytest.raises(BundleError, match="cannot be run"):
        runtime.session(path)


def test_memory_is_bounded_by_one_batch(path: Path) -> None:
    many = np.resize(INPUTS, (2400, 64))

    def peak(rows: Any) -> int:
        tracemalloc.start()
        reference.of_port(path, {"pixels": rows}, batch=60)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    kept = 2400 * (5 + 1) * 8  # answers and floors
    assert peak(many) - peak(many[:120]) < 3 * kept


# --- white box ---------------------------------------------------------------------------------------------------


class Net(torch.nn.Module):  # type: ignore[misc]  # torch has no types here
    """Two blocks with a layer normalisation each."""

    def __init__(self, eps: float = 1e-5) -> None:
        super().__init__()
        self.first = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.GELU(), torch.nn.LayerNorm(32, eps=1e-5))
        self.second = torch.nn.Sequential(torch.nn.Linear(32, 16), torch.nn.LayerNorm(16, eps=eps))
        self.head = torch.nn.Linear(16, 4)

    def forward(self, pixels: Any) -> Any:
        return self.head(self.second(self.first(pixels / 16)))


@pytest.fixture(scope="module")
def net() -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return Net().eval()


@pytest.fixture(scope="module")
def port(net: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("port") / "model.onnx"
    program = torch.export.export(net, (torch.zeros(2, 64),), dynamic_shapes=({0: torch.export.Dim("batch")},))
    made = torch.onnx.export(program, dynamo=True, optimize=False, external_data=False, verbose=False)
    onnx.save(made.model_proto, str(path))
    return path


def ask(net: Any, dtype: Any) -> Callable[[Any], Any]:
    def answer(feeds: Any) -> Any:
        with torch.no_grad():
            return net.to(dtype)(torch.from_numpy(feeds["pixels"]).to(dtype)).numpy()

    return answer


def one_by_one(net: Any) -> Callable[[Any], Any]:
    def answer(feeds: Any) -> Any:
        rows = [ask(net, torch.float32)({"pixels": feeds["pixels"][at : at + 1]}) for at in range(len(feeds["pixels"]))]
        return np.concatenate(rows)

    return answer


def white_box(net: Any, port: Path | None) -> reference.Reference:
    import copy

    wide, narrow = copy.deepcopy(net), copy.deepcopy(net)
    return reference.of_original(
        ask(wide, torch.float64),
        {"as it is": ask(narrow, torch.float32), "one row at a time": one_by_one(narrow)},
        {"pixels": INPUTS},
        port=port,
        engine="torch",
    )


def test_a_good_port_is_within_the_floor_of_its_original(net: Any, port: Path) -> None:
    found = white_box(net, port)
    answers = runtime.ask(runtime.session(port), {"pixels": INPUTS})

    ratios = error_ratio(answers, found.answers, found.floor)

    assert found.source == "original"
    assert ratios.within()
    assert ratios.median < 2


@pytest.mark.parametrize("change", ["epsilon", "gelu"])
def test_a_port_with_another_constant_is_not(net: Any, port: Path, tmp_path: Path, change: str) -> None:
    model = onnx.load(str(port))
    if change == "epsilon":
        epsilon("LayerNormalization", 3e-5)(model)
    else:
        node = next(one for one in model.graph.node if one.op_type == "Gelu")
        del node.attribute[:]
        node.attribute.append(helper.make_attribute("approximate", "tanh"))
    onnx.save(model, str(tmp_path / "model.onnx"))
    found = white_box(net, port)

    answers = runtime.ask(runtime.session(tmp_path / "model.onnx"), {"pixels": INPUTS})

    assert not error_ratio(answers, found.answers, found.floor).within()


def test_without_monte_carlo_arithmetic_the_reference_says_so(net: Any) -> None:
    found = white_box(net, None)

    assert found.about["without_monte_carlo"] == "no port was given"
    assert found.about["runs"] == 0


def test_an_evaluation_of_another_shape_is_refused(net: Any) -> None:
    with pytest.raises(BundleError, match="in float32"):
        reference.of_original(
            ask(net, torch.float64), {"as it is": lambda feeds: np.zeros((len(feeds["pixels"]), 9))},
            {"pixels": INPUTS}, port=None, engine="torch",
        )  # fmt: skip
    net.to(torch.float32)


# --- the place ---------------------------------------------------------------------------------------------------


def outputs_of_modules(net: Any) -> dict[str, Any]:
    import copy

    kept: dict[str, Any] = {}
    wide = copy.deepcopy(net).double()
    for name, module in wide.named_modules():
        if name:
            module.register_forward_hook(lambda _, __, out, name=name: kept.__setitem__(name, out.detach().numpy()))
    with torch.no_grad():
        wide(torch.from_numpy(INPUTS[:5]).double())
    return kept


def test_a_good_port_diverges_nowhere(net: Any, port: Path) -> None:
    kept = outputs_of_modules(net)

    assert set(kept) >= {"first.0", "first.2", "second.1", "head"}
    assert localisation.against_modules(port, {"pixels": INPUTS[:5]}, kept) is None


@pytest.mark.parametrize(
    ("change", "module"),
    [
        (lambda model: epsilon("LayerNormalization", 1e-3)(model), "first.2"),
        (lambda model: swap(model, "second.0.weight"), "second.0"),
        (lambda model: swap(model, "head.bias"), "head"),
    ],
    ids=["epsilon", "a weight of the second block", "a bias of the head"],
)
def test_the_first_module_that_diverges_is_named(net: Any, port: Path, change: Any, module: str) -> None:
    model = onnx.load(str(port))
    change(model)

    found = localisation.against_modules(model, {"pixels": INPUTS[:5]}, outputs_of_modules(net))

    assert found is not None
    assert found.place.module == module
    assert found.error > 1e-6 > found.before
    assert found.compared >= 5


def swap(model: onnx.ModelProto, name: str) -> None:
    tensor = next(one for one in model.graph.initializer if one.name == name)
    array = numpy_helper.to_array(tensor)
    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(array[::-1]), name))


def test_one_file_is_held_against_another() -> None:
    feeds = {"pixels": INPUTS[:5]}
    changed = served_model.graph()
    epsilon("BatchNormalization", 2e-5)(changed)

    assert localisation.against_onnx(served_model.graph(), served_model.graph(), feeds) is None
    found = localisation.against_onnx(changed, served_model.graph(), feeds)
    assert found is not None
    assert (found.place.operator, found.place.value, found.before) == ("BatchNormalization", "normal", 0.0)


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("/encoder/layer.3/MatMul", "encoder.layer.3"),
        ("/encoder/encoder.layer.0/attention/Add", "encoder.layer.0.attention"),
        ("/first/first.2/LayerNormalization", "first.2"),
        ("/MatMul", ""),
        ("node_div", ""),
        ("", ""),
    ],
)
def test_the_module_is_read_from_the_name_that_torch_s_older_exporter_gives(name: str, module: str) -> None:
    assert localisation.module_of(helper.make_node("MatMul", ["a", "b"], ["c"], name=name)) == module


@pytest.mark.parametrize(
    ("scopes", "module"), [("['', 'a', 'a.b', 'linear']", "a.b"), ("['', 'div']", ""), ("[", ""), ("1", "")]
)
def test_the_module_is_read_from_the_metadata_of_torch_s_exporter(scopes: str, module: str) -> None:
    node = helper.make_node("MatMul", ["a", "b"], ["c"])
    node.metadata_props.add(key="pkg.torch.onnx.name_scopes", value=scopes)

    assert localisation.module_of(node) == module


def test_a_trace_survives_its_journey() -> None:
    import json

    feeds = {"pixels": INPUTS[:2]}
    lines = localisation.trace(served_model.graph(), feeds)

    rows, kept = localisation.read(json.loads(localisation.write(lines, [0, 1])), 60)

    assert rows == [0, 1]
    assert localisation.against_trace(served_model.graph(), feeds, kept) is None
    assert len(localisation.write(lines, [0, 1])) < 20_000


def test_the_digest_of_the_inputs_is_that_of_the_golden_set() -> None:
    assert ladder.inputs_sha256({"input": INPUTS}) != ladder.inputs_sha256({"input": INPUTS[1:]})
