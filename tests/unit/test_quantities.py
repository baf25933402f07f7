"""A regressor has no class to agree on: its numbers must be the endpoint's, or as good as the plan says."""

from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import onnx
import pytest
import served_model
from onnx import numpy_helper

from reversible import clauses
from reversible.answers import Measurements
from reversible.bundle.reader import Bundle
from reversible.clauses import Verdict
from reversible.equivalence import decisions
from reversible.equivalence.ladder import TOO_FEW_JUDGED
from reversible.errors import BundleError
from reversible.findings import Finding
from reversible.levels import ProofLevel
from reversible.verdicts import Circumstances, judge
from reversible_verifiers import error_ratio
from reversible_verifiers.outputs import Outputs

CATALOGUE = clauses.load()
COUNT = 40
Damage = Callable[[onnx.ModelProto], None]


def regressor(*, outputs: int = 1, scale: float = 1.0) -> onnx.ModelProto:
    """The served model without its softmax: numbers, and no class."""
    model = served_model.graph()
    for tensor in model.graph.initializer:
        if tensor.name in ("head", "head_bias"):
            kept = np.float32(scale) * numpy_helper.to_array(tensor)[:outputs]
            tensor.CopyFrom(numpy_helper.from_array(kept, tensor.name))
    del model.graph.node[-1]
    model.graph.node[-1].output[0] = "probabilities"
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = outputs
    return model


def shipped(root: Path, model: onnx.ModelProto, damage: Damage | None = None, *, decision: str = "value") -> Bundle:
    bundle = served_model.write(
        root / "bundle", asked=served_model.questions(COUNT, labelled=False), predict=served_model.served(model)
    )
    here = onnx.ModelProto.FromString(model.SerializeToString())
    if damage is not None:
        damage(here)
        assert here.SerializeToString() != model.SerializeToString()
    (bundle.folder(served_model.ASSET) / "model.onnx").write_bytes(here.SerializeToString())
    served_model.change_json(bundle, "model.json", lambda document: document.update(decision=decision))
    return bundle


def measure(bundle: Bundle) -> dict[str, Finding]:
    return {one.metric.removeprefix("model."): one for one in Outputs().verify(served_model.ASSET, bundle)}


def verdict(found: dict[str, Finding]) -> Verdict:
    """MOD-03 at an identified provider; only how many inputs are asked is made smaller."""
    fewer = [
        {"clause": "MOD-03", "metric": "model.inputs_compared", "value": 30, "basis": "contract"},
        {"clause": "MOD-03", "metric": "model.agreement_lb95", "value": 0.9, "basis": "contract"},
    ]
    criteria = [one for one in clauses.criteria(CATALOGUE, ["ai"], fewer) if one.clause == "MOD-03"]
    planned = {(one.metric, one.asset) for one in found.values()}
    given = Circumstances(
        catalogue=CATALOGUE, profiles=frozenset({"ai"}), flags=frozenset(),
        measurements=Measurements(CATALOGUE, planned, found.values(), {}), documents=(), level=ProofLevel.N4,
        simulated=False, measured_on=date(2026, 11, 27), at=date(2026, 11, 27),
    )  # fmt: skip
    return judge(CATALOGUE.clauses["MOD-03"], criteria, given).verdict


def of_tensor(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Damage:
    return served_model.change_tensor(name, change)


def exchanged(columns: list[int]) -> Damage:
    def apply(model: onnx.ModelProto) -> None:
        order = np.arange(64)
        order[columns] = order[columns[::-1]]
        model.graph.initializer.append(numpy_helper.from_array(order, "order"))
        model.graph.node[0].input[0] = "exchanged"
        model.graph.node.insert(0, onnx.helper.make_node("Gather", ["pixels", "order"], ["exchanged"], axis=1))

    return apply


def number(finding: Finding) -> float:
    assert isinstance(finding.value, int | float), finding.error
    return finding.value


@pytest.mark.parametrize(("outputs", "scale"), [(1, 1e-4), (1, 1.0), (1, 1e5), (3, 1.0)])
def test_a_good_regressor_is_proven_at_every_scale(tmp_path: Path, outputs: int, scale: float) -> None:
    found = measure(shipped(tmp_path, regressor(outputs=outputs, scale=scale)))

    assert found["equivalence"].value in ("B", "N")
    assert number(found["agreement_lb95"]) == pytest.approx(0.05 ** (1 / COUNT))
    assert number(found["metric_delta_points"]) < 0.01
    assert verdict(found) is Verdict.PROVEN


def test_answers_of_large_scale_may_be_further_off_than_any_constant_allows(tmp_path: Path) -> None:
    def same_in_another_order(model: onnx.ModelProto) -> None:
        """Sums in another order: legitimate float32."""
        order = np.random.default_rng(1).permutation(256)
        for tensor in model.graph.initializer:
            if tensor.name in ("head", "lg", "lb"):
                moved = np.ascontiguousarray(numpy_helper.to_array(tensor)[..., order])
                tensor.CopyFrom(numpy_helper.from_array(moved, tensor.name))
        model.graph.initializer.append(numpy_helper.from_array(order, "order"))
        level = next(node for node in model.graph.node if node.op_type == "LayerNormalization")
        place = list(model.graph.node).index(level)
        level.input[0] = "moved"
        model.graph.node.insert(place, onnx.helper.make_node("Gather", ["flat", "order"], ["moved"], axis=1))

    found = measure(shipped(tmp_path, regressor(scale=1e5), same_in_another_order))

    assert number(found["max_abs_diff"]) > 0.001
    assert found["equivalence"].value == "N"
    assert verdict(found) is Verdict.PROVEN


DAMAGES: dict[str, Damage] = {
    "scaled by 0.1 %": of_tensor("head", lambda weights: weights * np.float32(1.001)),
    "an offset": of_tensor("head_bias", lambda bias: bias + np.float32(1e-3) * np.abs(bias)),
    "two features exchanged": exchanged([3, 40]),
    "the sign": of_tensor("head", np.negative),
    "one weight": of_tensor("head", lambda weights: np.where(np.arange(256) == 7, weights * 1.05, weights)),
}


@pytest.mark.parametrize(
    ("damage", "scale"), [(name, 1.0) for name in DAMAGES] + [("scaled by 0.1 %", 1e-4), ("an offset", 1e5)]
)
def test_a_damaged_regressor_fails_at_every_scale(tmp_path: Path, damage: str, scale: float) -> None:
    def apply(model: onnx.ModelProto) -> None:
        DAMAGES[damage](model)
        for tensor in model.graph.initializer:  # as float32, whatever the change computed in
            if numpy_helper.to_array(tensor).dtype == np.float64:
                tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name))

    found = measure(shipped(tmp_path, regressor(scale=scale), apply))

    assert found["equivalence"].value == "F"
    assert number(found["agreement_lb95"]) < 0.9
    assert found["agreement_lb95"].places
    assert verdict(found) is Verdict.FAILED
    if scale == 1e-4:
        assert number(found["max_abs_diff"]) < 0.001  # the constant that this clause had would have passed it


