"""How does a file that is ONNX already become one that any runtime may run?

Operators of a vendor's own domain that fuse standard ones are written out again; any other is refused by its name. What
lies in files beside it comes inside, from its own folder alone. A version that no runtime of today reads is converted.
The result is held against the file as it came, in the runtime that knows those operators.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from reversible import onnx_graph
from reversible.equivalence.runtime import first_line
from reversible.errors import BundleError, SourceError
from reversible_exporters import onnx_file

if TYPE_CHECKING:
    import onnx

_OLDEST, _NEWEST, _GOAL = 7, 26, 18  # operator sets that go on as they are, and the one that others become
_MICROSOFT = "com.microsoft"
_TOLERANCE = 1e-5  # of the larger of 1 and the largest output
_FREE = 5


class OnnxConverter:
    """Reads the graph, which is plain data; nothing of the vendor's runs but the graph itself, in onnxruntime."""

    executes_vendor_code = False

    def sources(self, names: Sequence[str]) -> Sequence[str]:
        """See `Converter`."""
        return [name for name in names if name.endswith(".onnx")]

    def convert(self, source: Path, target: Path) -> dict[str, Any]:
        """Write `target`; see `Converter`."""
        import onnx
        import onnxruntime

        try:
            seen = onnx_graph.read(source)
        except BundleError as error:
            raise SourceError(error.message) from error
        if seen.escapes:
            raise SourceError(f"{source.name} keeps weights outside its folder: {seen.escapes[0]}")
        if seen.payloads:
            raise SourceError(f"{source.name} holds an executable pickle in {seen.payloads[0]}")
        if missing := [one for one in seen.external if not (source.parent / one).is_file()]:
            raise SourceError(f"{source.name} keeps weights in {missing[0]}, which did not come with it")
        try:
            model = onnx.load(str(source))
        except (OSError, ValueError, onnx.checker.ValidationError) as error:
            raise SourceError(f"{source.name} is not a whole ONNX file: {first_line(error)}") from error
        if seen.foreign:
            _refuse_unknown(model, source.name)
        probes = _Probes(source)
        written = _expanded(model, probes) if seen.foreign else []
        changed = _in_reach(model, source.name)
        onnx_file.write(model, target)
        return {
            "framework": f"ONNX, made by {model.producer_name or 'nobody named'} {model.producer_version}".strip(),
            "exporter": "; ".join(["as it came", *changed, *(f"{one} written out" for one in written)]),
            "classes": [],
            "pickled_members": [],
            **onnx_file.describe(target),
            "self_check": {"runtime": f"onnxruntime {onnxruntime.__version__}", **probes.compare(target)},
        }


class _Probes:
    """The file as it came, in a runtime, and inputs of its signature."""

    def __init__(self, source: Path) -> None:
        self._source = source
        self.session = self._load(str(source))
        draw = np.random.default_rng(0)
        self.fed = [{one.name: _drawn(one, size, draw) for one in self.session.get_inputs()} for size in (1, 3)]

    def _load(self, model: "str | bytes") -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        try:
            return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's own exceptions derive from Exception alone
            raise SourceError(f"{self._source.name} does not load: {first_line(error)}") from error

    def ranks(self, model: "onnx.ModelProto", names: Sequence[str]) -> dict[str, int]:
        """How many dimensions these values have, seen in one run."""
        import onnx

        constants = {tensor.name: len(tensor.dims) for tensor in model.graph.initializer}
        asked = [name for name in dict.fromkeys(names) if name not in constants]
        copy = onnx.ModelProto.FromString(model.SerializeToString())
        del copy.graph.output[:]
        copy.graph.output.extend(onnx.ValueInfoProto(name=name) for name in asked)
        said = self._load(copy.SerializeToString()).run(None, self.fed[0]) if asked else []
        return constants | {name: np.ndim(one) for name, one in zip(asked, said, strict=True)}

    def compare(self, target: Path) -> dict[str, Any]:
        """Ask the file as it came, and the one that leaves.

        Raises:
            SourceError: it does not load, or answers something else.
        """
        session, worst, asked = onnx_file.opened(target), 0.0, 0
        for fed in self.fed:
            try:
                expected = self.session.run(None, fed)
            except Exception as error:  # onnxruntime's own exceptions derive from Exception alone
                if asked:
                    continue  # a file made for one batch size
                raise SourceError(
                    f"{self._source.name} refuses inputs of its own signature: {first_line(error)}"
                ) from error
            for mine, theirs in zip(session.run(None, fed), expected, strict=True):
                worst = max(worst, _off(mine, theirs))
            asked += 1
        if not worst <= _TOLERANCE:
            raise SourceError(f"{self._source.name}: written out, it answers otherwise: off by {worst:.3g}")
        return {"inputs": asked, "max_abs_diff": worst, "tolerance": _TOLERANCE}


