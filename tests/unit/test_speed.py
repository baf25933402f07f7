"""A port that is slow is seen to be slow, and what was not timed is not guessed."""

from datetime import date
from pathlib import Path

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import served_model
from onnx import helper, numpy_helper
from served_model import ASSET

from reversible import clauses
from reversible.answers import Measurements
from reversible.bundle.reader import Bundle
from reversible.clauses import Verdict
from reversible.findings import Finding
from reversible.levels import ProofLevel
from reversible.verdicts import Circumstances, ClauseVerdict, judge
from reversible_verifiers import speed
from reversible_verifiers.speed import Speed

CATALOGUE = clauses.load()


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return served_model.write(tmp_path / "bundle", asked=served_model.questions(60))


def measure(bundle: Bundle) -> dict[str, Finding]:
    found = list(Speed().verify(ASSET, bundle))
    assert {one.metric for one in found} == Speed.metrics
    assert len(found) == len(Speed.metrics)
    for one in found:
        one.seen.format(**one.facts)
        assert (one.value is None) == bool(one.error)
    return {one.metric.removeprefix("model."): one for one in found}


def number(finding: Finding) -> float:
    assert isinstance(finding.value, int | float), finding.error
    return finding.value


def recorded(bundle: Bundle, latency_ms: float) -> None:
    path = bundle.folder(ASSET) / "golden/requests.parquet"
    table = pq.read_table(path)
    place = table.column_names.index("latency_ms")
    pq.write_table(table.set_column(place, "latency_ms", pa.array([latency_ms] * table.num_rows)), path)


def slow(model: onnx.ModelProto) -> None:
    """The same answers after work that changes nothing: a product of large matrices, twelve times, times zero."""
    size = 900
    model.graph.initializer.append(numpy_helper.from_array(np.full((size, size), 1e-3, np.float32), "large"))
    model.graph.initializer.append(numpy_helper.from_array(np.array([0], np.float32), "nothing"))
    first = model.graph.node[0].input[0]
    nodes = [helper.make_node("ReduceMax", [first], ["any"], keepdims=0)]
    nodes.append(helper.make_node("Mul", ["large", "any"], ["work_0"]))  # of the input: it cannot be folded away
    nodes += [helper.make_node("MatMul", [f"work_{at}", "large"], [f"work_{at + 1}"]) for at in range(12)]
    nodes.append(helper.make_node("ReduceMax", ["work_12"], ["one"], keepdims=0))
    nodes.append(helper.make_node("Mul", ["one", "nothing"], ["zero"]))
    nodes.append(helper.make_node("Add", [first, "zero"], ["as_it_was"]))
    model.graph.node[0].input[0] = "as_it_was"
    for node in reversed(nodes):
        model.graph.node.insert(0, node)


def verdict(found: dict[str, Finding], *overrides: dict[str, object]) -> ClauseVerdict:
    criteria = [one for one in clauses.criteria(CATALOGUE, ["ai"], overrides) if one.clause == "MOD-05"]
    planned = {(one.metric, one.asset) for one in found.values()}
    given = Circumstances(
        catalogue=CATALOGUE, profiles=frozenset({"ai"}), flags=frozenset(),
        measurements=Measurements(CATALOGUE, planned, found.values(), {}), documents=(), level=ProofLevel.N4,
        simulated=False, measured_on=date(2026, 11, 27), at=date(2026, 11, 27),
    )  # fmt: skip
    return judge(CATALOGUE.clauses["MOD-05"], criteria, given)


TWICE = {"clause": "MOD-05", "metric": "model.p95_latency_ratio", "value": 2.0, "basis": "contract"}
HALF = {"clause": "MOD-05", "metric": "model.throughput_ratio", "value": 0.5, "basis": "contract"}


def test_times_are_ratios_and_what_is_not_comparable_is_said(bundle: Bundle) -> None:
    recorded(bundle, 1000.0)
    found = measure(bundle)

    assert 0 < number(found["p50_latency_ratio"]) <= number(found["p95_latency_ratio"]) < 0.5
    assert number(found["throughput_ratio"]) > 2
    assert 0 < number(found["cold_start_s"]) < 60
    assert number(found["peak_memory_mib"]) >= 0
    assert "network" in found["p95_latency_ratio"].seen
    assert "not known" in found["peak_memory_mib"].seen


def test_a_port_that_became_slow_fails_where_the_contract_names_a_number(bundle: Bundle) -> None:
    quick = measure(bundle)
    there = number(quick["p50_latency_ratio"])  # of the millisecond that the endpoint took
    recorded(bundle, max(there, 0.5) * 3)
    good = measure(bundle)
    served_model.change_model(bundle, slow)
    bad = measure(bundle)

    assert number(bad["p50_latency_ratio"]) > 3 * number(good["p50_latency_ratio"])
    assert number(bad["throughput_ratio"]) < number(good["throughput_ratio"]) / 3
    assert number(bad["peak_memory_mib"]) > number(good["peak_memory_mib"])
    assert verdict(good, TWICE, HALF).verdict is Verdict.PROVEN
    assert verdict(bad, TWICE, HALF).verdict is Verdict.FAILED
    for one in (good, bad):
        nothing = verdict(one)
        assert nothing.verdict is Verdict.NOT_TESTED
        assert "names no number" in nothing.reasons[0].text


def test_without_recorded_times_there_is_no_ratio(bundle: Bundle) -> None:
    recorded(bundle, 0.0)
    found = measure(bundle)

    for metric in ("p50_latency_ratio", "p95_latency_ratio", "throughput_ratio"):
        assert found[metric].error == speed.NO_TIMES
    assert verdict(found, TWICE).verdict is Verdict.NOT_TESTED


def test_without_a_golden_set_nothing_is_timed(bundle: Bundle) -> None:
    (bundle.folder(ASSET) / "golden/manifest.json").unlink()

    assert {one.error for one in measure(bundle).values()} == {speed.NO_GOLDEN}


def test_a_file_that_refuses_has_no_speed(bundle: Bundle) -> None:
    def two_columns(model: onnx.ModelProto) -> None:
        model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 2

    served_model.change_model(bundle, two_columns)

    assert all(one.error.startswith("it refuses: ") for one in measure(bundle).values())
