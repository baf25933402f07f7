"""What is an endpoint asked before it is left?

The customer's own file, as it is: one column per value. Where there is none, inputs that fit what the model takes.
"""

import dataclasses
import hashlib
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reversible import golden
from reversible.errors import BundleError, UsageError
from reversible.golden import Column

if TYPE_CHECKING:
    import pyarrow as pa

_ABOUT = ("index", "label", "origin")
_GIVEN = "every row of the file, in its order"


@dataclass(frozen=True, kw_only=True)
class Questions:
    """The inputs of a golden set.

    Attributes:
        columns: The values of each row.
        labels: The known class of each, or None.
        origins: Where each comes from.
        sha256: Of the customer's file, or of the inputs that were made.
        form: How they are asked: see `golden_requests.request`.
        probes: How many of them, the last ones, are probes: what the endpoint refuses of these is recorded, no error.
        plan: How they were chosen, in words.
    """

    columns: tuple[Column, ...]
    labels: tuple[int | None, ...]
    origins: tuple[str, ...]
    sha256: str
    form: str = "instances"
    probes: int = 0
    plan: str = _GIVEN

    @classmethod
    def of(cls, values: Mapping[str, NDArray[Any]], **about: Any) -> "Questions":
        """From rows by name: numbers (rows, ...), or objects (rows,): texts, bytes, arrays of different sizes."""
        placed = golden.columns(list(values), golden.INPUT)
        columns = tuple(Column.of(name, rows, column=placed[name]) for name, rows in values.items())
        if columns[0].field.is_bytes and len(columns) == 1:
            about.setdefault("form", "image")
        return cls(columns=columns, **about)

    @classmethod
    def read(cls, content: bytes, where: str, *, form: str = "") -> "Questions":
        """Read a Parquet file: `label` and `origin` where they are, and every other column as a value.

        Raises:
            UsageError: it is no such file.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            table = pq.read_table(io.BytesIO(content))
            values = {name: _rows(table[name], name) for name in table.column_names if name not in _ABOUT}
            names = table.column_names
            labels = table["label"].to_pylist() if "label" in names else [None] * table.num_rows
            origins = table["origin"].to_pylist() if "origin" in names else ["given"] * table.num_rows
            if not values or not table.num_rows:
                raise ValueError("it holds no input")
            found = cls.of(
                values, labels=tuple(labels), origins=tuple(str(one) for one in origins),
                sha256=hashlib.sha256(content).hexdigest(), **({"form": form} if form else {}),
            )  # fmt: skip
        except (pa.ArrowException, BundleError, KeyError, ValueError, TypeError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
            raise UsageError(
                f"{where} is not a Parquet file with one column per input (numbers, equally deep lists of numbers, "
                f"texts, or images as bytes): {reason}"
            ) from error
        found._refuse_infinite(where)
        return found

    @property
    def count(self) -> int:
        return len(self.columns[0].values)

    def is_probe(self, row: int) -> bool:
        return row >= self.count - self.probes

    def only(self, rows: NDArray[np.int64]) -> "Questions":
        """Some of them; of their probes, those that are left."""
        if len(rows) == self.count:
            return self
        kept = rows.tolist()
        return dataclasses.replace(
            self,
            columns=tuple(dataclasses.replace(one, values=one.values[rows]) for one in self.columns),
            labels=tuple(self.labels[row] for row in kept), origins=tuple(self.origins[row] for row in kept),
            probes=sum(self.is_probe(row) for row in kept),
        )  # fmt: skip

    def batches(self, size: int) -> Iterator[NDArray[np.int64]]:
        """Rows that are asked together: in their order, of one size, one by one where each is a body of its own."""
        size = 1 if self.form == "image" else size
        first = 0
        while first < self.count:
            end = first + 1
            while end < min(first + size, self.count) and self._alike(first, end):
                end += 1
            yield np.arange(first, end)
            first = end

    def _alike(self, one: int, other: int) -> bool:
        return all(column.size(one) == column.size(other) for column in self.columns if column.is_ragged)

    def _refuse_infinite(self, where: str) -> None:
        for one in self.columns:
            if np.dtype(one.field.dtype).kind != "f":
                continue
            for row, value in enumerate(one.values):
                if np.isinf(value).any():
                    raise UsageError(f"{where}: row {row} holds an infinite value, which JSON cannot carry")


def _rows(column: "pa.ChunkedArray", name: str) -> NDArray[Any]:
    """One column as rows."""
    import pyarrow as pa

    kind, depth = column.type, 0
    while pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        kind, depth = kind.value_type, depth + 1
    listed = column.to_pylist()
    if depth == 0 and (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        return _objects(listed)
    if depth == 0 and (pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
        if None in listed:
            raise ValueError(f"column {name}: row {listed.index(None)} holds no image")
        return _objects(listed)
    if not (pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        raise ValueError(f"column {name} is a {column.type}")
    dtype = np.dtype(kind.to_pandas_dtype())
    if depth == 0 or (pa.types.is_fixed_size_list(column.type) and depth == 1):
        return np.array(listed, dtype=dtype)
    rows = [np.array(one, dtype=dtype) for one in listed]
    if any(one.ndim != depth for one in rows):
        raise ValueError(f"column {name}: its lists are not equally deep and long")
    return np.stack(rows) if len({one.shape for one in rows}) == 1 else _objects(rows)


def _objects(rows: list[Any]) -> NDArray[Any]:
    found = np.empty(len(rows), dtype=np.object_)
    for place, row in enumerate(rows):
        found[place] = row
    return found