def _off(mine: Any, theirs: Any) -> float:
    mine, theirs = np.asarray(mine), np.asarray(theirs)
    if mine.shape != theirs.shape:
        return float("inf")
    if theirs.dtype.kind not in "fiub":
        return 0.0 if (mine == theirs).all() else float("inf")
    left, right = mine.astype(np.float64), theirs.astype(np.float64)
    same = (left == right) | (np.isnan(left) & np.isnan(right))
    scale = max(1.0, float(np.nan_to_num(np.abs(right), posinf=1.0).max(initial=0.0)))
    with np.errstate(invalid="ignore"):
        return float(np.where(same, 0.0, np.nan_to_num(np.abs(left - right), nan=np.inf)).max(initial=0.0)) / scale


def _drawn(value: Any, batch: int, draw: np.random.Generator) -> Any:
    size = [
        one if isinstance(one, int) and one > 0 else batch if at == 0 else _FREE for at, one in enumerate(value.shape)
    ]
    kind = str(value.type)
    if "float" in kind or "double" in kind:
        width = {"tensor(float16)": np.float16, "tensor(double)": np.float64}.get(kind, np.float32)
        return draw.uniform(-1, 1, size).astype(width)
    if "int" in kind:
        return draw.integers(0, 2, size).astype(kind[len("tensor(") : -1])
    if "bool" in kind:
        return draw.integers(0, 2, size).astype(bool)
    raise SourceError(f"an input of the type {kind} is not handled")


def _in_reach(model: "onnx.ModelProto", name: str) -> list[str]:
    """Bring the operator set to where runtimes of today are; say what was done."""
    from onnx import version_converter

    entry = next((one for one in model.opset_import if one.domain in ("", "ai.onnx")), None)
    if entry is None or _OLDEST <= entry.version <= _NEWEST:
        return []
    try:
        model.CopyFrom(version_converter.convert_version(model, _GOAL))
    except Exception as error:  # the converter raises RuntimeError and its own kinds
        raise SourceError(f"{name}: operator set {entry.version} cannot become {_GOAL}: {first_line(error)}") from error
    return [f"operator set {entry.version} converted to {_GOAL}"]


# --- fused operators -------------------------------------------------------------------------------------------

Nodes = list["onnx.NodeProto"]


def _foreign(model: "onnx.ModelProto") -> Nodes:
    own = {(function.domain, function.name) for function in model.functions}
    return [
        node
        for node in model.graph.node
        if node.domain not in onnx_graph.OPEN_DOMAINS and (node.domain, node.op_type) not in own
    ]


def _refuse_unknown(model: "onnx.ModelProto", name: str) -> None:
    """Name the vendor's operators that have no form of their own here.

    Raises:
        SourceError: there are some.
    """
    found = {(one.domain, one.op_type) for one in _foreign(model)}
    unknown = sorted(f"{domain}:{kind}" for domain, kind in found if domain != _MICROSOFT or kind not in _FUSED)
    if unknown or not found:
        listed = ", ".join(unknown) or "in a graph inside the graph"
        raise SourceError(
            f"{name} needs a vendor's own operators: {listed}", hint="ask for the file before it was optimised"
        )


def _expanded(model: "onnx.ModelProto", probes: _Probes) -> list[str]:
    """Write fused operators out as the standard ones that they stand for; say which."""
    foreign = _foreign(model)
    ranks = probes.ranks(model, [one.input[at] for one in foreign for at in range(min(2, len(one.input)))])
    nodes: Nodes = []
    for number, node in enumerate(model.graph.node):
        if node.domain == _MICROSOFT and node.op_type in _FUSED:
            nodes += _FUSED[node.op_type](node, f"written_{number}", ranks)
        else:
            nodes.append(node)
    copies = [type(node).FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(copies)
    used = {node.domain for node in copies}
    kept = [entry for entry in model.opset_import if entry.domain in ("", "ai.onnx") or entry.domain in used]
    kept = [type(entry).FromString(entry.SerializeToString()) for entry in kept]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    del model.graph.value_info[:]
    return sorted({f"{_MICROSOFT}:{one.op_type}" for one in foreign})


def _settings(node: "onnx.NodeProto") -> dict[str, Any]:
    from onnx import helper

    return {one.name: helper.get_attribute_value(one) for one in node.attribute}


def _constant(name: str, value: float) -> "onnx.NodeProto":
    from onnx import helper, numpy_helper

    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(np.float32(value), name))


