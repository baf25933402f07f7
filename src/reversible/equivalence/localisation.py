"""Where does a port begin to differ?

Both sides run once, in float64, and every intermediate value is held against its counterpart, in the order in which
the port computes them: the first that is off names the operator, and the module it came from. One pass per side, not
one run per value. In float64 rounding is a billion times below what a wrong operator does, so nothing is tuned.
"""

import ast
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reversible.equivalence.runtime import Feeds
from reversible.errors import BundleError
from reversible.evaluator import Evaluator

if TYPE_CHECKING:
    import onnx

FORMAT = "reversible-trace/1"
SAME_GRAPH = 1e-9  # relative: both sides computed the same operators in float64, in whatever order of sums
OTHER_FRAMEWORK = 1e-6  # relative: weights that were folded in float32 stay below (research/models.md, section 3.3)
_SAMPLES = 32  # numbers kept of each value
_SCOPES = "pkg.torch.onnx.name_scopes"


@dataclass(frozen=True, kw_only=True)
class Place:
    """One value of the port, and the operator that computes it."""

    value: str
    node: str
    operator: str
    module: str

    def __str__(self) -> str:
        named = self.node or self.value
        return f"{self.operator} {named}" + (f" in {self.module}" if self.module else "")


@dataclass(frozen=True, kw_only=True)
class Divergence:
    """The first value that is off.

    Attributes:
        place: Where.
        error: Its relative error, root mean square; infinity for another shape.
        before: The largest relative error among the values before it.
        compared: How many values had a counterpart.
        of: How many values the port computes.
    """

    place: Place
    error: float
    before: float
    compared: int
    of: int


def places(model: "onnx.ModelProto") -> list[Place]:
    """Every value that the graph computes, in the order of its nodes (each after what it needs)."""
    return [
        Place(value=name, node=node.name, operator=node.op_type, module=module_of(node))
        for node in model.graph.node
        for name in node.output
        if name
    ]


def module_of(node: "onnx.NodeProto") -> str:
    """The module of the original from which a node came: "encoder.layer.3.output.dense"; "" where it does not say.

    torch's exporter keeps it in the node's metadata, its older one in the node's name "/encoder/layer.3/MatMul".
    """
    for entry in node.metadata_props:
        if entry.key == _SCOPES:
            try:
                scopes = ast.literal_eval(entry.value)
            except (ValueError, SyntaxError):
                return ""
            return str(scopes[-2]) if isinstance(scopes, list) and len(scopes) > 1 else ""
    if node.name.startswith("/") and node.name.count("/") > 1:
        return ".".join(_legacy(node.name.strip("/").split("/")[:-1]))
    return ""


def against_modules(
    model: "onnx.ModelProto | Path",
    feeds: Feeds,
    original: Mapping[str, NDArray[Any]],
    *,
    limit: float = OTHER_FRAMEWORK,
) -> Divergence | None:
    """Hold the port against the outputs of the original's modules.

    Args:
        model: The port.
        feeds: Its inputs.
        original: Module path -> its output in float64, as forward hooks give them.
        limit: Relative error from which a value is off.

    Returns:
        The first module whose output is off; None when none is. A module that has no counterpart of its size in the
        port is not compared; `compared` says how many were.

    Raises:
        EvaluatorError: the port cannot be evaluated.
    """
    import onnx

    proto = onnx.load(str(model)) if isinstance(model, Path) else model
    last: dict[str, Place] = {}
    for place in places(proto):
        parts = place.module.split(".") if place.module else []
        for depth in range(1, len(parts) + 1):
            last[".".join(parts[:depth])] = place  # a module's output is what its last node computes
    wanted = {place.value: path for path, place in last.items() if path in original}
    return _first(model, proto, feeds, {value: original[path] for value, path in wanted.items()}, limit)


def against_onnx(
    model: "onnx.ModelProto | Path", other: "onnx.ModelProto | Path", feeds: Feeds, *, limit: float = SAME_GRAPH
) -> Divergence | None:
    """Hold one ONNX file against another: values of the same name. Returns and raises as `against_modules`."""
    import onnx

    theirs = onnx.load(str(other)) if isinstance(other, Path) else other
    mine = onnx.load(str(model)) if isinstance(model, Path) else model
    shared = {one.value for one in places(mine)} & {one.value for one in places(theirs)}
    expected = Evaluator(other).run(feeds, keep=sorted(shared))
    return _first(model, mine, feeds, {name: expected[name] for name in shared}, limit)


def _first(
    model: "onnx.ModelProto | Path", proto: "onnx.ModelProto", feeds: Feeds, expected: Mapping[str, Any], limit: float
) -> Divergence | None:
    found = Evaluator(model).run(feeds, keep=sorted(expected))
    order = [place for place in places(proto) if place.value in expected]
    errors = ((place, _relative(found.get(place.value), expected[place.value])) for place in order)
    return _diverging(errors, limit, len(order), len(places(proto)))


def _diverging(errors: Iterator[tuple[Place, float]], limit: float, compared: int, of: int) -> Divergence | None:
    before = 0.0
    for place, error in errors:
        if error > limit:
            return Divergence(place=place, error=error, before=before, compared=compared, of=of)
        before = max(before, error)
    return None


