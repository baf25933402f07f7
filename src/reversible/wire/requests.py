"""What do a request's bytes ask?"""

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reversible.wire.fields import CSV, IMAGES, JSON, NPY, TEXT, Field, array, fitting, plain


class RequestError(ValueError):
    """The request is not one; the message says why."""


class UnknownTypeError(LookupError):
    """The content type is not served."""


def decode(body: bytes, content_type: str, inputs: Sequence[Field]) -> dict[str, NDArray[Any]]:
    """What is asked, by name, rows first.

    Args:
        body: The request.
        content_type: As its header says.
        inputs: What the model takes.

    Raises:
        RequestError: it is not what its content type says, or not what the model takes.
        UnknownTypeError: another content type.
    """
    kind = plain(content_type)
    try:
        if kind == JSON:
            return _of_json(json.loads(body), inputs)
        if kind == CSV:
            return _of_lines(list(csv.reader(io.StringIO(body.decode("utf-8"), newline=""))), inputs)
        if kind in (NPY, TEXT, *IMAGES):
            return _of_one(body, kind, inputs)
    except UnicodeDecodeError as error:
        raise RequestError("the body is not UTF-8") from error
    except (ValueError, TypeError, OverflowError, EOFError, IndexError) as error:
        if isinstance(error, RequestError):
            raise
        said = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise RequestError(f"the body is not {kind} that the model takes: {said}") from error
    raise UnknownTypeError(content_type)


def _of_one(body: bytes, kind: str, inputs: Sequence[Field]) -> dict[str, NDArray[Any]]:
    """A body that is one value as a whole."""
    if len(inputs) != 1:
        raise RequestError(f"the model takes {len(inputs)} inputs: send JSON objects")
    one = inputs[0]
    if kind == NPY and not one.is_bytes:
        return {one.name: fitting(np.load(io.BytesIO(body), allow_pickle=False), one)}
    found = np.empty(1, dtype=np.object_)
    if kind == TEXT and one.is_text:
        found[0] = body.decode("utf-8")
    elif kind in IMAGES and one.is_bytes:
        found[0] = body
    else:
        raise UnknownTypeError(kind)
    return {one.name: fitting(found, one)}


def _of_json(document: Any, inputs: Sequence[Field]) -> dict[str, NDArray[Any]]:
    if isinstance(document, dict) and isinstance(document.get("instances"), list):
        return _of_rows(document["instances"], inputs)
    if isinstance(document, dict) and "inputs" in document:
        given = document["inputs"]
        if isinstance(given, list) and given and all(isinstance(one, dict) and "datatype" in one for one in given):
            return _of_tensors(given, inputs)
        return _of_rows(given if isinstance(given, list) else [given], inputs)
    raise RequestError('expected {"instances": [one entry per input, ...]}')


def _of_tensors(tensors: list[dict[str, Any]], inputs: Sequence[Field]) -> dict[str, NDArray[Any]]:
    """KServe's second protocol: name, shape, datatype and data of each."""
    named = {str(one.get("name")): one for one in tensors}
    if set(named) != {one.name for one in inputs}:
        raise RequestError(f"the tensors are {', '.join(sorted(named))}, not {', '.join(one.name for one in inputs)}")
    found = {}
    for one in inputs:
        given = named[one.name]
        flat = np.asarray(given["data"]).reshape([int(dim) for dim in given["shape"]])
        found[one.name] = array(flat.tolist(), one)
    return found


def _of_rows(rows: list[Any], inputs: Sequence[Field]) -> dict[str, NDArray[Any]]:
    if len(inputs) == 1 and not any(isinstance(row, dict) for row in rows):
        return {inputs[0].name: _array(rows, inputs[0])}
    names = [one.name for one in inputs]
    for number, row in enumerate(rows):
        if not isinstance(row, dict) or set(row) != set(names):
            raise RequestError(f"instance {number} is no object with {', '.join(names)}")
    return {one.name: _array([row[one.name] for row in rows], one) for one in inputs}


def _of_lines(lines: list[list[str]], inputs: Sequence[Field]) -> dict[str, NDArray[Any]]:
    if len(inputs) == 1 and not inputs[0].is_text:
        filled = [line for line in lines if line]
        return {inputs[0].name: _array([[_number(cell, inputs[0]) for cell in line] for line in filled], inputs[0])}
    lines = [line or [""] for line in lines] if len(inputs) == 1 else [line for line in lines if line]
    if wrong := [number for number, line in enumerate(lines) if len(line) != len(inputs)]:
        raise RequestError(f"line {wrong[0]} has not {len(inputs)} cells, one for each input")
    return {one.name: _array([_number(line[place], one) for line in lines], one) for place, one in enumerate(inputs)}


def _number(cell: str, one: Field) -> Any:
    """A cell as the input's type; an empty one is a missing number, or an empty text."""
    if one.is_text:
        return cell
    return float(cell) if cell and np.issubdtype(one.dtype, np.floating) else None if not cell else int(cell)


def _array(rows: list[Any], one: Field) -> NDArray[Any]:
    try:
        return array(rows, one)
    except ValueError as error:
        said = str(error)
        raise RequestError(said) if said.startswith(f"{one.name} takes ") else error from error