def _matmul(node: "onnx.NodeProto", name: str, ranks: dict[str, int]) -> Nodes:
    """FusedMatMul: alpha * A' B', either one transposed in its last two dimensions."""
    from onnx import helper

    settings, nodes, inputs = _settings(node), [], list(node.input[:2])
    if settings.get("transBatchA", 0) or settings.get("transBatchB", 0):
        raise SourceError(f"{node.name or node.op_type}: FusedMatMul with transposed batches is not handled")
    for place, key in enumerate(("transA", "transB")):
        rank = ranks[inputs[place]]
        if settings.get(key, 0) and rank > 1:
            order = [*range(rank - 2), rank - 1, rank - 2]
            nodes.append(helper.make_node("Transpose", [inputs[place]], [f"{name}_{key}"], perm=order))
            inputs[place] = f"{name}_{key}"
    alpha = float(settings.get("alpha", 1.0))
    if alpha == 1.0:
        return [*nodes, helper.make_node("MatMul", inputs, list(node.output))]
    return [
        *nodes, helper.make_node("MatMul", inputs, [f"{name}_product"]), _constant(f"{name}_alpha", alpha),
        helper.make_node("Mul", [f"{name}_product", f"{name}_alpha"], list(node.output)),
    ]  # fmt: skip


def _chain(name: str, steps: Sequence[tuple[str, Sequence[str], str]], constants: dict[str, float]) -> Iterator[Any]:
    from onnx import helper

    for key, value in constants.items():
        yield _constant(f"{name}_{key}", value)
    for kind, inputs, output in steps:
        yield helper.make_node(kind, list(inputs), [output])


def _gelu(node: "onnx.NodeProto", name: str, _: dict[str, int]) -> Nodes:
    """Gelu, BiasGelu: x/2 * (1 + erf(x / sqrt 2)), after the bias."""
    x, steps = node.input[0], []
    if len(node.input) > 1 and node.input[1]:
        steps.append(("Add", node.input[:2], f"{name}_x"))
        x = f"{name}_x"
    steps += [
        ("Div", (x, f"{name}_root"), f"{name}_a"), ("Erf", (f"{name}_a",), f"{name}_b"),
        ("Add", (f"{name}_b", f"{name}_one"), f"{name}_c"), ("Mul", (x, f"{name}_half"), f"{name}_d"),
        ("Mul", (f"{name}_d", f"{name}_c"), node.output[0]),
    ]  # fmt: skip
    return list(_chain(name, steps, {"root": 2**0.5, "one": 1.0, "half": 0.5}))


def _fast_gelu(node: "onnx.NodeProto", name: str, _: dict[str, int]) -> Nodes:
    """FastGelu: x/2 * (1 + tanh(x * (0.7978845608 + 0.0356774081 x^2))), after the bias."""
    x, steps = node.input[0], []
    if len(node.input) > 1 and node.input[1]:
        steps.append(("Add", node.input[:2], f"{name}_x"))
        x = f"{name}_x"
    steps += [
        ("Mul", (x, x), f"{name}_a"), ("Mul", (f"{name}_a", f"{name}_cube"), f"{name}_b"),
        ("Add", (f"{name}_b", f"{name}_line"), f"{name}_c"), ("Mul", (f"{name}_c", x), f"{name}_d"),
        ("Tanh", (f"{name}_d",), f"{name}_e"), ("Add", (f"{name}_e", f"{name}_one"), f"{name}_f"),
        ("Mul", (x, f"{name}_half"), f"{name}_g"), ("Mul", (f"{name}_g", f"{name}_f"), node.output[0]),
    ]  # fmt: skip
    root = (2 / np.pi) ** 0.5
    return list(_chain(name, steps, {"cube": root * 0.044715, "line": root, "one": 1.0, "half": 0.5}))


def _quick_gelu(node: "onnx.NodeProto", name: str, _: dict[str, int]) -> Nodes:
    """QuickGelu: x * sigmoid(alpha x)."""
    alpha = float(_settings(node).get("alpha", 1.702))
    steps = [
        ("Mul", (node.input[0], f"{name}_alpha"), f"{name}_a"), ("Sigmoid", (f"{name}_a",), f"{name}_b"),
        ("Mul", (node.input[0], f"{name}_b"), node.output[0]),
    ]  # fmt: skip
    return list(_chain(name, steps, {"alpha": alpha}))


_FUSED: dict[str, Callable[["onnx.NodeProto", str, dict[str, int]], Nodes]] = {
    "BiasGelu": _gelu, "FastGelu": _fast_gelu, "FusedMatMul": _matmul, "Gelu": _gelu, "QuickGelu": _quick_gelu,
}  # fmt: skip
