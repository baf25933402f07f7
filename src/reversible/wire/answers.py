"""In which bytes is a request answered, and what do they say?"""

import io
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reversible.wire.fields import CSV, JSON, NPY, Arrays, plain

_FLOATS = ("FP16", "FP32", "FP64")  # KServe's: 1 may stand for 1.0
ONLY = "output"  # the name of an answer that has none


class AnswerError(ValueError):
    """It is no answer that can be read; the message says why."""


class _Number(str):
    """A number of a JSON document, as it was written."""

    __slots__ = ()


def encode(answers: Arrays, accept: str, *, bare: bool = False) -> tuple[bytes, str]:
    """The answer and its content type. Every float in full: read back, it is the same bits; NaN is null in JSON.

    Args:
        answers: By name, rows first.
        accept: The content type that is asked for, where one answer can have it.
        bare: JSON is the list of answers itself, as Hugging Face's toolkit gives it.
    """
    kind = plain(accept)
    only = next(iter(answers.values()))
    if len(answers) == 1 and kind == CSV:
        return "".join(",".join(map(_cell, _flat(row))) + "\n" for row in only.tolist()).encode(), CSV
    if len(answers) == 1 and kind == NPY and only.dtype != np.object_:
        stream = io.BytesIO()
        np.save(stream, only, allow_pickle=False)
        return stream.getvalue(), NPY
    if len(answers) == 1:
        rows: list[Any] = _plain_values(only)
    else:
        names = list(answers)
        rows = [dict(zip(names, row, strict=True)) for row in zip(*map(_plain_values, answers.values()), strict=True)]
    document: Any = rows if bare else {"predictions": rows}
    return json.dumps(document, allow_nan=False, ensure_ascii=False).encode(), JSON


def decode_answers(body: bytes, content_type: str, count: int) -> dict[str, NDArray[Any]]:
    """The answers by name, one row per input: float64, int64, bool, or texts (object), each exactly as written.

    An answer without a name is called "output". A text is a label: one per input, never a table of them.

    Args:
        body: The response.
        content_type: As its header says.
        count: How many inputs were asked.

    Raises:
        AnswerError: it is something else.
    """
    kind = plain(content_type)
    try:
        if kind == CSV:
            found = {ONLY: _of_cells([line.split(",") for line in body.decode("utf-8").strip().splitlines()])}
        elif kind == NPY:
            found = {ONLY: _numbers(np.load(io.BytesIO(body), allow_pickle=False))}
        else:
            found = _of_json(json.loads(body))
    except (ValueError, KeyError, TypeError, EOFError) as error:
        raise AnswerError((str(error).splitlines() or [type(error).__name__])[0][:200]) from error
    if not found or any(one.ndim < 1 or len(one) != count for one in found.values()):
        raise AnswerError(f"it has not one entry for each of {count} inputs")
    return found


def written(body: bytes, content_type: str, name: str) -> list[str]:
    """The numbers of one answer as they were written; none of a binary one. For a body that `decode_answers` takes."""
    kind = plain(content_type)
    if kind == NPY:
        return []
    if kind == CSV:
        return [cell.strip() for cell in body.decode("utf-8").replace("\n", ",").split(",") if cell.strip()]
    document = json.loads(body, parse_float=_Number, parse_int=_Number)
    if tensors := _tensors(document):
        return [text for one in tensors if str(one.get("name")) == name for text in _texts(one["data"])]
    rows = _rows(document)
    return [text for row in rows for text in _texts(row.get(name) if isinstance(row, dict) else row)]


def _of_json(document: Any) -> dict[str, NDArray[Any]]:
    if tensors := _tensors(document):
        found = {}
        for one in tensors:
            shape = [int(dim) for dim in one["shape"]]
            values = _values(list(one["data"])).reshape(shape)
            found[str(one["name"])] = values.astype(np.float64) if one["datatype"] in _FLOATS else values
        return found
    rows = _rows(document)
    if not any(isinstance(row, dict) for row in rows):
        return {ONLY: _values(rows)}
    names = list(rows[0])
    if any(not isinstance(row, dict) or list(row) != names for row in rows):
        raise ValueError("its entries have different names")
    return {str(name): _values([row[name] for row in rows]) for name in names}


def _tensors(document: Any) -> list[Any]:
    """KServe's second protocol: name, shape, datatype and data of each."""
    listed = document.get("outputs") if isinstance(document, dict) else None
    return listed if isinstance(listed, list) and all(isinstance(one, dict) for one in listed) else []


def _rows(document: Any) -> list[Any]:
    """`{"predictions": [...]}`, or the list itself, as Hugging Face's toolkit answers."""
    rows = document["predictions"] if isinstance(document, dict) else document
    if not isinstance(rows, list):
        raise TypeError("it is no list of answers")
    return rows


def _values(rows: list[Any]) -> NDArray[Any]:
    if rows and all(isinstance(row, str) for row in rows):
        found = np.empty(len(rows), dtype=np.object_)
        found[:] = rows
        return found
    return _numbers(np.asarray(rows))


def _of_cells(lines: list[list[str]]) -> NDArray[Any]:
    return _numbers(np.array([[float(cell) for cell in line] for line in lines]))


def _numbers(found: NDArray[Any]) -> NDArray[Any]:
    if found.dtype == np.object_:  # null is no number
        found = np.asarray(_filled(found.tolist()))
    if found.dtype.kind not in "fiub":
        raise ValueError("it holds something else than numbers of one shape")
    wide = {"f": np.float64, "i": np.int64, "u": np.uint64, "b": np.bool_}[found.dtype.kind]
    return found.astype(wide)


def _filled(rows: Any) -> Any:
    if isinstance(rows, list):
        return [_filled(one) for one in rows]
    return np.nan if rows is None else rows


def _texts(nested: Any) -> list[str]:
    if isinstance(nested, list):
        return [text for one in nested for text in _texts(one)]
    return [str(nested)] if isinstance(nested, _Number) else []


def _plain_values(array: NDArray[Any]) -> list[Any]:
    rows: list[Any] = array.tolist()
    return _unfilled(rows) if array.dtype.kind == "f" and not np.isfinite(array).all() else rows


def _unfilled(rows: Any) -> Any:
    if isinstance(rows, list):
        return [_unfilled(one) for one in rows]
    return rows if np.isfinite(rows) else None


def _flat(row: Any) -> list[Any]:
    if isinstance(row, list):
        return [cell for one in row for cell in _flat(one)]
    return [row]


def _cell(value: Any) -> str:
    return value if isinstance(value, str) else repr(value)
