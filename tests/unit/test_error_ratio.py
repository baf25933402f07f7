"""The right rung for each damage, with the operator named; nothing green where nothing was measured."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow.parquet as pq
import pytest
import served_model
from onnx import helper
from served_model import ASSET, change_json, change_model
from test_outputs import DAMAGES, epsilon

from reversible.bundle.reader import Bundle
from reversible.bundle.writer import BundleWriter
from reversible.errors import BundleError
from reversible.evaluator import Evaluator, registry
from reversible.findings import Finding
from reversible_exporters import model_reference
from reversible_verifiers.outputs import Outputs

STORED = ("golden/floor.parquet", "golden/trace.json")


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return served_model.write(tmp_path_factory.mktemp("honest") / "bundle")


@pytest.fixture(scope="module")
def stored(honest: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The same with what an exporter keeps beside the golden set."""
    root = tmp_path_factory.mktemp("stored") / "bundle"
    shutil.copytree(honest.root, root)
    keep(Bundle.open(root))
    return Bundle.open(root)


def keep(bundle: Bundle) -> None:
    folder = bundle.folder(ASSET)
    with BundleWriter(bundle.root.with_name(f"{bundle.root.name}-kept")) as writer:
        shutil.copytree(folder, writer.path(ASSET.folder))
        assert model_reference.keep(folder=ASSET.folder, into=writer)
    for name in STORED:
        found = next(bundle.root.parent.rglob(f"*kept*/{ASSET.folder}/{name}"))
        shutil.copy(found, folder / name)


@pytest.fixture(params=["recorded answers alone", "reference stored"])
def bundle(request: pytest.FixtureRequest, honest: Bundle, stored: Bundle, tmp_path: Path) -> Bundle:
    source = stored if "stored" in request.param else honest
    shutil.copytree(source.root, tmp_path / "bundle")
    return Bundle.open(tmp_path / "bundle")


def measure(bundle: Bundle) -> dict[str, Finding]:
    found = {one.metric.removeprefix("model."): one for one in Outputs().verify(ASSET, bundle)}
    for one in found.values():
        one.seen.format(**one.facts)
    return found


def number(finding: Finding) -> float:
    assert isinstance(finding.value, int | float), finding.error
    return finding.value


def predicting(change: Callable[[Any], Any]) -> Any:
    honest = served_model.served(served_model.graph())
    return lambda rows: change(honest(rows)).astype(np.float32)


def test_a_faithful_model_is_bit_identical_where_the_same_runtime_served_it(bundle: Bundle) -> None:
    found = measure(bundle)

    assert found["equivalence"].value in ("B", "N")
    assert number(found["error_ratio_median"]) <= 3
    assert number(found["error_ratio_max"]) <= 10
    assert not found["equivalence"].places
    assert found["equivalence"].facts["inputs"] == served_model.COUNT
    assert len(str(found["equivalence"].facts["digest"])) == 16
    assert number_in(found["equivalence"], "percent") == pytest.approx(100 * (1 - 0.05 ** (1 / served_model.COUNT)))


def number_in(finding: Finding, name: str) -> float:
    value = finding.facts[name]
    assert isinstance(value, int | float)
    return value


def test_an_endpoint_with_other_roundings_is_numerically_equivalent(tmp_path: Path) -> None:
    """The vendor's own runtime: float32 too, in another order of sums."""
    engine = Evaluator(served_model.graph(), precision=np.float32)
    bundle = served_model.write(
        tmp_path / "bundle", predict=lambda rows: engine.run({"pixels": rows})["probabilities"].astype(np.float32)
    )

    found = measure(bundle)

    assert found["equivalence"].value == "N"
    assert 0.1 < number(found["error_ratio_median"]) <= 3
    assert number(found["error_ratio_max"]) <= 10


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_every_damage_fails(bundle: Bundle, damage: Callable[[onnx.ModelProto], None]) -> None:
    change_model(bundle, damage)

    found = measure(bundle)

    assert found["equivalence"].value == "F"
    assert number(found["error_ratio_max"]) > 10
    assert found["error_ratio_max"].places


