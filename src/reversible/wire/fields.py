"""Which type and shape has one named value of a request or an answer?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

JSON, CSV, NPY, TEXT = "application/json", "text/csv", "application/x-npy", "text/plain"
IMAGES = ("application/x-image", "image/png", "image/jpeg")
Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Field:
    """One named value.

    Attributes:
        name: Its name.
        dtype: NumPy's type; `numpy.object_` for texts, `numpy.bytes_` for bytes that are sent as they are, an image.
        shape: Rows first; a free dimension is None.
    """

    name: str
    dtype: Any
    shape: tuple[int | None, ...]

    @property
    def is_text(self) -> bool:
        return self.dtype is np.object_

    @property
    def is_bytes(self) -> bool:
        return self.dtype is np.bytes_

    def to_json(self) -> dict[str, Any]:
        kind = "text" if self.is_text else "bytes" if self.is_bytes else np.dtype(self.dtype).name
        return {"name": self.name, "type": kind, "shape": list(self.shape)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Field":
        """Raises KeyError, TypeError or ValueError for what is none."""
        kind = str(document["type"])
        special = {"text": np.object_, "bytes": np.bytes_}
        dtype = special[kind] if kind in special else np.dtype(kind).type
        shape = tuple(None if dim is None else int(dim) for dim in document["shape"])
        if kind not in special and np.dtype(dtype).kind not in "fiub":
            raise ValueError(f"a value of type {kind}")
        return cls(str(document["name"]), dtype, shape)


def array(rows: list[Any], one: Field) -> NDArray[Any]:
    """JSON's lists as the field's type and shape; null is a missing number, or a missing text.

    Raises:
        ValueError: it is something else; the message names the field.
    """
    if one.is_bytes:
        raise ValueError(f"{one.name} takes bytes as they are, which JSON cannot carry")
    if one.is_text:
        return fitting(_texts(rows, one), one)
    exact = np.asarray(rows)
    if exact.dtype == np.object_ and np.issubdtype(one.dtype, np.floating):
        exact = np.asarray(_filled(rows))
    if exact.dtype == np.object_ or exact.dtype.kind in "US":
        raise ValueError(f"{one.name} takes numbers of one shape")
    with np.errstate(over="ignore", invalid="ignore"):
        found = exact.astype(one.dtype)
    whole = np.issubdtype(one.dtype, np.integer) or one.dtype is np.bool_
    if exact.dtype.kind in "iufb" and whole and not np.array_equal(found, exact):
        raise ValueError(f"{one.name} takes whole numbers of {np.dtype(one.dtype).name}")
    return fitting(found, one)


def fitting(found: NDArray[Any], one: Field) -> NDArray[Any]:
    """In the declared rank: a column of single values may come without its last dimension of 1, or with one too many.

    Raises:
        ValueError: it has another shape.
    """
    if found.ndim == len(one.shape) - 1 and one.shape[-1] in (1, None):
        found = found.reshape(*found.shape, 1)
    elif found.ndim == len(one.shape) + 1 and found.shape[-1] == 1:
        found = found.reshape(found.shape[:-1])
    if not one.is_bytes and found.dtype != np.dtype(one.dtype):
        found = found.astype(one.dtype)
    wrong = found.ndim != len(one.shape) or any(
        dim not in (None, size) for dim, size in zip(one.shape, found.shape, strict=False)
    )
    if wrong:
        raise ValueError(f"{one.name} takes the shape {_said(one.shape)}, not {_said(found.shape)}")
    return np.ascontiguousarray(found)


def _texts(rows: list[Any], one: Field) -> NDArray[Any]:
    found = np.empty(_shape(rows), dtype=np.object_)
    for place in np.ndindex(found.shape):
        value: Any = rows
        for step in place:
            value = value[step]
        if value is not None and not isinstance(value, str):
            raise ValueError(f"{one.name} takes texts, and {value!r} is none")
        found[place] = value
    return found


def _shape(rows: Any) -> tuple[int, ...]:
    shape: list[int] = []
    while isinstance(rows, list):
        shape.append(len(rows))
        if not rows:
            break
        rows = rows[0]
    return tuple(shape)


def _filled(rows: Any) -> Any:
    if isinstance(rows, list):
        return [_filled(one) for one in rows]
    return np.nan if rows is None else rows


def _said(shape: Sequence[int | None]) -> str:
    return "(" + ", ".join("any" if dim is None else str(dim) for dim in shape) + ")"


def plain(content_type: str) -> str:
    """A content type without its parameters."""
    return content_type.partition(";")[0].strip().lower()
