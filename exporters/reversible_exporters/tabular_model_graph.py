"""How is an exact graph written, one standard operator at a time?

Only `ai.onnx` and `ai.onnx.ml` operators that need nothing of the host: no locale, no vendor domain. Every value knows
its type and its width, and two numbers meet in the type in which NumPy would let them meet: an original that computes
in float64 is computed in float64.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reversible.equivalence.trees import Ensemble

if TYPE_CHECKING:
    import onnx

Array = NDArray[Any]
OPSET, ML_OPSET, IR_VERSION = 19, 3, 9  # 19: Equal compares texts; 3: trees in float64. Runtimes of 2023 and later
FLOAT, DOUBLE, INT, BOOL, TEXT = "float32", "float64", "int64", "bool", "string"
_ONNX = {FLOAT: 1, DOUBLE: 11, INT: 7, BOOL: 9, TEXT: 8}  # TensorProto.DataType


@dataclass(frozen=True)
class Tensor:
    """A value of the graph: its name, one of the five types above, and its second dimension."""

    name: str
    dtype: str
    width: int


class Graph:
    """Collects nodes and constants; `model` writes them out."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._tensors: list[onnx.TensorProto] = []
        self.inputs: list[Tensor] = []
        self.given: frozenset[str] = frozenset()  # the inputs that the written model kept
        self.leaps = False  # whether answers leap where no decision does
        self.foreign: list[str] = []  # parts that another exporter wrote
        self.processing: list[dict[str, Any]] = []  # what must happen to raw values before the graph: plain data
        self.ensembles: list[Ensemble] = []  # the trees, as the original holds them
        self.originals: dict[str, Array] = {}  # and what their leaves say

    def input(self, name: str, dtype: str, width: int) -> Tensor:
        """A matrix (rows, width) that the caller gives."""
        made = Tensor(name, dtype, width)
        self.inputs.append(made)
        return made

    def constant(self, values: "Array | np.integer[Any]") -> Tensor:
        """A constant; equal ones are stored once."""
        from onnx import helper, numpy_helper

        array = np.asarray(values)
        text = array.dtype.kind in "OUS"
        content = "\0".join(map(str, array.ravel())).encode() if text else array.tobytes()
        key = (TEXT if text else array.dtype.name, array.shape, content)
        if key not in self._constants:
            name = f"constant_{len(self._constants)}"
            self._constants[key] = name
            flat = [str(one).encode() for one in array.ravel()]
            self._tensors.append(
                helper.make_tensor(name, _ONNX[TEXT], array.shape, flat)
                if text
                else numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name)
            )
        return Tensor(self._constants[key], key[0], array.shape[-1] if array.ndim else 1)

    def node(
        self, kind: str, *inputs: Tensor, dtype: str, width: int, domain: str = "", name: str = "", **attributes: Any
    ) -> Tensor:
        """One operator with one result."""
        from onnx import helper

        output = name or f"{kind.lower()}_{len(self._nodes)}"
        names = [one.name for one in inputs]
        self._nodes.append(helper.make_node(kind, names, [output], name=output, domain=domain, **attributes))
        return Tensor(output, dtype, width)

    def also(self, name: str, second: str) -> None:
        """Give the node `name` a second result, called `second`."""
        next(node for node in self._nodes if node.name == name).output.append(second)

    def embed(self, inner: "onnx.GraphProto", given: dict[str, str]) -> None:
        """Take the nodes and constants of another graph; `given` says what its inputs are here."""
        self._tensors += list(inner.initializer)
        for node in inner.node:
            names = [given.get(name, name) for name in node.input]
            del node.input[:]
            node.input.extend(names)
            self._nodes.append(node)

    def cast(self, value: Tensor, dtype: str) -> Tensor:
        if value.dtype == dtype:
            return value
        return self.node("Cast", value, dtype=dtype, width=value.width, to=_ONNX[dtype])

    def apply(self, kind: str, left: Tensor, right: "Tensor | Array | float", *, dtype: str = "") -> Tensor:
        """Add, Sub, Mul, Div, Pow, Min, Max, Equal, Less, ...: in the wider of both types."""
        if not isinstance(right, Tensor):
            array = np.asarray(right)
            if array.ndim == 0 and array.dtype.kind in "fi" and left.dtype != TEXT:
                array = array.astype(left.dtype)  # a Python number takes the type of the array, as in NumPy
            right = self.constant(array)
        common = left.dtype if left.dtype == right.dtype else np.result_type(left.dtype, right.dtype).name
        result = dtype or (BOOL if kind in _COMPARE else common)
        width = max(left.width, right.width)
        return self.node(kind, self.cast(left, common), self.cast(right, common), dtype=result, width=width)

    def one(self, kind: str, value: Tensor, **attributes: Any) -> Tensor:
        """An operator on each number: Exp, Neg, Sqrt, ..."""
        return self.node(kind, value, dtype=value.dtype, width=value.width, **attributes)

    def where(self, mask: Tensor, yes: "Tensor | Array", no: "Tensor | Array", *, dtype: str = "") -> Tensor:
        """`yes` where the mask is true."""
        first = yes if isinstance(yes, Tensor) else self.constant(yes)
        second = no if isinstance(no, Tensor) else self.constant(no)
        kept = dtype or (first.dtype if first.dtype == second.dtype else np.result_type(first.dtype, second.dtype).name)
        width = max(mask.width, first.width, second.width)
        return self.node("Where", mask, self.cast(first, kept), self.cast(second, kept), dtype=kept, width=width)

    def is_nan(self, value: Tensor) -> Tensor:
        return self.node("IsNaN", value, dtype=BOOL, width=value.width)

    def columns(self, value: Tensor, indexes: Sequence[int]) -> Tensor:
        """Some columns, in the order given."""
        if list(indexes) == list(range(value.width)):
            return value
        picked = self.constant(np.array(indexes, dtype=np.int64))
        return self.node("Gather", value, picked, dtype=value.dtype, width=len(indexes), axis=1)

    def concat(self, values: Sequence[Tensor]) -> Tensor:
        """Matrices side by side, in the widest of their types, as `numpy.hstack`."""
        if len(values) == 1:
            return values[0]
        kinds = {one.dtype for one in values}
        common = kinds.pop() if len(kinds) == 1 else np.result_type(*kinds).name
        same = [self.cast(one, common) for one in values]
        return self.node("Concat", *same, dtype=common, width=sum(one.width for one in values), axis=1)

    def matmul(self, left: Tensor, right: Array) -> Tensor:
        """(rows, n) @ (n, m), in the wider of both types."""
        common = np.result_type(left.dtype, right.dtype).name
        constant = self.constant(right.astype(common))
        return self.node("MatMul", self.cast(left, common), constant, dtype=common, width=right.shape[1])

    def sum(self, value: Tensor, *, kind: str = "ReduceSum") -> Tensor:
        """The sum of each row, (rows, 1); or ReduceMax, ReduceMin."""
        axes = self.constant(np.array([1], dtype=np.int64))
        return self.node(kind, value, axes, dtype=value.dtype, width=1, keepdims=1)

    def argmax(self, value: Tensor) -> Tensor:
        """The first of the largest columns, (rows, 1) int64."""
        return self.node("ArgMax", value, dtype=INT, width=1, axis=1, keepdims=1)

    def gather(self, table: Array, index: Tensor) -> Tensor:
        """`table[index]`: one entry per index, or one row (rows, columns of the table) per row of a single index.

        An index outside the table is an error of the runtime, as a category that the original refuses.
        """
        if table.ndim == 1:
            kind = TEXT if table.dtype.kind in "OUS" else table.dtype.name
            return self.node("Gather", self.constant(table), index, dtype=kind, width=index.width, axis=0)
        flat = self.node("Squeeze", index, self.constant(np.array([1])), dtype=INT, width=1)
        width = table.shape[1]
        return self.node("Gather", self.constant(table), flat, dtype=table.dtype.name, width=width, axis=0)

    def softmax(self, value: Tensor) -> Tensor:
        """exp(x - max) / sum, step by step in the type of x: the operator of that name rounds elsewhere."""
        risen = self.one("Exp", self.apply("Sub", value, self.sum(value, kind="ReduceMax")))
        return self.apply("Div", risen, self.sum(risen))

    def two(self, probability: Tensor) -> Tensor:
        """(1 - p, p)."""
        rest = self.apply("Sub", self.constant(np.ones((1, 1), probability.dtype)), probability)
        return self.concat([rest, probability])

    def model(self, outputs: Sequence[tuple[str, Tensor]], *, name: str) -> "onnx.ModelProto":
        """The whole, with only what its outputs need."""
        from onnx import helper

        for called, value in outputs:
            self._nodes.append(helper.make_node("Identity", [value.name], [called], name=called))
        needed, nodes = {called for called, _ in outputs}, []
        for node in reversed(self._nodes):
            if needed & set(node.output):
                needed |= set(node.input)
                nodes.append(node)
        nodes.reverse()
        kept = {node.name for node in nodes}
        self.ensembles = [one for one in self.ensembles if one.name in kept]
        domains = {node.domain for node in nodes}
        given = [one for one in self.inputs if one.dtype != TEXT or one.name in needed]
        self.given = frozenset(one.name for one in given)
        graph = helper.make_graph(
            nodes,
            name,
            [helper.make_tensor_value_info(one.name, _ONNX[one.dtype], ["rows", one.width]) for one in given],
            [helper.make_tensor_value_info(called, _ONNX[one.dtype], ["rows", one.width]) for called, one in outputs],
            [tensor for tensor in self._tensors if tensor.name in needed],
        )
        opsets = [helper.make_opsetid("", OPSET)]
        if "ai.onnx.ml" in domains:
            opsets.append(helper.make_opsetid("ai.onnx.ml", ML_OPSET))
        return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="reversible")


_COMPARE = frozenset({"Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "And", "Or"})