@pytest.mark.parametrize(
    ("damage", "operator"),
    [
        (epsilon("LayerNormalization", 1e-6), "LayerNormalization"),
        (epsilon("BatchNormalization", 2e-5), "BatchNormalization"),
        (DAMAGES["transposed kernel"], "Conv"),
        (DAMAGES["division by 15"], "Div"),
        (DAMAGES["one weight one percent off"], "Conv"),
        (DAMAGES["weights in half precision"], "Gemm"),
        (DAMAGES["softmax over the batch"], "Softmax"),
    ],
    ids=["layer norm", "batch norm", "kernel", "division", "one weight", "half precision", "softmax"],
)
def test_the_first_operator_that_diverges_is_named(
    stored: Bundle, tmp_path: Path, damage: Callable[[onnx.ModelProto], None], operator: str
) -> None:
    shutil.copytree(stored.root, tmp_path / "bundle")
    bundle = Bundle.open(tmp_path / "bundle")
    change_model(bundle, damage)

    found = measure(bundle)["error_ratio_max"]

    assert number(found) > 10
    assert found.places[0].startswith(f"first off at {operator} ")


def test_a_small_epsilon_is_caught_where_a_fixed_tolerance_of_1e_4_sees_nothing(bundle: Bundle) -> None:
    change_model(bundle, epsilon("LayerNormalization", 3e-5))

    found = measure(bundle)

    assert number(found["max_abs_diff"]) < 1e-4
    assert number(found["error_ratio_median"]) > 3
    assert found["agreement_lb95"].value == pytest.approx(0.05 ** (1 / served_model.COUNT))


def test_a_difference_that_was_there_before_the_export_says_so(stored: Bundle, tmp_path: Path) -> None:
    """The endpoint serves something else than its model data: no operator of the file is at fault."""
    bundle = served_model.write(tmp_path / "bundle", predict=predicting(lambda rows: rows**1.001))
    keep(bundle)

    found = measure(bundle)

    assert found["equivalence"].value == "F"
    assert found["error_ratio_max"].places[0].startswith("the file computes what it computed when it left")


@pytest.mark.parametrize("scale", [1e-4, 1e5])
def test_the_scale_of_the_outputs_changes_nothing(tmp_path: Path, scale: float) -> None:
    def scaled(model: onnx.ModelProto) -> None:
        model.graph.node[-1].output[0] = "unscaled"
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.float32(scale), "scale"))
        model.graph.node.append(helper.make_node("Mul", ["unscaled", "scale"], ["probabilities"]))

    model = served_model.graph()
    scaled(model)
    bundle = served_model.write(tmp_path / "bundle", predict=served_model.served(model))
    change_model(bundle, scaled)

    assert measure(bundle)["equivalence"].value in ("B", "N")
    change_model(bundle, epsilon("LayerNormalization", 3e-5))
    found = measure(bundle)
    assert found["equivalence"].value == "F"
    assert number(found["error_ratio_median"]) > 3


# --- what decides nothing ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("digits", "rung"), [(5, "U"), (6, "N"), (7, "N")])
def test_a_recording_with_few_digits_is_undetermined(tmp_path: Path, digits: int, rung: str) -> None:
    def rounded(rows: Any) -> Any:
        return np.array([[float(f"{one:.{digits}g}") for one in row] for row in rows.astype(np.float64)])

    honest = served_model.served(served_model.graph())
    bundle = write_rounded(tmp_path, lambda rows: rounded(honest(rows)))

    found = measure(bundle)

    assert found["equivalence"].value == rung
    if rung == "U":
        assert found["error_ratio_max"].value is None
        assert "fewer than 6 significant digits" in found["error_ratio_max"].error
    else:
        assert number(found["error_ratio_max"]) <= 10