def test_two_outputs_exchanged_are_no_agreement(tmp_path: Path) -> None:
    def exchange(model: onnx.ModelProto) -> None:
        for name in ("head", "head_bias"):
            of_tensor(name, lambda array: array[[1, 0, 2]])(model)

    found = measure(shipped(tmp_path, regressor(outputs=3), exchange))

    assert number(found["agreement_lb95"]) == 0.0
    assert number(found["metric_delta_points"]) > 10
    assert verdict(found) is Verdict.FAILED


def test_one_number_without_a_rule_is_judged_as_a_number(tmp_path: Path) -> None:
    found = measure(shipped(tmp_path, regressor(), decision="argmax"))

    assert number(found["agreement_lb95"]) == pytest.approx(0.05 ** (1 / COUNT))
    assert "numbers differ" in found["equivalence"].seen


@pytest.mark.parametrize(("rule", "agree"), [("within:0.5", True), ("relative:1e-2", True), ("within:0.0001", False)])
def test_the_plans_own_tolerance_decides_which_numbers_are_as_good(tmp_path: Path, rule: str, agree: bool) -> None:
    slightly = of_tensor("head_bias", lambda bias: bias * np.float32(1.001))
    model = regressor()
    slightly_scaled = of_tensor("head", lambda weights: weights * np.float32(1.001))

    def apply(changed: onnx.ModelProto) -> None:
        slightly(changed)
        slightly_scaled(changed)

    found = measure(shipped(tmp_path, model, apply, decision=rule))

    assert (number(found["agreement_lb95"]) > 0.9) is agree
    assert found["equivalence"].value == "F"  # 40 inputs do not show a rate of 0.1 %
    assert verdict(found) is Verdict.FAILED  # a laxer ratio is for the contract to name


def test_an_input_without_a_reference_is_not_said_to_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(error_ratio, "_MOST", 25)
    nudge = of_tensor("head", lambda weights: np.nextafter(weights, 9 * np.sign(weights)))
    found = measure(shipped(tmp_path, regressor(), nudge))

    assert found["equivalence"].value == "N"
    assert found["agreement_lb95"].value is None
    assert found["agreement_lb95"].error == TOO_FEW_JUDGED
    assert verdict(found) is not Verdict.PROVEN


@pytest.mark.parametrize(
    ("rule", "here", "there", "same"),
    [
        ("within:0.5", 1.5, 1.0, True),
        ("within:0.5", 1.51, 1.0, False),
        ("relative:0.1", 110.0, 100.0, True),
        ("relative:0.1", 100.0, 111.5, False),
        ("relative:0.1", 1e-9, 0.0, False),
        ("within:0.5", np.nan, np.nan, True),
        ("within:0.5", np.nan, 1.0, False),
        ("within:0.5", np.inf, np.inf, True),
        ("relative:0.5", np.inf, 1.0, False),
        ("relative:0.5", 1.0, np.inf, False),
        ("value", 1.0, 2.0, True),
        ("threshold:1.5", 1.0, 2.0, False),
    ],
)
def test_alike(rule: str, here: float, there: float, same: bool) -> None:
    left, right = np.array([[here]], np.float32), np.array([[there]], np.float32)

    assert decisions.alike(left, right, rule).tolist() == [same]


def test_a_tolerance_without_a_number_is_refused() -> None:
    with pytest.raises(BundleError, match="has no number"):
        decisions.alike(np.zeros((1, 1)), np.zeros((1, 1)), "within:much")
