"""Every pair of the zoo gets the right verdict on each of our own ways of comparing; 100 %, or this fails."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conformance import zoo
from conformance.paths import COMPARE, FILES, PATHS
from conformance.zoo import DIFFER, EQUAL, PAIRS, Pair
from reversible.fingerprint import accelerator

HERE = Path(__file__).parent
STRONG = "strong fingerprint"


def test_the_zoo_is_large_and_has_both_kinds() -> None:
    assert len(PAIRS) >= 64
    assert len({pair.name for pair in PAIRS}) == len(PAIRS)
    assert min(sum(pair.verdict == one for pair in PAIRS) for one in (DIFFER, EQUAL)) >= 20
    assert all(pair.why for pair in PAIRS)


def test_the_json_beside_it_is_the_zoo() -> None:
    text = (HERE / "zoo.json").read_text()

    assert text == zoo.as_json(), "run: python tests/conformance/zoo.py > tests/conformance/zoo.json"
    assert len(json.loads(text)["pairs"]) == len(PAIRS)


def test_the_json_tells_apart_what_must_differ() -> None:
    """The publication itself loses nothing: no pair that must differ is the same on both sides in JSON."""
    for pair in json.loads((HERE / "zoo.json").read_text())["pairs"]:
        if pair["verdict"] == DIFFER:
            assert pair["left"] != pair["right"], pair["name"]


@pytest.mark.parametrize("pair", [pair for pair in PAIRS if pair.parquet], ids=lambda pair: pair.name)
def test_parquet_holds_the_pair(pair: Pair, tmp_path: Path) -> None:
    """Else a file format, and not a tool, would be what is judged: `parquet` is False for these."""
    for side in (pair.left, pair.right):
        pq.write_table(side, tmp_path / "side.parquet")
        back = pq.read_table(tmp_path / "side.parquet")

        assert json.dumps(zoo._table(back)["values"]) == json.dumps(zoo._table(_as_parquet(side))["values"])


@pytest.mark.parametrize("pair", [pair for pair in PAIRS if not pair.parquet], ids=lambda pair: pair.name)
def test_parquet_refuses_the_others(pair: Pair, tmp_path: Path) -> None:
    with pytest.raises(pa.ArrowNotImplementedError):
        _write_both(pair, tmp_path)


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.name)
@pytest.mark.parametrize("path", [path for path in PATHS if path not in (FILES, COMPARE)])
def test_the_verdict_is_right(pair: Pair, path: str, tmp_path: Path) -> None:
    assert PATHS[path](pair.left, pair.right, pair.key, tmp_path) == pair.verdict, pair.why
    if pair.verdict == EQUAL:
        assert PATHS[path](pair.right, pair.left, pair.key, tmp_path) == EQUAL


@pytest.mark.parametrize("pair", [pair for pair in PAIRS if pair.parquet], ids=lambda pair: pair.name)
@pytest.mark.parametrize("path", [FILES, COMPARE])
def test_the_paths_through_files_are_right(pair: Pair, path: str, tmp_path: Path) -> None:
    assert PATHS[path](pair.left, pair.right, pair.key, tmp_path) == pair.verdict, pair.why


@pytest.mark.slow
@pytest.mark.parametrize("path", [path for path in PATHS if path != STRONG])  # which has none
def test_the_verdict_is_right_by_the_compiled_loops(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As tables of a million cells and more are hashed; numpy alone does it for the small ones above."""
    used: list[str] = []
    choose = accelerator.choose
    monkeypatch.setattr(accelerator, "_WORTH_LOADING", 0)
    monkeypatch.setattr(accelerator, "_WORTH_COMPILING", 0)
    monkeypatch.setattr(accelerator, "choose", lambda *given: (used.append(choose(*given)), used[-1])[1])
    for number, pair in enumerate(pair for pair in PAIRS if pair.parquet or path not in (FILES, COMPARE)):
        folder = tmp_path / str(number)
        folder.mkdir()

        assert PATHS[path](pair.left, pair.right, pair.key, folder) == pair.verdict, (pair.name, pair.why)
    assert set(used) == {"numba"}


def _write_both(pair: Pair, folder: Path) -> None:
    for side in (pair.left, pair.right):
        pq.write_table(side, folder / "side.parquet")


def _as_parquet(table: pa.Table) -> pa.Table:
    """Parquet has one type for days."""
    days = [pa.date32() if kind == pa.date64() else kind for kind in table.schema.types]
    return table.cast(pa.schema(zip(table.schema.names, days, strict=True)))
