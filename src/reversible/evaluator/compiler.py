"""What does each node of a model mean, at the opset that the model declares?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, defs

from reversible.errors import EvaluatorError
from reversible.evaluator.execution import FUNCTION, call_function
from reversible.evaluator.limits import Limits
from reversible.evaluator.node import Node
from reversible.evaluator.program import Program, assemble
from reversible.evaluator.registry import NEWEST, Kernel, find
from reversible.evaluator.tensors import attribute_value, dimensions, read_sparse, read_tensor
from reversible.evaluator.types import Array, Precision, declared

_FUNCTION_CALL = Kernel(call_function, 1, moves=False, typed=True, control=True)
_MOST_PROGRAMS = 10_000
_DEEPEST = 100  # functions calling functions

Bound = Mapping[str, AttributeProto]


class Compiler:
    """Turns graphs into programs; collects every operator that is not covered, so that all are named at once."""

    def __init__(self, model: onnx.ModelProto, folder: Path | None, precision: Precision, limits: Limits) -> None:
        self.precision = precision
        self.limits = limits
        self.missing: set[str] = set()
        self.names: set[str] = set()
        self._folder = folder
        self._opsets = _opsets(model.opset_import)
        self._functions = {(one.domain, one.name, one.overload): one for one in model.functions}
        self._bodies: dict[bytes, Program] = {}
        self._programs = 0
        self._calls: list[str] = []

    def graph(
        self,
        graph: onnx.GraphProto,
        *,
        closed: bool,
        opsets: Mapping[str, int] | None = None,
        bound: Bound | None = None,
        outer: Mapping[str, int] | None = None,
    ) -> Program:
        """A graph's program; `outer` holds the element types of the values around a subgraph."""
        types = dict(outer or {})
        constants: dict[str, Array] = {}
        for tensor in graph.initializer:
            constants[tensor.name] = self.precision.carry(read_tensor(tensor, self._folder, self.limits))
            types[tensor.name] = tensor.data_type
        for sparse in graph.sparse_initializer:
            name = sparse.values.name
            constants[name] = self.precision.carry(read_sparse(sparse, self._folder, self.limits))
            types[name] = sparse.values.data_type
        for value in (*graph.input, *graph.value_info, *graph.output):
            types.setdefault(value.name, value.type.tensor_type.elem_type)
        inputs = [one.name for one in graph.input if one.name not in constants]
        outputs = [one.name for one in graph.output]
        name = graph.name or "graph"
        shapes = {one.name: (_known(one), tuple(dimensions(one.type.tensor_type.shape))) for one in graph.output}
        return self._program(
            name, inputs, outputs, constants, graph.node, types, opsets or self._opsets, bound, closed, shapes
        )

    def _program(
        self,
        name: str,
        inputs: list[str],
        outputs: list[str],
        constants: dict[str, Array],
        nodes: Iterable[onnx.NodeProto],
        types: dict[str, int],
        opsets: Mapping[str, int],
        bound: Bound | None,
        closed: bool,
        shapes: Mapping[str, tuple[object, tuple[object, ...] | None]],
    ) -> Program:
        self._programs += 1
        if self._programs > _MOST_PROGRAMS:
            raise EvaluatorError(f"the model has more than {_MOST_PROGRAMS} graphs")
        pairs: list[tuple[Node, Kernel]] = []
        for proto in nodes:
            found = self._node(proto, types, opsets, bound or {})
            if found is None:
                continue
            node, _ = found
            if node.op_type == "Constant" and node.domain == "" and node.outputs[0] not in constants:
                constants[node.outputs[0]] = constant(node)
            else:
                pairs.append(found)
        self.names.update(inputs, outputs, constants, (one for node, _ in pairs for one in node.outputs))
        if self.missing:  # the caller raises; the order no longer matters
            return Program(name, tuple(inputs), tuple(outputs), constants, (), frozenset(), frozenset(), {})
        return assemble(name, inputs, outputs, constants, pairs, closed=closed, declared=shapes)

    def _node(
        self, proto: onnx.NodeProto, types: dict[str, int], opsets: Mapping[str, int], bound: Bound
    ) -> tuple[Node, Kernel] | None:
        domain = "" if proto.domain == "ai.onnx" else proto.domain
        function = self._functions.get((proto.domain, proto.op_type, proto.overload))
        if not proto.output:
            raise EvaluatorError(f"node {proto.name} ({proto.op_type}) has no output")
        schema = None if function is not None else self._schema(proto, domain, opsets)
        kernel = (
            _FUNCTION_CALL if function is not None else schema and find(domain, proto.op_type, schema.since_version)
        )
        if not kernel:
            version = opsets.get(domain)
            where = f"{domain or 'ai.onnx'} opset {version}" if version is not None else f"{domain}, no opset imported"
            self.missing.add(f"{proto.op_type} ({where})")
            return None
        attributes, subgraphs = self._attributes(proto, schema, opsets, bound, types)
        if function is not None:
            subgraphs[FUNCTION] = self._function(function, proto, bound)
        node = Node(
            op_type=proto.op_type,
            domain=domain,
            name=proto.name,
            since=schema.since_version if schema is not None else 1,
            inputs=_stripped(proto.input),
            outputs=tuple(proto.output),
            attributes=attributes,
            precision=self.precision,
            limits=self.limits,
            rounds=domain == "" and proto.op_type == "Cast" and attributes.get("to") == TensorProto.FLOAT
            and types.get(proto.input[0]) == TensorProto.DOUBLE,
            subgraphs=subgraphs,
        )  # fmt: skip
        if schema is not None:
            _infer(node, proto, schema, types)
        return node, kernel

    def _schema(self, proto: onnx.NodeProto, domain: str, opsets: Mapping[str, int]) -> Any:
        """The operator's definition at the model's opset; the last living one of an operator that was withdrawn."""
        version = opsets.get(domain)
        if version is None or domain not in NEWEST or version > NEWEST[domain] or version < 1:
            return None
        try:
            schema = defs.get_schema(proto.op_type, version, domain)
            while schema.deprecated and schema.since_version > 1:
                schema = defs.get_schema(proto.op_type, schema.since_version - 1, domain)
        except defs.SchemaError:
            return None
        return schema

    def _attributes(
        self, proto: onnx.NodeProto, schema: Any, opsets: Mapping[str, int], bound: Bound, types: dict[str, int]
    ) -> tuple[dict[str, Any], dict[str, Program]]:
        values: dict[str, Any] = {}
        subgraphs: dict[str, Program] = {}
        if schema is not None:
            for name, formal in schema.attributes.items():
                if formal.default_value.type != AttributeProto.UNDEFINED:
                    values[name] = attribute_value(formal.default_value)
        for given in proto.attribute:
            one = bound.get(given.ref_attr_name) if given.ref_attr_name else given
            if one is None:
                continue
            if one.type == AttributeProto.TENSOR:
                values[given.name] = self.precision.carry(read_tensor(one.t, self._folder, self.limits))
            elif one.type == AttributeProto.SPARSE_TENSOR:
                values[given.name] = self.precision.carry(read_sparse(one.sparse_tensor, self._folder, self.limits))
            elif one.type == AttributeProto.GRAPH:
                subgraphs[given.name] = self.graph(one.g, closed=False, opsets=opsets, bound=bound, outer=types)
            else:
                try:
                    values[given.name] = attribute_value(one)
                except (ValueError, TypeError, AttributeError) as error:
                    raise EvaluatorError(f"node {proto.name} ({proto.op_type}): {given.name} is malformed") from error
        return values, subgraphs

    def _function(self, function: onnx.FunctionProto, call: onnx.NodeProto, bound: Bound) -> Program:
        """The body for this call's attributes, made once for all calls with the same."""
        given: dict[str, AttributeProto] = {one.name: one for one in function.attribute_proto}
        for one in call.attribute:
            value = bound.get(one.ref_attr_name) if one.ref_attr_name else one
            if value is not None:
                given[one.name] = value
        name = f"{function.domain}.{function.name}"
        values = (one.encode() + b"\1" + given[one].SerializeToString(deterministic=True) for one in sorted(given))
        known = b"\0".join((name.encode(), function.overload.encode(), *values))
        if known in self._bodies:
            return self._bodies[known]
        if name in self._calls:
            raise EvaluatorError(f"the function {name} calls itself")
        if len(self._calls) >= _DEEPEST:
            raise EvaluatorError(f"functions call each other more than {_DEEPEST} deep")
        self._calls.append(name)
        opsets = _opsets(function.opset_import) or self._opsets
        types = {one.name: one.type.tensor_type.elem_type for one in function.value_info}
        body = self._program(
            name, list(function.input), list(function.output), {}, function.node, types, opsets, given, True, {}
        )
        self._calls.pop()
        self._bodies[known] = body
        return body


