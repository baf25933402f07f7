"""A model that decides otherwise is found, whatever made it so; one that cannot be compared never passes."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import served_model
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from onnx import TensorProto, helper
from served_model import ASSET, change_json, change_model, change_tensor

from reversible.bundle.reader import Bundle
from reversible.equivalence.ladder import NO_DECISION
from reversible.errors import BundleError
from reversible.findings import Finding
from reversible_verifiers.outputs import INFINITE, Outputs, decide, differences

TOLERANCE = 1e-4  # what the demo's contract asks; the catalogue's default is ten times wider


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return served_model.write(tmp_path_factory.mktemp("honest") / "bundle")


@pytest.fixture
def bundle(honest: Bundle, tmp_path: Path) -> Bundle:
    shutil.copytree(honest.root, tmp_path / "bundle")
    return Bundle.open(tmp_path / "bundle")


def measure(bundle: Bundle) -> dict[str, Finding]:
    found = list(Outputs().verify(ASSET, bundle))
    assert {finding.metric for finding in found} == Outputs.metrics
    assert len(found) == len(Outputs.metrics)
    for finding in found:
        finding.seen.format(**finding.facts)
        assert (finding.value is None) == bool(finding.error)
    return {finding.metric.removeprefix("model."): finding for finding in found}


def number(finding: Finding) -> float:
    assert isinstance(finding.value, int | float)
    return finding.value


def test_a_faithful_model_agrees_on_every_input(honest: Bundle) -> None:
    found = measure(honest)

    assert found["inputs_compared"].value == served_model.COUNT
    assert number(found["agreement_lb95"]) == pytest.approx(0.05 ** (1 / served_model.COUNT))
    assert number(found["max_abs_diff"]) < 1e-6
    assert found["metric_delta_points"].value == 0
    assert number(found["declared_metric_gap_points"]) == pytest.approx(-10.0)
    assert not any(finding.places for finding in found.values())


def test_the_same_bundle_gives_the_same_findings(honest: Bundle) -> None:
    assert list(Outputs().verify(ASSET, honest)) == list(Outputs().verify(ASSET, honest))


def epsilon(operator: str, value: float) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        for node in model.graph.node:
            for attribute in node.attribute:
                if node.op_type == operator and attribute.name == "epsilon":
                    attribute.f = value

    return change


def swap_rows(array: Any) -> Any:
    return array[[1, 0, *range(2, len(array))]]


def scale_one(array: Any) -> Any:
    array.flat[0] *= 1.01
    return array


def softmax_over_the_batch(model: onnx.ModelProto) -> None:
    model.graph.node[-1].attribute[0].i = 0


def drop_output(model: onnx.ModelProto) -> None:
    change_tensor("head", lambda array: array[:4])(model)
    change_tensor("head_bias", lambda array: array[:4])(model)
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 4


def fixed_batch(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 64
    change_tensor("image_shape", lambda _: np.array([64, 1, 8, 8]))(model)


DAMAGES: dict[str, Callable[[onnx.ModelProto], None]] = {
    "batch norm epsilon 1e-3": epsilon("BatchNormalization", 1e-3),
    "layer norm epsilon 1e-3": epsilon("LayerNormalization", 1e-3),
    "swapped rows of the head": change_tensor("head", swap_rows),
    "swapped weights and biases": change_tensor("g", lambda array: array[::-1]),
    "transposed kernel": change_tensor("kernel", lambda array: array.transpose(0, 1, 3, 2)),
    "flipped kernel": change_tensor("kernel", lambda array: array[..., ::-1, ::-1]),
    "division by 15": change_tensor("sixteen", lambda _: np.float32(15)),
    "no division": change_tensor("sixteen", lambda _: np.float32(1)),
    "a bias forgotten": change_tensor("head_bias", np.zeros_like),
    "one weight one percent off": change_tensor("kernel", scale_one),
    "weights in half precision": change_tensor("head", lambda array: array.astype(np.float16).astype(np.float32)),
    "softmax over the batch": softmax_over_the_batch,
    "one output less": drop_output,
    "a batch of 64 or nothing": fixed_batch,
    "answers that are no numbers": change_tensor("head_bias", lambda array: array * np.nan),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damage_to_the_model_is_measured_and_located(bundle: Bundle, damage: Callable[[onnx.ModelProto], None]) -> None:
    change_model(bundle, damage)

    finding = measure(bundle)["max_abs_diff"]

    assert number(finding) > TOLERANCE
    assert finding.places
    assert finding.places[0].startswith("input ")


@pytest.mark.parametrize(
    "name", ["one output less", "a batch of 64 or nothing", "answers that are no numbers"]
)  # fmt: skip
def test_where_no_difference_can_be_given_the_value_is_the_largest_and_the_sentence_says_so(
    bundle: Bundle, name: str
) -> None:
    change_model(bundle, DAMAGES[name])

    found = measure(bundle)

    assert found["max_abs_diff"].value == INFINITE
    assert "no difference can be given" in found["max_abs_diff"].seen
    assert number(found["agreement_lb95"]) < 0.9


def test_a_model_that_only_takes_the_vendor_s_batch_size_is_not_the_same_model(bundle: Bundle) -> None:
    change_model(bundle, DAMAGES["a batch of 64 or nothing"])

    assert "in batches of" in str(measure(bundle)["max_abs_diff"].facts["why"])


def in_double(model: onnx.ModelProto) -> None:
    """The same graph, which takes its input as float64: what a pipeline of float64 does."""
    given = model.graph.input[0]
    cast = onnx.helper.make_node("Cast", [given.name], ["narrow"], to=onnx.TensorProto.FLOAT)
    for node in model.graph.node:
        node.input[:] = ["narrow" if name == given.name else name for name in node.input]
    model.graph.node.insert(0, cast)
    given.type.tensor_type.elem_type = onnx.TensorProto.DOUBLE


def test_a_model_that_takes_float64_is_asked_with_the_same_numbers(bundle: Bundle) -> None:
    change_model(bundle, in_double)

    assert number(measure(bundle)["max_abs_diff"]) <= TOLERANCE


def test_swapped_labels_change_the_decisions_though_every_number_is_right(bundle: Bundle) -> None:
    def swap(document: dict[str, Any]) -> None:
        document["labels"][0], document["labels"][1] = document["labels"][1], document["labels"][0]

    change_json(bundle, "model.json", swap)

    found = measure(bundle)
    assert number(found["max_abs_diff"]) < 1e-6
    assert number(found["agreement_lb95"]) < 0.999
    assert number(found["metric_delta_points"]) < -1
    assert found["agreement_lb95"].places


def test_equal_inputs_count_once(tmp_path: Path) -> None:
    bundle = served_model.write(tmp_path / "bundle", asked=served_model.questions(10, copies=50))

    found = measure(bundle)

    assert found["inputs_compared"].value == 10
    assert number(found["agreement_lb95"]) < 0.75


def test_an_accuracy_that_was_overstated_shows(bundle: Bundle) -> None:
    change_json(bundle, "model.json", lambda document: document["declared_metrics"]["accuracy"].update(value=1.0))

    gap = number(measure(bundle)["declared_metric_gap_points"])

    assert gap == pytest.approx(0.0, abs=1e-9)  # every tenth is wrong, and all of those are not held out
    change_json(bundle, "model.json", lambda document: document["declared_metrics"]["accuracy"].update(on="variation"))
    assert number(measure(bundle)["declared_metric_gap_points"]) == pytest.approx(20.0)


# --- what decides nothing ---------------------------------------------------------------------------------------


def test_an_endpoint_that_answers_otherwise_each_time_leaves_everything_unanswered(tmp_path: Path) -> None:
    draw = np.random.default_rng(5)
    honest = served_model.served(served_model.graph())
    bundle = served_model.write(
        tmp_path / "bundle", predict=lambda rows: honest(rows) + draw.normal(0, 0.01, (len(rows), 5)).astype(np.float32)
    )

    found = measure(bundle)

    assert all(finding.value is None for finding in found.values())
    assert all("different answers to the same question" in finding.error for finding in found.values())


def test_rounding_noise_between_two_calls_is_not_instability(tmp_path: Path) -> None:
    draw = np.random.default_rng(5)
    honest = served_model.served(served_model.graph())
    bundle = served_model.write(
        tmp_path / "bundle", predict=lambda rows: honest(rows) * np.float32(1 + draw.uniform(-1e-7, 1e-7))
    )

    assert number(measure(bundle)["max_abs_diff"]) < 1e-6


def test_without_a_golden_set_nothing_is_answered(bundle: Bundle) -> None:
    shutil.rmtree(bundle.folder(ASSET) / "golden")

    assert all("no golden set" in finding.error for finding in measure(bundle).values())


def test_without_labels_or_a_declared_accuracy_those_two_are_unanswered(tmp_path: Path) -> None:
    bundle = served_model.write(tmp_path / "bundle", asked=served_model.questions(labelled=False))

    found = measure(bundle)

    assert found["metric_delta_points"].value is None
    assert found["declared_metric_gap_points"].value is None
    assert number(found["max_abs_diff"]) < 1e-6
    change_json(bundle, "model.json", lambda document: document.update(declared_metrics=None))
    assert "declares no accuracy" in measure(bundle)["declared_metric_gap_points"].error


# --- golden sets that are not what they say ---------------------------------------------------------------------


def rewrite(path: Path, change: Callable[[list[dict[str, Any]]], None]) -> None:
    table = pq.read_table(path)
    rows = table.to_pylist()
    change(rows)
    try:
        changed = pa.Table.from_pylist(rows, table.schema)
    except pa.ArrowInvalid:  # a list of another length
        changed = pa.Table.from_pylist(rows)
    pq.write_table(changed, path)


def shift_output(rows: list[dict[str, Any]]) -> None:
    rows[3]["output"] = [value + 0.25 for value in rows[3]["output"]]


def edit_response(rows: list[dict[str, Any]]) -> None:
    rows[0]["response"] = rows[0]["response"].replace(b"0.1", b"0.2", 1)


def refuse_one(rows: list[dict[str, Any]]) -> None:
    rows[1]["status"] = 500


def swap_inputs(rows: list[dict[str, Any]]) -> None:
    rows[0]["input"], rows[1]["input"] = rows[1]["input"], rows[0]["input"]


def renumber(rows: list[dict[str, Any]]) -> None:
    rows[0]["index"] = 7


def not_json(rows: list[dict[str, Any]]) -> None:
    rows[0]["response"] = b"<html>"


LIES: dict[str, tuple[str, Callable[[list[dict[str, Any]]], None]]] = {
    "an answer edited in the table": ("golden/outputs.parquet", shift_output),
    "an answer edited in the raw bytes": ("golden/requests.parquet", edit_response),
    "raw bytes that are no answer": ("golden/requests.parquet", not_json),
    "an exchange that failed": ("golden/requests.parquet", refuse_one),
    "an exchange too few": ("golden/requests.parquet", lambda rows: rows.pop()),
    "inputs in another order": ("golden/inputs.parquet", swap_inputs),
    "indexes out of order": ("golden/outputs.parquet", renumber),
    "answers too few": ("golden/outputs.parquet", lambda rows: rows.pop()),
}


@pytest.mark.parametrize(("file", "change"), LIES.values(), ids=LIES)
def test_a_golden_set_that_contradicts_itself_is_never_compared_with(
    bundle: Bundle, file: str, change: Callable[[list[dict[str, Any]]], None]
) -> None:
    rewrite(bundle.folder(ASSET) / file, change)

    with pytest.raises(BundleError):
        list(Outputs().verify(ASSET, bundle))


@pytest.fixture
def witnessed(bundle: Bundle) -> Iterator[Path]:
    return bundle.root / "data/witness" / ASSET.slug / "answers.parquet"


def test_an_endpoint_that_answered_otherwise_the_second_time_is_a_difference(bundle: Bundle, witnessed: Path) -> None:
    rewrite(witnessed, lambda rows: rows[0].update(output=rows[0]["output"][::-1]))

    found = measure(bundle)

    assert number(found["max_abs_diff"]) > TOLERANCE
    assert len(found["max_abs_diff"].places) == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: rows[0].update(index=rows[1]["index"]),
        lambda rows: rows[0].update(index=10_000),
        lambda rows: rows[0].update(input_sha256="0" * 64),
        lambda rows: rows[0].update(output=rows[0]["output"][:2]),
        lambda rows: rows.clear(),
    ],
    ids=["twice", "no such input", "another input", "another length", "none"],
)
def test_a_witness_that_speaks_of_something_else_is_refused(
    bundle: Bundle, witnessed: Path, change: Callable[[list[dict[str, Any]]], None]
) -> None:
    rewrite(witnessed, change)

    with pytest.raises(BundleError, match="witness"):
        list(Outputs().verify(ASSET, bundle))


def test_the_copy_for_other_runtimes_must_say_the_same(bundle: Bundle) -> None:
    path = bundle.folder(ASSET) / "test_data_set_0/output_0.pb"
    tensor = onnx.TensorProto.FromString(path.read_bytes())
    path.write_bytes(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor) + 1).SerializeToString())

    with pytest.raises(BundleError, match=r"output_0\.pb says other numbers"):
        list(Outputs().verify(ASSET, bundle))


@pytest.mark.parametrize("damage", ["garbage", "empty", "cut", "missing", "link"])
def test_a_file_that_is_no_model_is_refused(bundle: Bundle, damage: str) -> None:
    path = bundle.folder(ASSET) / "model.onnx"
    whole = path.read_bytes()
    path.unlink()
    if damage == "link":
        (bundle.root / "elsewhere").write_bytes(whole)
        path.symlink_to(bundle.root / "elsewhere")
    elif damage != "missing":
        path.write_bytes({"garbage": b"\xffgarbage" * 50, "empty": b"", "cut": whole[: len(whole) // 2]}[damage])

    with pytest.raises(BundleError, match=r"model\.onnx") as refused:
        list(Outputs().verify(ASSET, bundle))

    assert "\n" not in refused.value.message


def test_external_data_outside_the_package_is_never_opened(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(bytes(1024))

    def point_out(model: onnx.ModelProto) -> None:
        tensor = next(one for one in model.graph.initializer if one.name == "lg")
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="../../../../secret")

    change_model(bundle, point_out)

    with pytest.raises(BundleError, match=r"is not run: it holds \.\./"):
        list(Outputs().verify(ASSET, bundle))


# --- numbers ----------------------------------------------------------------------------------------------------

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("observed", "expected", "off"),
    [
        ([[1.0, 2.0]], [[1.0, 2.5]], [0.5]),
        ([[0.0]], [[-0.0]], [0.0]),
        ([[NAN, 1.0]], [[NAN, 1.0]], [0.0]),
        ([[NAN]], [[1.0]], [INF]),
        ([[1.0]], [[NAN]], [INF]),
        ([[INF]], [[INF]], [0.0]),
        ([[INF]], [[-INF]], [INF]),
        ([[INF]], [[3e38]], [INF]),
        ([[3e38]], [[-3e38]], [6e38]),
        ([[1.0, 2.0]], [[1.0]], [INF]),
        ([[1.0]], [[1.0], [2.0]], [INF, INF]),
        (np.zeros((2, 0)), np.zeros((2, 0)), [INF, INF]),
        (np.zeros((0, 3)), np.zeros((0, 3)), []),
    ],
)
def test_a_difference_is_never_smaller_than_it_is(observed: Any, expected: Any, off: list[float]) -> None:
    found = differences(np.array(observed, np.float32), np.array(expected, np.float32))

    assert found.tolist() == pytest.approx(off, rel=1e-6)


@given(
    hnp.arrays(np.float32, (4, 3), elements=st.floats(width=32)),
    hnp.arrays(np.float32, (4, 3), elements=st.floats(width=32)),
)
def test_differences_are_symmetric_and_zero_exactly_for_equal_answers(left: Any, right: Any) -> None:
    there, back = differences(left, right), differences(right, left)

    assert np.array_equal(there, back)
    assert not np.isnan(there).any()
    for row, off in enumerate(there):
        assert (off == 0) == np.array_equal(left[row], right[row], equal_nan=True)


@pytest.mark.parametrize(
    ("answers", "rule", "expected"),
    [
        ([[0.1, 0.9], [0.9, 0.1]], "argmax", [1, 0]),
        ([[0.5, 0.5]], "argmax", [0]),
        ([[0.4, 0.6], [0.51, 0.49]], "threshold:0.5", [1, 0]),
        ([[0.5], [0.49999]], "threshold:0.5", [1, 0]),
        ([[NAN]], "threshold:0.5", [0]),
    ],
)
def test_a_decision_follows_its_rule(answers: Any, rule: str, expected: list[int]) -> None:
    assert decide(np.array(answers, np.float32), rule).tolist() == expected


@pytest.mark.parametrize("rule", ["softmax", "threshold:", "threshold:x", ""])
def test_an_unknown_rule_is_refused(rule: str) -> None:
    with pytest.raises(BundleError, match="rule"):
        decide(np.zeros((1, 2), np.float32), rule)


def test_a_model_with_two_inputs_is_refused(bundle: Bundle) -> None:
    def add_input(model: onnx.ModelProto) -> None:
        model.graph.input.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["n"]))

    change_model(bundle, add_input)

    with pytest.raises(BundleError, match="takes 2 inputs"):
        list(Outputs().verify(ASSET, bundle))


def test_a_model_that_answers_one_number_is_held_to_its_numbers_without_a_threshold(tmp_path: Path) -> None:
    model = served_model.graph()
    for tensor in model.graph.initializer:
        if tensor.name in ("head", "head_bias"):
            tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor)[:1], tensor.name))
    del model.graph.node[-1]  # its softmax
    model.graph.node[-1].output[0] = "probabilities"
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 1
    bundle = served_model.write(tmp_path / "bundle", predict=served_model.served(model))
    for tensor in model.graph.initializer:
        if tensor.name in ("head", "head_bias"):
            tensor.CopyFrom(onnx.numpy_helper.from_array(1000 * onnx.numpy_helper.to_array(tensor), tensor.name))
    onnx.save_model(model, str(bundle.folder(served_model.ASSET) / "model.onnx"))
    found = {one.metric: one for one in Outputs().verify(served_model.ASSET, bundle)}

    assert found["model.agreement_lb95"].value == 0.0
    assert number(found["model.metric_delta_points"]) > 1000
    assert found["model.declared_metric_gap_points"].value is None
    assert found["model.declared_metric_gap_points"].error == NO_DECISION
    assert found["model.equivalence"].value == "F"
