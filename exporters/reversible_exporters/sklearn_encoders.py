"""How do scikit-learn's encoders number categories: known, unknown, missing, infrequent, dropped?

Each looks a category up in a list and then in a table; what the original does with an unknown one is an entry of the
table, and where it refuses one there is no entry, so that the runtime refuses it too.
"""

from typing import Any

import numpy as np

from reversible_exporters.tabular_model_graph import BOOL, INT, TEXT, Array, Graph, Tensor
from reversible_exporters.tabular_model_table import MISSING, Table, UnknownStepError


def category(graph: Graph, column: Tensor, categories: Array) -> Tensor:
    """The number of a category in its list, its length for any other: (rows, 1) int64.

    NaN and None stand at the end of the list; a missing text is `MISSING`.
    """
    listed = categories.tolist()
    if column.dtype == TEXT:
        texts = [MISSING if one is None or one != one else one for one in listed]
        if not all(isinstance(one, str) for one in texts) or len(set(texts)) < len(texts):
            raise UnknownStepError("an encoder knows categories that are not all different texts")
        same = graph.apply("Equal", column, np.array([texts], dtype=object))
    else:
        if any(one is None or isinstance(one, str) for one in listed):
            raise UnknownStepError("an encoder knows texts and numbers in one column")
        exact = np.array([[float(one) for one in listed]])
        same = graph.apply("Equal", column, exact)
        if np.isnan(exact).any():
            same = graph.node(
                "Or", same, graph.node("And", graph.is_nan(column), graph.constant(np.isnan(exact)), dtype=BOOL,
                                       width=same.width), dtype=BOOL, width=same.width,
            )  # fmt: skip
    numbers = graph.where(same, np.arange(len(listed), dtype=np.int64)[None, :], np.full((1, 1), len(listed)))
    axes = graph.constant(np.array([1], dtype=np.int64))
    return graph.node("ReduceMin", numbers, axes, dtype=INT, width=1, keepdims=1)


def one_hot(graph: Graph, step: Any, table: Table) -> Table:
    parts = []
    for number, categories in enumerate(step.categories_):
        known = len(categories)
        infrequent = _infrequent(step, number)
        to = np.arange(known) if infrequent is None else np.asarray(infrequent)
        count = int(to.max()) + 1
        unknown = -1
        if step.handle_unknown in ("infrequent_if_exist", "warn") and infrequent is not None:
            unknown = count - 1
        dropped = None if step._drop_idx_after_grouping is None else step._drop_idx_after_grouping[number]
        if dropped is not None:
            to = np.where(to == dropped, -1, np.where(to > dropped, to - 1, to))
            unknown = -1 if unknown in (dropped, -1) else unknown - (unknown > dropped)
            count -= 1
        codes = to if step.handle_unknown == "error" else np.append(to, unknown)
        found = graph.gather(codes.astype(np.int64), category(graph, _column(graph, table, number), categories))
        if count:
            hot = graph.apply("Equal", found, np.arange(count, dtype=np.int64)[None, :])
            parts.append(graph.cast(hot, np.dtype(step.dtype).name))
    return Table((graph.concat(parts),))


def _infrequent(step: Any, number: int) -> Array | None:
    mappings = getattr(step, "_default_to_infrequent_mappings", None)
    found: Array | None = None if mappings is None else mappings[number]
    return found


def ordinal(graph: Graph, step: Any, table: Table) -> Table:
    parts = []
    for number, categories in enumerate(step.categories_):
        infrequent = _infrequent(step, number)
        codes = (np.arange(len(categories)) if infrequent is None else np.asarray(infrequent)).astype(step.dtype)
        if number in step._missing_indices:
            codes = codes.astype(np.result_type(codes, type(step.encoded_missing_value)))
            codes[step._missing_indices[number]] = step.encoded_missing_value
        if step.handle_unknown == "use_encoded_value":
            codes = np.append(codes, np.asarray(step.unknown_value).astype(codes.dtype))
        elif step.handle_unknown != "error":
            raise UnknownStepError(f"OrdinalEncoder with handle_unknown={step.handle_unknown!r}")
        parts.append(graph.gather(codes, category(graph, _column(graph, table, number), categories)))
    return Table((graph.concat(parts),))


def target(graph: Graph, step: Any, table: Table) -> Table:
    if step.target_type_ == "multiclass":
        classes = len(step.classes_)
        order = [(number, one) for number in range(len(step.categories_)) for one in range(classes)]
    else:
        classes, order = 1, [(number, 0) for number in range(len(step.categories_))]
    parts = []
    for number, one in order:
        mean = np.atleast_1d(step.target_mean_)[one]
        table_of = np.append(step.encodings_[number * classes + one], mean).astype(np.float64)
        found = category(graph, _column(graph, table, number), step.categories_[number])
        parts.append(graph.gather(table_of, found))
    return Table((graph.concat(parts),))


def _column(graph: Graph, table: Table, number: int) -> Tensor:
    return table.select(graph, [number]).parts[0]


def bins(graph: Graph, step: Any, table: Table) -> Table:
    value = table.numbers(graph)
    if step.dtype is not None:
        value = graph.cast(value, np.dtype(step.dtype).name)
    parts = []
    for number, edges in enumerate(step.bin_edges_):
        inner = np.asarray(edges[1:-1])
        column = graph.columns(value, [number])
        if not len(inner):
            found = graph.cast(graph.apply("Equal", column, np.array([[np.nan]])), INT)
        else:
            above = graph.cast(graph.apply("GreaterOrEqual", column, inner[None, :]), INT)
            found = graph.sum(above)
        if step.encode == "ordinal":
            parts.append(graph.cast(found, value.dtype))
        else:
            hot = graph.apply("Equal", found, np.arange(int(step.n_bins_[number]), dtype=np.int64)[None, :])
            parts.append(graph.cast(hot, value.dtype))
    return Table((graph.concat(parts),))
