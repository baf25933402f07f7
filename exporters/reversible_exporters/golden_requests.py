"""In which bytes is an endpoint asked?"""

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reversible.golden import Column
from reversible.wire import IMAGES, JSON

FORMS = ("instances", "objects", "inputs", "image")


def request(columns: Sequence[Column], rows: NDArray[np.int64], form: str) -> tuple[bytes, str]:
    """The request for some rows, and its content type.

    Args:
        columns: What is asked.
        rows: Which.
        form: "instances": `{"instances": [...]}`, one entry per input, an object where it holds several values;
            "objects": an object always; "inputs": `{"inputs": [...]}`, as Hugging Face's toolkit takes it; "image":
            one image as it is. Each float in full, a missing value as null.
    """
    taken = [(one.field.name, one.take(rows)) for one in columns]
    if form == "image":
        return bytes(taken[0][1][0]), IMAGES[0]
    if len(taken) == 1 and form != "objects":
        table: list[Any] = _plain(taken[0][1])
    else:
        names = [name for name, _ in taken]
        lists = zip(*(_plain(values) for _, values in taken), strict=True)
        table = [dict(zip(names, row, strict=True)) for row in lists]
    key = "inputs" if form == "inputs" else "instances"
    return json.dumps({key: table}, allow_nan=False, ensure_ascii=False).encode("utf-8", "surrogatepass"), JSON


def csv_request(values: Sequence[NDArray[Any]]) -> bytes:
    """One line per row, of all values side by side; a missing one is an empty cell."""
    stream = io.StringIO()
    flat = [one.reshape(len(one), -1).tolist() for one in values]
    writer = csv.writer(stream, lineterminator="\n")
    for parts in zip(*flat, strict=True):
        writer.writerow([_cell(value) for part in parts for value in part])
    return stream.getvalue().encode("utf-8", "surrogatepass")


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "" if value != value else repr(value)
    return "" if value is None else str(value)


def _plain(values: NDArray[Any]) -> list[Any]:
    listed: list[Any] = values.tolist()
    return _nulls(listed) if values.dtype.kind == "f" and np.isnan(values).any() else listed


def _nulls(nested: Any) -> Any:
    if isinstance(nested, list):
        return [_nulls(one) for one in nested]
    return None if nested != nested else nested
