"""What do a request's bytes ask, and in which bytes is it answered?

The container contract of SageMaker and of KServe's first protocol: JSON `{"instances": [...]}` is answered with
`{"predictions": [...]}`, `text/csv` with lines, `application/x-npy` with an array.
"""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reversible.serving.model import Input

JSON, CSV, NPY = "application/json", "text/csv", "application/x-npy"
Arrays = Mapping[str, NDArray[Any]]


class RequestError(ValueError):
    """The request is not one; the message says why."""


class UnknownTypeError(LookupError):
    """The content type is not served."""


def decode(body: bytes, content_type: str, inputs: Sequence[Input]) -> dict[str, NDArray[Any]]:
    """The model's inputs, rows first.

    Args:
        body: The request.
        content_type: As its header says.
        inputs: What the model takes.

    Raises:
        RequestError: it is not what its content type says, or not what the model takes.
        UnknownTypeError: another content type.
    """
    kind = _plain(content_type)
    try:
        if kind == JSON:
            return _of_rows(_instances(json.loads(body)), inputs)
        if kind == CSV:
            lines = [line for line in csv.reader(io.StringIO(body.decode("utf-8"))) if line]
            return _of_lines(lines, inputs)
        if kind == NPY:
            if len(inputs) != 1:
                raise RequestError(f"the model takes {len(inputs)} inputs: send JSON objects")
            return {inputs[0].name: _fitting(np.load(io.BytesIO(body), allow_pickle=False), inputs[0])}
    except UnicodeDecodeError as error:
        raise RequestError("the body is not UTF-8") from error
    except (ValueError, TypeError, OverflowError, EOFError) as error:
        if isinstance(error, RequestError):
            raise
        raise RequestError(
            f"the body is not {kind} that the model takes: {str(error).splitlines()[0][:200]}"
        ) from error
    raise UnknownTypeError(content_type)


def encode(answers: Arrays, accept: str) -> tuple[bytes, str]:
    """The answer and its content type. Every float in full: read back, it is the same bits; NaN is null in JSON."""
    kind = _plain(accept)
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
    return json.dumps({"predictions": rows}, allow_nan=False, ensure_ascii=False).encode(), JSON


def _instances(document: Any) -> list[Any]:
    if isinstance(document, dict) and isinstance(document.get("instances"), list):
        return list(document["instances"])
    raise RequestError('expected {"instances": [one entry per input, ...]}')


def _of_rows(rows: list[Any], inputs: Sequence[Input]) -> dict[str, NDArray[Any]]:
    if len(inputs) == 1 and not any(isinstance(row, dict) for row in rows):
        return {inputs[0].name: _array(rows, inputs[0])}
    names = [one.name for one in inputs]
    for number, row in enumerate(rows):
        if not isinstance(row, dict) or set(row) != set(names):
            raise RequestError(f"instance {number} is no object with {', '.join(names)}")
    return {one.name: _array([row[one.name] for row in rows], one) for one in inputs}


def _of_lines(lines: list[list[str]], inputs: Sequence[Input]) -> dict[str, NDArray[Any]]:
    if len(inputs) == 1:
        return {inputs[0].name: _array([[_number(cell, inputs[0]) for cell in line] for line in lines], inputs[0])}
    if wrong := [number for number, line in enumerate(lines) if len(line) != len(inputs)]:
        raise RequestError(f"line {wrong[0]} has not {len(inputs)} cells, one for each input")
    return {one.name: _array([_number(line[place], one) for line in lines], one) for place, one in enumerate(inputs)}


def _number(cell: str, one: Input) -> Any:
    """A cell as the input's type; an empty one is a missing number, or an empty text."""
    if one.dtype is np.object_:
        return cell
    return float(cell) if cell and np.issubdtype(one.dtype, np.floating) else None if not cell else int(cell)


def _array(rows: list[Any], one: Input) -> NDArray[Any]:
    if one.dtype is np.object_:
        found = np.empty(_shape(rows), dtype=np.object_)
        for place in np.ndindex(found.shape):
            value: Any = rows
            for step in place:
                value = value[step]
            if not isinstance(value, str):
                raise RequestError(f"{one.name} takes texts, and {value!r} is none")
            found[place] = value
        return _fitting(found, one)
    filled = _filled(rows) if np.issubdtype(one.dtype, np.floating) else rows
    exact = np.asarray(filled)
    if exact.dtype == np.object_ or exact.dtype.kind in "US":
        raise RequestError(f"{one.name} takes numbers of one shape")
    with np.errstate(over="ignore", invalid="ignore"):
        found = exact.astype(one.dtype)
    if exact.dtype.kind in "iufb" and np.issubdtype(one.dtype, np.integer) and not np.array_equal(found, exact):
        raise RequestError(f"{one.name} takes whole numbers of {np.dtype(one.dtype).name}")
    return _fitting(found, one)


def _fitting(found: NDArray[Any], one: Input) -> NDArray[Any]:
    """In the declared rank: a column of single values may come without its last dimension of 1."""
    if found.ndim == len(one.shape) - 1 and one.shape[-1] in (1, None):
        found = found.reshape(*found.shape, 1)
    if found.dtype != np.dtype(one.dtype):
        found = found.astype(one.dtype)
    wrong = found.ndim != len(one.shape) or any(
        dim not in (None, size) for dim, size in zip(one.shape, found.shape, strict=False)
    )
    if wrong:
        raise RequestError(f"{one.name} takes the shape {_said(one.shape)}, not {_said(found.shape)}")
    return np.ascontiguousarray(found)


def _shape(rows: Any) -> tuple[int, ...]:
    shape: list[int] = []
    while isinstance(rows, list):
        shape.append(len(rows))
        if not rows:
            break
        rows = rows[0]
    return tuple(shape)


def _filled(rows: Any) -> Any:
    """null is a missing number."""
    if isinstance(rows, list):
        return [_filled(one) for one in rows]
    return np.nan if rows is None else rows


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


def _said(shape: Sequence[int | None]) -> str:
    return "(" + ", ".join("any" if dim is None else str(dim) for dim in shape) + ")"


def _plain(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()
