"""Is a text model judged from the text to the decision, and is the reading that differs named?"""

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import text_model
from text_model import ASSET

from reversible.bundle.reader import Bundle
from reversible.equivalence.ladder import TOO_FEW_NAMES
from reversible.errors import BundleError
from reversible.findings import Finding
from reversible.serving import ModelServer, ServedModel, replay
from reversible_verifiers.outputs import Outputs

FORMS = ("label and probabilities", "label and score", "probabilities")


def measure(bundle: Bundle) -> dict[str, Finding]:
    found = {one.metric.removeprefix("model."): one for one in Outputs().verify(ASSET, bundle)}
    for one in found.values():
        one.seen.format(**one.facts)
    return found


@pytest.mark.parametrize("kept", [True, False], ids=["reference stored", "recorded answers alone"])
@pytest.mark.parametrize("form", FORMS)
def test_what_reads_its_texts_as_the_vendor_did_is_the_same(tmp_path: Path, form: str, kept: bool) -> None:
    found = measure(text_model.write(tmp_path / "bundle", answers=form, kept=kept))

    assert found["equivalence"].value in ("B", "N")
    assert isinstance(found["agreement_lb95"].value, float)
    assert found["agreement_lb95"].value > 0.97
    assert not found["agreement_lb95"].places


ACCENTS = "strip_accents"
OTHERWISE: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    # vendor's service, what the package says, what is named
    "the service keeps case": ({"lowercase": False}, {}, "lowercase were False"),
    "the package keeps case": ({}, {"lowercase": False}, "texts were lower-cased first"),
    "the service drops accents": ({ACCENTS: "unicode"}, {}, "texts were stripped of accents first"),
    "the package drops accents": ({}, {ACCENTS: "unicode"}, "strip_accents were None"),
    "a regular expression without accents": ({}, {"token_pattern": "[a-zA-Z0-9_]+"}, ""),  # no reading explains it
}


@pytest.mark.parametrize("kept", [True, False], ids=["reference stored", "recorded answers alone"])
@pytest.mark.parametrize("name", OTHERWISE)
def test_a_package_that_reads_texts_otherwise_than_the_service_fails_and_the_reading_is_named(
    tmp_path: Path, name: str, kept: bool
) -> None:
    vendor, carried, said = OTHERWISE[name]

    found = measure(text_model.write(tmp_path / "bundle", vendor=vendor, carried=carried, kept=kept))

    assert found["equivalence"].value == "F"
    assert said in found["equivalence"].places[0]
    assert any("input " in place for place in found["equivalence"].places[1:])


@pytest.mark.parametrize("form", FORMS)
def test_another_order_of_the_labels_fails_though_every_number_agrees(tmp_path: Path, form: str) -> None:
    bundle = text_model.write(tmp_path / "bundle", answers=form)
    path = bundle.folder(ASSET) / "model.json"
    path.write_text(json.dumps({"labels": text_model.LABELS[::-1], "decision": "argmax"}), encoding="utf-8")

    found = measure(bundle)

    assert found["equivalence"].value == "F"
    assert "other names" in found["equivalence"].places[0]
    assert found["max_abs_diff"].value == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("form", ["label alone", "class"])
def test_an_endpoint_that_says_names_alone_is_judged_by_its_decisions(tmp_path: Path, form: str) -> None:
    few = measure(text_model.write(tmp_path / "few", answers=form))
    many = measure(text_model.write(tmp_path / "many", answers=form, count=4500))
    other = measure(text_model.write(tmp_path / "other", answers=form, vendor={"lowercase": False}))

    assert few["equivalence"].value == "U"
    assert few["equivalence"].facts["error"] == TOO_FEW_NAMES
    assert many["equivalence"].value == "D"
    assert isinstance(many["agreement_lb95"].value, float)
    assert many["agreement_lb95"].value > 0.998
    assert other["equivalence"].value == "F"
    assert any("probe: upper case" in place for place in other["agreement_lb95"].places)
    for found in (few, many, other):
        for metric in ("max_abs_diff", "error_ratio_median", "error_ratio_max"):
            assert found[metric].value is None
            assert found[metric].error
    with ModelServer(ServedModel(Bundle.open(tmp_path / "few"), ASSET)) as server:
        replayed = replay(Bundle.open(tmp_path / "few"), ASSET, server.url)
    assert replayed is not None
    assert not replayed.differs


def test_what_the_endpoint_refuses_of_the_probes_is_recorded(tmp_path: Path) -> None:
    bundle = text_model.write(tmp_path / "bundle", refuses_empty=True)

    refused = pq.read_table(bundle.folder(ASSET) / "golden/refused.parquet").to_pylist()
    manifest = bundle.document(ASSET, "golden/manifest.json")

    assert {one["origin"] for one in refused} == {"probe: empty"}
    assert manifest["refused_probes"] == len(refused) == 3
    assert measure(bundle)["equivalence"].value in ("B", "N")


def rewrite(path: Path, change: Any) -> None:
    table = pq.read_table(path)
    rows = table.to_pylist()
    change(rows)
    pq.write_table(pa.Table.from_pylist(rows, table.schema), path)


LIES: dict[str, tuple[str, Any]] = {
    "a text edited in the table": ("inputs", lambda rows: rows[3].update(input="autre chose")),
    "a label edited in the table": ("outputs", lambda rows: rows[3].update({"output:label": "autre"})),
    "a number edited in the table": (
        "outputs", lambda rows: rows[3].update({"output:probabilities": [1.0, 0.0, 0.0]}),
    ),
    "an exchange too few": ("requests", lambda rows: rows.pop()),
    "a request edited": ("requests", lambda rows: rows[0].update(request=rows[0]["request"].replace(b"la", b"le", 1))),
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
def test_a_golden_set_that_contradicts_its_raw_bytes_is_never_compared_with(tmp_path: Path, lie: str) -> None:
    bundle = text_model.write(tmp_path / "bundle")
    name, change = LIES[lie]
    rewrite(bundle.folder(ASSET) / f"golden/{name}.parquet", change)

    with pytest.raises(BundleError):
        list(Outputs().verify(ASSET, bundle))


def test_without_the_rules_nothing_is_said(tmp_path: Path) -> None:
    bundle = text_model.write(tmp_path / "bundle")
    shutil.rmtree(bundle.folder(ASSET) / "processing")

    with pytest.raises(BundleError, match="text_terms comes from nowhere"):
        list(Outputs().verify(ASSET, bundle))
