"""Is a part the same to whoever reads it, whether its texts came plain or as dictionaries?"""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reversible.assets import Asset, Kind
from reversible.bundle.writer import BundleWriter
from reversible_exporters import table_parts
from reversible_exporters.table_parts import Block

SCHEMA = pa.schema([
    pa.field("id", pa.int64(), metadata={"source_type": "bigint"}),
    pa.field("t", pa.string(), metadata={"source_type": "text", "family": "text"}),
])  # fmt: skip
FEW = [None if n % 7 == 0 else f"value {n % 5}" for n in range(1500)]
MANY = [f"value {n}" for n in range(1500)]


def blocks(texts: Sequence[Sequence[str | None]], coded: Sequence[bool]) -> list[Block]:
    found = []
    for values, one in zip(texts, coded, strict=True):
        array = pa.array(values, pa.string())
        batch = pa.RecordBatch.from_arrays(
            [pa.array(range(len(values)), pa.int64()), array.dictionary_encode() if one else array], names=["id", "t"]
        )
        found.append(Block(batch, [(0, "t", "odd")]))
    return found


def written(folder: Path, given: list[Block]) -> Path:
    with BundleWriter(folder) as writer:
        asset = Asset(source="s", kind=Kind.TABLE, name="t")
        table_parts.write_parts(given, SCHEMA, asset, writer, part_rows=1 << 30)
    (part,) = folder.with_name(f"{folder.name}.partial").glob("data/table/*/part-00000.parquet")
    return part


@pytest.mark.parametrize("coded", [(True, True, True), (True, True, False), (True, False, False), (False, True, True)])
@pytest.mark.parametrize("group_rows", [1 << 17, 1500, 1000, 300])
@pytest.mark.parametrize("rows", [FEW, MANY, FEW[:9], [None] * 1500, [""] * 1500])
def test_a_part_says_the_same_whether_its_texts_came_as_dictionaries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, coded: Sequence[bool], group_rows: int, rows: list[str | None]
) -> None:
    monkeypatch.setattr(table_parts, "_GROUP_ROWS", group_rows)
    texts = [rows, rows[::-1], rows]
    plain = written(tmp_path / "plain", blocks(texts, [False] * 3))
    part = written(tmp_path / "coded", blocks(texts, coded))

    assert pq.read_table(part).equals(pq.read_table(plain))
    assert pq.read_table(part)["t"].to_pylist() == [one for values in texts for one in values]
    assert pq.read_schema(part).equals(SCHEMA, check_metadata=True)
    assert pq.read_schema(plain).equals(SCHEMA, check_metadata=True)
    assert pq.read_metadata(part).num_row_groups == pq.read_metadata(plain).num_row_groups
    sidecars = [one.with_name("part-00000.exceptions.parquet") for one in (part, plain)]
    assert pq.read_table(sidecars[0]).equals(pq.read_table(sidecars[1]))


def test_what_arrow_itself_notes_of_the_schema_is_what_we_note(tmp_path: Path) -> None:
    part = written(tmp_path / "ours", blocks([FEW], [True]))
    pq.write_table(pa.table({"id": [1], "t": ["a"]}).cast(SCHEMA), tmp_path / "arrow.parquet")

    assert pq.read_metadata(part).metadata == pq.read_metadata(tmp_path / "arrow.parquet").metadata


def test_a_table_without_rows_has_its_columns(tmp_path: Path) -> None:
    part = written(tmp_path / "none", [])

    assert pq.read_table(part).num_rows == 0
    assert pq.read_schema(part).equals(SCHEMA, check_metadata=True)
