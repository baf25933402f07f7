"""What do scikit-learn's transformers compute, operation by operation?

Each function writes what `transform` of one class does, in the same order and the same type. A class that is not here
is not guessed: skl2onnx is asked for that one step.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from reversible_exporters import sklearn_encoders, sklearn_foreign, sklearn_text
from reversible_exporters.tabular_model_graph import DOUBLE, FLOAT, TEXT, Array, Graph, Tensor
from reversible_exporters.tabular_model_table import MISSING, Table, UnknownStepError


def transform(graph: Graph, step: Any, table: Table) -> Table:
    """What `step.transform` makes of the table.

    Raises:
        UnknownStepError: the class is not one of those whose operations are known.
    """
    if step is None or isinstance(step, str):
        return table if step in (None, "passthrough") else Table(())
    name = type(step).__name__
    if sklearn_text.is_vectorizer(step):
        return sklearn_text.vectorizer(graph, step, table)
    if not type(step).__module__.startswith("sklearn."):
        raise UnknownStepError(f"no exact graph is known for {type(step).__module__}.{name}")
    if name in _STEPS:
        return _STEPS[name](graph, step, table)
    if hasattr(step, "get_support"):
        return table.select(graph, np.flatnonzero(step.get_support()).tolist())
    return Table(tuple(sklearn_foreign.outputs(graph, step, table).values()))


def _pipeline(graph: Graph, step: Any, table: Table) -> Table:
    for _, inner in step.steps:
        table = transform(graph, inner, table)
    return table


def _columns(graph: Graph, step: Any, table: Table) -> Table:
    """ColumnTransformer: the parts in the order of `transformers_`, side by side."""
    parts: list[Tensor] = []
    for name, inner, _ in step.transformers_:
        indexes = step._transformer_to_input_indices[name]
        if (isinstance(inner, str) and inner == "drop") or not len(indexes):
            continue
        parts += transform(graph, inner, table.select(graph, list(map(int, indexes)))).parts
    return Table(tuple(parts))


def _union(graph: Graph, step: Any, table: Table) -> Table:
    weights = step.transformer_weights or {}
    parts: list[Tensor] = []
    for name, inner in step.transformer_list:
        if isinstance(inner, str) and inner == "drop":
            continue
        made = transform(graph, inner, table)
        if name in weights:
            made = Table((graph.apply("Mul", made.numbers(graph), float(weights[name])),))
        parts += made.parts
    return Table(tuple(parts))


def _function(graph: Graph, step: Any, table: Table) -> Table:
    if step.func is None:
        return table
    value = table.matrix(graph)
    known: dict[Any, Callable[[], Tensor]] = {
        np.log: lambda: graph.one("Log", value),
        np.log1p: lambda: graph.one("Log", graph.apply("Add", value, 1.0)),
        np.exp: lambda: graph.one("Exp", value),
        np.sqrt: lambda: graph.one("Sqrt", value),
        np.abs: lambda: graph.one("Abs", value),
        np.square: lambda: graph.apply("Mul", value, value),
    }
    if step.kw_args or step.func not in known or value.dtype not in (FLOAT, DOUBLE):
        raise UnknownStepError(f"FunctionTransformer calls {getattr(step.func, '__name__', step.func)!r}")
    return Table((known[step.func](),))


def _row(values: Array, like: Tensor) -> Array:
    return np.asarray(values).astype(like.dtype)[None, :]


def _standard(graph: Graph, step: Any, table: Table) -> Table:
    value = table.numbers(graph)
    if step.with_mean:
        value = graph.apply("Sub", value, _row(step.mean_, value))
    if step.with_std:
        value = graph.apply("Div", value, _row(step.scale_, value))
    return Table((value,))


def _in_place(graph: Graph, kind: str, value: Tensor, other: Array) -> Tensor:
    """NumPy's `value *= other`: computed in the wider type, kept in the type of `value`."""
    return graph.cast(graph.apply(kind, value, other[None, :]), value.dtype)


def _min_max(graph: Graph, step: Any, table: Table) -> Table:
    value = table.numbers(graph)
    value = _in_place(graph, "Add", _in_place(graph, "Mul", value, step.scale_), step.min_)
    return Table((_clip(graph, value, *step.feature_range) if step.clip else value,))


def _max_abs(graph: Graph, step: Any, table: Table) -> Table:
    value = _in_place(graph, "Div", table.numbers(graph), step.scale_)
    return Table((_clip(graph, value, -1.0, 1.0) if getattr(step, "clip", False) else value,))


def _robust(graph: Graph, step: Any, table: Table) -> Table:
    value = table.numbers(graph)
    if step.with_centering:
        value = _in_place(graph, "Sub", value, step.center_)
    if step.with_scaling:
        value = _in_place(graph, "Div", value, step.scale_)
    return Table((value,))


def _clip(graph: Graph, value: Tensor, low: float, high: float) -> Tensor:
    """`numpy.clip`, which keeps NaN."""
    value = graph.where(graph.apply("Less", value, low), np.full((1, 1), low, value.dtype), value)
    return graph.where(graph.apply("Greater", value, high), np.full((1, 1), high, value.dtype), value)


def _normalizer(graph: Graph, step: Any, table: Table) -> Table:
    value = table.numbers(graph)
    if step.norm == "max":
        norm = graph.sum(graph.one("Abs", value), kind="ReduceMax")
    elif step.norm == "l1":
        norm = graph.sum(graph.one("Abs", value))
    else:
        norm = graph.one("Sqrt", graph.sum(graph.apply("Mul", value, value)))
    zero = graph.apply("Equal", norm, 0.0)
    return Table((graph.apply("Div", value, graph.where(zero, np.ones((1, 1), value.dtype), norm)),))


