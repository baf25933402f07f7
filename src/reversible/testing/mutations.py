"""What does damage look like that hashes cannot see?

Each mutation changes a finished bundle the way a faulty exporter would have written it, and `reseal` makes the
manifests true again: only a comparison with the source's own words can find it. Each returns the place it damaged,
as a finding must name it.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from reversible.assets import Asset
from reversible.bundle import bag
from reversible.bundle.reader import Bundle


def reseal(root: Path) -> None:
    """Write manifests that agree with the files as they are now."""
    payload = {path: bag.sha256_file(root / path) for path, _ in bag.walk(root) if path.startswith("data/")}
    info = dict(line.split(": ", 1) for line in (root / "bag-info.txt").read_text(encoding="utf-8").splitlines())
    size = sum((root / path).stat().st_size for path in payload)
    bag.write_tags(root, payload, {**info, "Payload-Oxum": f"{size}.{len(payload)}"})


def round_decimal(root: Path, asset_name: str, column: str, *, places: int = 2) -> str:
    """A decimal that went through a float with too few digits: the first value that rounding changes."""
    import pyarrow as pa

    def change(table: Any) -> Any:
        values = table[column].to_pylist()
        at = next(n for n, value in enumerate(values) if value is not None and round(value, places) != value)
        values[at] = round(values[at], places)
        return table.set_column(
            table.column_names.index(column), table.field(column), pa.array(values, table.field(column).type)
        )

    _rewrite_table(root, asset_name, change)
    return f"{asset_name}.{column}"


def drop_row(root: Path, asset_name: str) -> str:
    """A paginated read that stops one short."""
    _rewrite_table(root, asset_name, lambda table: table.slice(0, table.num_rows - 1))
    return asset_name


def shift_time_zone(root: Path, asset_name: str, column: str, *, hours: int = 1) -> str:
    """Instants that were read as the local time of another zone."""
    import pyarrow as pa
    import pyarrow.compute as pc

    def change(table: Any) -> Any:
        moved = pc.add(table[column], pa.scalar(hours * 3_600_000_000, pa.duration("us")))
        return table.set_column(
            table.column_names.index(column), table.field(column), moved.cast(table.field(column).type)
        )

    _rewrite_table(root, asset_name, change)
    return f"{asset_name}.{column}"


def forget_metadata(root: Path, asset_name: str) -> str:
    """A copy that kept an object's bytes and lost what was said about it; returns the object's key."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    asset = _asset(root, asset_name)
    path = root / asset.folder / "index.parquet"
    index = pq.read_table(path)
    rows = index.to_pylist()
    at = next(n for n, row in enumerate(rows) if row["metadata"] not in (None, [], {}, "{}") and row["is_latest"])
    empty = "{}" if pa.types.is_string(index.schema.field("metadata").type) else []
    rows[at] = {**rows[at], "metadata": empty}
    pq.write_table(pa.Table.from_pylist(rows, index.schema), path, compression="zstd")
    return str(rows[at]["key"])


def change_epsilon(root: Path, asset_name: str, *, epsilon: float = 1e-3) -> str:
    """A normalisation layer exported with another framework's default epsilon."""
    import onnx

    path = root / _asset(root, asset_name).folder / "model.onnx"
    model = onnx.load(str(path))
    found = [
        attribute
        for node in model.graph.node
        if node.op_type in ("LayerNormalization", "BatchNormalization")
        for attribute in node.attribute
        if attribute.name == "epsilon"
    ]
    if not found:
        raise ValueError(f"{asset_name} has no normalisation layer with an epsilon")
    for attribute in found:
        attribute.f = epsilon
    onnx.save(model, str(path))
    return asset_name


def _asset(root: Path, name: str) -> Asset:
    return next(asset for asset in Bundle.open(root).assets if asset.name == name)


def _rewrite_table(root: Path, asset_name: str, change: Callable[[Any], Any]) -> None:
    import pyarrow.parquet as pq

    last = sorted((root / _asset(root, asset_name).folder).glob("part-*[0-9].parquet"))[-1]
    table = pq.read_table(last)
    pq.write_table(change(table), last, compression="zstd")