def write_rounded(tmp_path: Path, predict: Any) -> Bundle:
    """An endpoint that answers float64 texts: json.dumps of a float32 would bring its other digits back."""
    from reversible_exporters import golden_set
    from reversible_samples import model_container

    def endpoint(_: Any) -> Any:
        def ask(body: bytes, content_type: str) -> golden_set.Answer:
            answers = predict(model_container.decode(body, content_type))
            if content_type == golden_set.JSON:
                content = json.dumps({"predictions": answers.tolist()}).encode()
            else:
                content = "\n".join(",".join(repr(float(one)) for one in row) for row in answers).encode()
            return golden_set.Answer(
                body=content, content_type=content_type, status=200, latency_s=0.001, request_id="1", variant="All"
            )

        return ask

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(served_model, "endpoint", endpoint)
        return served_model.write(tmp_path / "bundle")


def test_an_epsilon_shows_even_in_a_recording_of_seven_digits(tmp_path: Path) -> None:
    honest = served_model.served(served_model.graph())
    bundle = write_rounded(tmp_path, lambda rows: np.round(honest(rows).astype(np.float64), 7))

    assert measure(bundle)["equivalence"].value == "N"
    change_model(bundle, epsilon("LayerNormalization", 1e-4))
    assert measure(bundle)["equivalence"].value == "F"


def test_swapped_labels_fail_though_every_number_is_right(bundle: Bundle) -> None:
    def swap(document: dict[str, Any]) -> None:
        document["labels"][0], document["labels"][1] = document["labels"][1], document["labels"][0]

    change_json(bundle, "model.json", swap)

    assert measure(bundle)["equivalence"].value == "F"


def test_an_endpoint_that_dithers_is_undetermined(tmp_path: Path) -> None:
    """By too little for an absolute tolerance, and by far more than float32 explains."""
    draw = np.random.default_rng(5)
    bundle = served_model.write(
        tmp_path / "bundle", predict=predicting(lambda rows: rows * (1 + draw.uniform(-4e-6, 4e-6)))
    )

    found = measure(bundle)

    assert found["equivalence"].value == "U"
    assert "different answers to the same question" in found["error_ratio_max"].error


def test_too_few_inputs_are_undetermined(tmp_path: Path) -> None:
    bundle = served_model.write(tmp_path / "bundle", asked=served_model.questions(10, copies=50))

    found = measure(bundle)

    assert found["equivalence"].value == "U"
    assert found["error_ratio_median"].value is None


def test_equal_inputs_are_covered_once(tmp_path: Path) -> None:
    """The reference is computed for one of them; that is all there is to cover."""
    asked = served_model.questions(40, copies=3)
    bundle = served_model.write(
        tmp_path / "bundle", asked=asked, predict=predicting(lambda rows: rows * np.float32(1 + 1e-7))
    )

    found = measure(bundle)["error_ratio_max"]

    assert (found.coverage, found.facts["rows"]) == (1.0, 40)


def test_one_answer_for_everything_is_undetermined(tmp_path: Path) -> None:
    bundle = served_model.write(tmp_path / "bundle", predict=predicting(lambda rows: rows * 0 + 0.2))

    assert measure(bundle)["equivalence"].value == "U"


def test_an_operator_that_the_second_engine_does_not_know_leaves_r_unmeasured(tmp_path: Path) -> None:
    bundle = served_model.write(tmp_path / "bundle", predict=predicting(lambda rows: rows * np.float32(1 + 1e-7)))
    with pytest.MonkeyPatch.context() as patch:
        patch.delitem(registry._KERNELS, ("", "Softmax"))
        found = measure(bundle)

    assert found["error_ratio_max"].value is None
    assert "Softmax" in found["error_ratio_max"].error
    assert found["equivalence"].value == "U"


# --- a stored reference is not believed blindly ------------------------------------------------------------------


def rewrite(bundle: Bundle, change: Callable[[Any], Any]) -> None:
    path = bundle.folder(ASSET) / "golden/floor.parquet"
    pq.write_table(change(pq.read_table(path)), path)


def scaled_floor(factor: float) -> Callable[[Any], Any]:
    import pyarrow as pa

    def change(table: Any) -> Any:
        return table.set_column(2, "floor", pa.array(np.array(table["floor"].to_pylist()) * factor))

    return change