def _binarizer(graph: Graph, step: Any, table: Table) -> Table:
    value = table.numbers(graph)
    return Table((graph.cast(graph.apply("Greater", value, float(step.threshold)), value.dtype),))


def _imputer(graph: Graph, step: Any, table: Table) -> Table:
    value = table.matrix(graph)
    statistics = np.asarray(step.statistics_)
    wanted = step.missing_values
    if value.dtype == TEXT:
        if not (wanted is None or (isinstance(wanted, float) and np.isnan(wanted)) or wanted == MISSING):
            raise UnknownStepError(f"SimpleImputer looks for the text {wanted!r}")
        missing = graph.apply("Equal", value, np.array([[MISSING]], dtype=object))
    elif isinstance(wanted, float) and np.isnan(wanted):
        value = table.numbers(graph)
        missing = graph.is_nan(value)
    else:
        value = table.numbers(graph)
        missing = graph.apply("Equal", value, float(wanted))
    kept = list(range(value.width))
    if not step.keep_empty_features:
        kept = [index for index, one in enumerate(statistics.tolist()) if one is not None and one == one]
    fill = statistics[kept].astype(object if value.dtype == TEXT else value.dtype)[None, :]
    done = graph.where(graph.columns(missing, kept), fill, graph.columns(value, kept))
    if step.indicator_ is None:
        return Table((done,))
    seen = graph.columns(missing, [int(one) for one in step.indicator_.features_])
    return Table((done, graph.cast(seen, DOUBLE if value.dtype == TEXT else value.dtype)))


def _indicator(graph: Graph, step: Any, table: Table) -> Table:
    if not (isinstance(step.missing_values, float) and np.isnan(step.missing_values)):
        raise UnknownStepError("MissingIndicator looks for something else than NaN")
    return Table((graph.columns(graph.is_nan(table.numbers(graph)), [int(one) for one in step.features_]),))


def _polynomial(graph: Graph, step: Any, table: Table) -> Table:
    """x_i * (x_j * (x_k * ...)) for i <= j <= k, as PolynomialFeatures builds a degree on the one before it."""
    value = table.numbers(graph)
    powers = [np.repeat(np.arange(len(row)), row).tolist() for row in step.powers_]
    parts, first = [], 0
    while first < len(powers):
        degree = len(powers[first])
        same = [one for one in powers[first:] if len(one) == degree]
        first += len(same)
        if degree == 0:
            zero = graph.apply("Mul", graph.columns(value, [0]), 0.0)
            parts.append(graph.apply("Add", zero, 1.0))
            continue
        product = graph.columns(value, [one[-1] for one in same])
        for place in range(degree - 2, -1, -1):
            product = graph.apply("Mul", product, graph.columns(value, [one[place] for one in same]))
        parts.append(product)
    return Table((graph.concat(parts),))


def _power(graph: Graph, step: Any, table: Table) -> Table:
    """PowerTransformer, column by column, then its scaler."""
    value, parts = table.numbers(graph), []
    for number, power in enumerate(np.asarray(step.lambdas_).tolist()):
        column = graph.columns(value, [number])
        if step.method == "box-cox":
            parts.append(_box_cox(graph, column, power))
            continue
        above = _box_cox(graph, graph.apply("Add", column, 1.0), power)
        below = graph.one("Neg", _box_cox(graph, graph.apply("Add", graph.one("Neg", column), 1.0), 2 - power))
        parts.append(graph.where(graph.apply("GreaterOrEqual", column, 0.0), above, below))
    done = Table((graph.concat(parts),))
    return _standard(graph, step._scaler, done) if step.standardize else done


def _box_cox(graph: Graph, value: Tensor, power: float) -> Tensor:
    if abs(power) < np.spacing(1.0):
        return graph.one("Log", value)
    risen = graph.apply("Sub", graph.apply("Pow", value, power), 1.0)
    return graph.apply("Div", risen, power)


def _pca(graph: Graph, step: Any, table: Table) -> Table:
    value = graph.matmul(table.numbers(graph), step.components_.T)
    if step.mean_ is not None:
        value = graph.apply("Sub", value, (step.mean_.reshape(1, -1) @ step.components_.T).astype(value.dtype))
    if step.whiten:
        scale = np.sqrt(step.explained_variance_)
        smallest = np.finfo(scale.dtype).eps
        value = graph.apply("Div", value, np.where(scale < smallest, smallest, scale)[None, :])
    return Table((value,))


def _svd(graph: Graph, step: Any, table: Table) -> Table:
    return Table((graph.matmul(table.numbers(graph), step.components_.T),))


_STEPS: dict[str, Callable[[Graph, Any, Table], Table]] = {
    "Binarizer": _binarizer,
    "ColumnTransformer": _columns,
    "FeatureUnion": _union,
    "FunctionTransformer": _function,
    "KBinsDiscretizer": sklearn_encoders.bins,
    "MaxAbsScaler": _max_abs,
    "MinMaxScaler": _min_max,
    "MissingIndicator": _indicator,
    "Normalizer": _normalizer,
    "OneHotEncoder": sklearn_encoders.one_hot,
    "OrdinalEncoder": sklearn_encoders.ordinal,
    "PCA": _pca,
    "Pipeline": _pipeline,
    "PowerTransformer": _power,
    "PolynomialFeatures": _polynomial,
    "RobustScaler": _robust,
    "SimpleImputer": _imputer,
    "StandardScaler": _standard,
    "TfidfTransformer": sklearn_text.transformer,
    "TargetEncoder": sklearn_encoders.target,
    "TruncatedSVD": _svd,
}
