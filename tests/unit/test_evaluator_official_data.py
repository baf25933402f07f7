"""The official ONNX backend test data: everything passes but what is listed with its reason."""

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from official_cases import Case, fault, light, of_nodes, on_disk, operators, reason

DOCUMENT = Path(__file__).parents[2] / "docs/evaluator.md"
# The trickiest families, quick to make; the slow test runs all.
FAMILIES = [
    "averagepool", "batch_normalization", "conv", "convtranspose", "gru", "if_", "loop", "lstm", "maxpool",
    "qlinearconv", "quantizelinear", "rnn", "scan", "slice", "softmax", "topk",
]  # fmt: skip


def unexpected(cases: list[Case], precision: type) -> list[str]:
    """Cases that fail without a known reason, or pass in spite of one."""
    found = []
    for case in cases:
        message, why = fault(case, precision), reason(case, precision)
        if bool(message) != (why is not None):
            found.append(f"{case.name}: {message or 'passes, and is listed as not passing'}")
    return found


@pytest.mark.parametrize("precision", [np.float32, np.float64])
def test_what_torch_and_onnx_recorded_is_computed_again(precision: type) -> None:
    cases = list(on_disk())

    assert len(cases) >= 140
    assert unexpected(cases, precision) == []


@pytest.mark.parametrize("precision", [np.float32, np.float64])
def test_the_cases_of_the_trickiest_operators_pass(precision: type) -> None:
    cases = list(of_nodes(FAMILIES))

    assert len(cases) >= 60
    assert unexpected(cases, precision) == []


def test_a_wrong_answer_would_be_seen() -> None:
    case = next(one for one in on_disk() if one.name == "test_Conv2d")
    wrong = [(inputs, [outputs[0] * np.float32(1.002)]) for inputs, outputs in case.sets]

    assert fault(case, np.float32) == ""
    assert "values differ" in fault(Case(case.name, case.kind, case.model, wrong, case.rtol, case.atol), np.float32)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_all_official_data_pass_as_the_document_says() -> None:
    cases = [*on_disk(), *of_nodes(), *light()]
    passed: dict[str, Counter[str]] = {"float32": Counter(), "float64": Counter()}
    there: Counter[str] = Counter()
    for case in cases:
        names = {f"{domain}.{name}" if domain else name for domain, name in operators(case.model)}
        there.update(names)
        for precision in (np.float32, np.float64):
            message, why = fault(case, precision), reason(case, precision)
            assert bool(message) == (why is not None), f"{case.name} in {precision.__name__}: {message}"
            if not message:
                passed[precision.__name__].update(names)

    rows = re.findall(r"^\| `([\w.]+)` \| (\d+) \| (\d+) \| (\d+) \|", DOCUMENT.read_text(), re.MULTILINE)
    found = {(name, str(there[name]), str(passed["float32"][name]), str(passed["float64"][name])) for name in there}
    assert set(rows) == found