def _known(value: onnx.ValueInfoProto) -> object:
    """The numpy type of a value, None when the model does not say or there is no such type."""
    try:
        return declared(value.type.tensor_type.elem_type)
    except ValueError:
        return None


def constant(node: Node) -> Array:
    """The tensor of a Constant node."""
    kinds = {"value_float": np.float32, "value_floats": np.float32, "value_int": np.int64, "value_ints": np.int64,
             "value_string": object, "value_strings": object}  # fmt: skip
    for name in ("value", "sparse_value"):
        if name in node.attributes:
            return node.attributes[name]
    for name, dtype in kinds.items():
        if name in node.attributes:
            return node.precision.carry(np.array(node.attributes[name], dtype))
    raise EvaluatorError(f"node {node.name} (Constant) holds no value")


def _opsets(imports: Iterable[onnx.OperatorSetIdProto]) -> dict[str, int]:
    return {"" if one.domain == "ai.onnx" else one.domain: one.version for one in imports}


def _stripped(names: Iterable[str]) -> tuple[str, ...]:
    """Without the optional inputs left out at the end."""
    kept = list(names)
    while kept and not kept[-1]:
        kept.pop()
    return tuple(kept)


def _infer(node: Node, proto: onnx.NodeProto, schema: Any, types: dict[str, int]) -> None:
    """Notes the outputs' element types, as far as the operator's type variables say them."""
    known: dict[str, int] = {}
    for at, name in enumerate(node.inputs):
        formal = schema.inputs[min(at, len(schema.inputs) - 1)] if schema.inputs else None
        if formal is not None and types.get(name):
            known.setdefault(formal.type_str, types[name])
    for at, name in enumerate(proto.output):
        if not schema.outputs or types.get(name):
            continue
        formal = schema.outputs[min(at, len(schema.outputs) - 1)]
        if "to" in node.attributes:
            types[name] = node.attributes["to"]
        elif node.op_type == "Constant" and proto.attribute and proto.attribute[0].type == AttributeProto.TENSOR:
            types[name] = proto.attribute[0].t.data_type
        elif formal.type_str in known:
            types[name] = known[formal.type_str]
