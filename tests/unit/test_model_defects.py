"""The benchmark of planted faults, on one architecture: what it counts as caught is caught, and good exports pass."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("onnxscript")
if TYPE_CHECKING:
    from model_defects import Bench, Case

pytestmark = pytest.mark.slow

# Which means must find each; what the outputs of the golden set do not show is found by the others alone.
FAULTS = {
    "LayerNorm epsilon 1e-12 -> 1e-6": "R",
    "GELU erf -> tanh": "R",
    "positions off by one": "R",
    "attention scale 0.2 % off": "R",
    "one rare word's row zeroed": "parameters",
    "one rare word's row +0.1 %": "sweep",
    "labels 0 and 1 swapped": "R",
}
UNPLACED = {"one rare word's row zeroed", "one rare word's row +0.1 %"}
GOOD = ("as exported", "other shapes", "answers x 0.0001", "answers x 100000", "vendor: one row at a time")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> "Bench":
    import model_defects

    return model_defects.Bench("BERT", tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="module")
def caught(bench: "Bench") -> "dict[str, Case]":
    return {case.name: case for case in bench.faults(tuple(FAULTS))}


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_caught_and_its_place_named(caught: "dict[str, Case]", name: str) -> None:
    case = caught[name]

    assert not case.verdict.accepted
    assert FAULTS[name] in case.verdict.means
    assert (case.verdict.rung == "F") == (FAULTS[name] == "R")
    assert case.placed == (name not in UNPLACED), case.place


def test_what_a_fixed_tolerance_misses_is_caught(caught: "dict[str, Case]") -> None:
    verdict = caught["LayerNorm epsilon 1e-12 -> 1e-6"].verdict

    assert all(verdict.tolerances.values())
    assert not verdict.accepted


def test_no_good_export_is_an_alarm(bench: "Bench") -> None:
    for case in bench.goods(GOOD):
        assert case.verdict.accepted, (case.name, case.verdict)


def test_every_architecture_has_faults_that_are_all_told_apart() -> None:
    import model_defects_catalogue as catalogue
    import model_defects_models as models

    assert set(catalogue.FAULTS) == {*models.TORCH, *models.SKLEARN}
    assert sum(map(len, catalogue.FAULTS.values())) >= 40
    for faults in catalogue.FAULTS.values():
        assert len({fault.name for fault in faults}) == len(faults)