@pytest.fixture
def kept(stored: Bundle, tmp_path: Path) -> Bundle:
    shutil.copytree(stored.root, tmp_path / "bundle")
    return Bundle.open(tmp_path / "bundle")


def test_a_stored_floor_that_forgives_everything_is_not_believed(kept: Bundle) -> None:
    change_model(kept, DAMAGES["one weight one percent off"])
    rewrite(kept, scaled_floor(1e6))

    found = measure(kept)

    assert found["equivalence"].value == "U"
    assert "times what is measured here" in found["error_ratio_max"].error


def test_a_floor_that_forgives_the_bad_inputs_alone_is_not_believed(kept: Bundle) -> None:
    import pyarrow as pa

    def forgive(table: Any) -> Any:
        floor = np.array(table["floor"].to_pylist())
        floor[7] = 1.0
        return table.set_column(2, "floor", pa.array(floor))

    rewrite(kept, forgive)

    found = measure(kept)["error_ratio_max"]
    assert found.value is None
    assert "times what is measured here" in found.error


def test_inputs_without_a_finite_floor_are_not_covered(kept: Bundle) -> None:
    import pyarrow as pa

    def unknown(table: Any) -> Any:
        floor = np.array(table["floor"].to_pylist())
        floor[:6] = np.inf
        return table.set_column(2, "floor", pa.array(floor))

    rewrite(kept, unknown)

    found = measure(kept)["error_ratio_max"]
    assert found.value is None or found.coverage < 1


def test_a_laxer_threshold_does_not_profit_from_a_wide_floor(kept: Bundle) -> None:
    change_model(kept, DAMAGES["one weight one percent off"])
    honest = number(measure(kept)["error_ratio_max"])
    rewrite(kept, scaled_floor(100.0))

    found = measure(kept)

    assert found["error_ratio_max"].value is None or number(found["error_ratio_max"]) >= honest / 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda table: table.slice(0, 0), "no rising rows"),
        (scaled_floor(0.0), "not above 0"),
        (scaled_floor(float("nan")), "not above 0"),
        (lambda table: table.replace_schema_metadata({}), "cannot be read"),
        (lambda table: table.replace_schema_metadata({"reversible": "{}"}), "not of the format"),
        (lambda table: table.drop_columns(["y64"]), "cannot be read"),
        (lambda table: table.take([1, 0, 2]), "no rising rows"),
    ],
    ids=["empty", "zero", "NaN", "no description", "another format", "no answers", "another order"],
)
def test_a_damaged_reference_is_refused(kept: Bundle, change: Callable[[Any], Any], said: str) -> None:
    rewrite(kept, change)

    with pytest.raises(BundleError, match=said):
        measure(kept)


def test_a_reference_for_other_inputs_is_refused(kept: Bundle) -> None:
    def other(table: Any) -> Any:
        about = json.loads(table.schema.metadata[b"reversible"])
        return table.replace_schema_metadata({"reversible": json.dumps({**about, "inputs_sha256": "0" * 64})})

    rewrite(kept, other)

    with pytest.raises(BundleError, match="other inputs"):
        measure(kept)


def test_a_reference_of_a_part_of_the_inputs_covers_that_part(kept: Bundle) -> None:
    rewrite(kept, lambda table: table.slice(0, 100))

    found = measure(kept)

    assert found["error_ratio_max"].coverage == pytest.approx(100 / served_model.COUNT)
    assert found["error_ratio_max"].facts["rows"] == 100


@pytest.mark.parametrize(
    "content", [b"[]", b"{", b"{}", b'{"format": "reversible-trace/1", "rows": [9999], "values": []}']
)
def test_a_damaged_trace_is_refused(kept: Bundle, content: bytes) -> None:
    change_model(kept, epsilon("LayerNormalization", 1e-3))
    (kept.folder(ASSET) / "golden/trace.json").write_bytes(content)

    with pytest.raises(BundleError, match=r"trace\.json"):
        measure(kept)


def test_the_same_bundle_gives_the_same_findings(bundle: Bundle) -> None:
    assert list(Outputs().verify(ASSET, bundle)) == list(Outputs().verify(ASSET, bundle))
