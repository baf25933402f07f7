"""`values` says so when the SHA-256 root alone sees that the files are not the source's rows."""

from pathlib import Path

import pyarrow as pa
import pytest

from conformance.paths import ASSET, bundled
from reversible.errors import BundleError
from reversible_verifiers.values import Values

TABLE = pa.table({"id": [1, 2, 3], "v": ["a", None, "c"]})
FIGURES = {"id": ("3", "6", "1", "3"), "v": ("2", "2", "1", "1")}  # of a text: lengths
TOTALS = {
    name: {"of": name, **dict(zip(("present", "sum", "min", "max"), figures, strict=True))}
    for name, figures in FIGURES.items()
}


def found(folder: Path, seen: pa.Table | None) -> int:
    bundle = bundled(TABLE, TABLE, "id", folder, totals=TOTALS, seen=seen)
    finding, rate = Values().verify(ASSET, bundle)
    assert rate.value == (1.0 if finding.value else 0.0)  # which rows differ is not known then: any may
    assert bool(finding.value) == any("SHA-256" in place for place in finding.places)
    return int(finding.value)  # type: ignore[arg-type,call-overload]


def test_a_root_of_other_rows_is_a_difference(tmp_path: Path) -> None:
    for name in ("same", "none", "other"):
        (tmp_path / name).mkdir()

    assert found(tmp_path / "same", TABLE) == 0
    assert found(tmp_path / "none", None) == 0
    assert found(tmp_path / "other", TABLE.slice(1)) == 1


def test_a_witness_whose_root_contradicts_its_ranges_is_no_answer(tmp_path: Path) -> None:
    bundle = bundled(TABLE, TABLE, "id", tmp_path, totals=TOTALS, seen=TABLE)
    path = bundle.root / "data/witness" / ASSET.slug / "witness.json"
    text = path.read_text()
    root = bundle.witness(ASSET).facts["strong"]["root"]
    path.write_text(text.replace(root, "0" * 64))

    with pytest.raises(BundleError, match="root"):
        list(Values().verify(ASSET, bundle))