def _relative(found: Any, expected: Any) -> float:
    """rms(found - expected) / rms(expected); infinity for another size or type. Values without order compare flat."""
    left, right = np.asarray(found), np.asarray(expected)
    if left.size != right.size or left.dtype.kind not in "fiub" or right.dtype.kind not in "fiub":
        return 0.0 if left.size == right.size and np.array_equal(left.reshape(-1), right.reshape(-1)) else np.inf
    mine, theirs = left.astype(np.float64).reshape(-1), right.astype(np.float64).reshape(-1)
    if not mine.size:
        return 0.0
    whole = np.isfinite(theirs)
    if not np.array_equal(np.where(whole, 0.0, theirs), np.where(whole, 0.0, mine), equal_nan=True):
        return float("inf")
    if not whole.any():
        return 0.0
    off = float(np.sqrt(np.mean((mine[whole] - theirs[whole]) ** 2)))
    scale = float(np.sqrt(np.mean(theirs[whole] ** 2)))
    return off / scale if scale > 0 else (0.0 if off == 0 else float("inf"))


# --- a trace that travels with the model -------------------------------------------------------------------------


def trace(model: "onnx.ModelProto | Path", feeds: Feeds) -> list[dict[str, Any]]:
    """What each value was when the model left: a few numbers of each, in float64.

    Args:
        model: The ONNX file.
        feeds: Inputs; a few rows are enough.

    Raises:
        EvaluatorError: an operator is not covered.
    """
    import onnx

    proto = onnx.load(str(model)) if isinstance(model, Path) else model
    named = {place.value: place for place in places(proto)}
    values = Evaluator(model).run(feeds, keep=sorted(named))
    lines = []
    for name, place in named.items():
        array = np.asarray(values.get(name))
        if array.dtype.kind not in "fiub":
            continue
        flat = array.astype(np.float64).reshape(-1)
        lines.append(
            {
                "value": name, "node": place.node, "operator": place.operator, "module": place.module,
                "size": flat.size, "samples": [_number(one) for one in flat[_spread(flat.size)]],
            }
        )  # fmt: skip
    return lines


def against_trace(
    model: "onnx.ModelProto | Path", feeds: Feeds, kept: Sequence[Mapping[str, Any]], *, limit: float = SAME_GRAPH
) -> Divergence | None:
    """Hold the port against what it was when it left. Returns and raises as `against_modules`.

    A value that is gone is a divergence where the next one that is left is off.
    """
    import onnx

    proto = onnx.load(str(model)) if isinstance(model, Path) else model
    then = {str(line["value"]): line for line in kept}
    order = [place for place in places(proto) if place.value in then]
    now = Evaluator(model).run(feeds, keep=sorted({place.value for place in order}))

    def errors() -> Iterator[tuple[Place, float]]:
        for place in order:
            line, flat = then[place.value], np.asarray(now[place.value]).reshape(-1)
            if flat.size != line["size"]:
                yield place, float("inf")
                continue
            samples = np.array([float(one) for one in line["samples"]], dtype=np.float64)
            yield place, _relative(flat[_spread(flat.size)], samples)

    return _diverging(errors(), limit, len(order), len(places(proto)))


def write(lines: Sequence[Mapping[str, Any]], rows: Sequence[int]) -> bytes:
    """As `golden/trace.json`: the values, and the inputs of the golden set for which they were computed."""
    return json.dumps({"format": FORMAT, "rows": list(rows), "values": list(lines)}, allow_nan=False).encode()


def read(document: Any, count: int) -> tuple[list[int], list[dict[str, Any]]]:
    """The inputs and the values of `golden/trace.json`.

    Args:
        document: Its JSON.
        count: Inputs of the golden set.

    Raises:
        BundleError: it is of another format.
    """
    try:
        rows = [int(one) for one in document["rows"]]
        values = [dict(one) for one in document["values"]]
        whole = all({"value", "size", "samples"} <= set(one) for one in values)
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(f"golden/trace.json is not of the format {FORMAT}: {error!r}") from error
    if document.get("format") != FORMAT or not whole or not rows or not all(0 <= one < count for one in rows):
        raise BundleError(f"golden/trace.json is not of the format {FORMAT}")
    return rows, values


def _spread(size: int) -> NDArray[np.int64]:
    """Places of the numbers that are kept: spread over the value, the same for the same size."""
    if size <= _SAMPLES:
        return np.arange(size, dtype=np.int64)
    return np.unique(np.linspace(0, size - 1, _SAMPLES).astype(np.int64))


def _number(value: float) -> float | str:
    """JSON has no infinity: text, which `float` reads."""
    return float(value) if np.isfinite(value) else str(value)


def _legacy(parts: Sequence[str]) -> list[str]:
    """ "/encoder/encoder/layer.0/…" repeats a container's name before its members; each is kept once."""
    kept: list[str] = []
    for part in parts:
        if kept and part.startswith(f"{kept[-1].rpartition('.')[2]}."):
            kept[-1] = kept[-1].rpartition(".")[0] + ("." if "." in kept[-1] else "") + part
        elif not kept or kept[-1] != part:
            kept.append(part)
    return kept
