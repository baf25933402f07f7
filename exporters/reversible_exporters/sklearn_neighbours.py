"""What do the nearest neighbours say: distances added up feature by feature, as scikit-learn's trees of points do?"""

from typing import Any

import numpy as np

from reversible_exporters.tabular_model_graph import DOUBLE, INT, Array, Graph, Tensor
from reversible_exporters.tabular_model_table import Table, UnknownStepError

_FEATURES = 512  # one step of the graph each
_METRICS = {"euclidean": 2, "l2": 2, "manhattan": 1, "cityblock": 1, "l1": 1}


def neighbours(graph: Graph, model: Any, table: Table) -> Tensor:
    """KNeighborsClassifier: the share of each class; KNeighborsRegressor: the mean. (rows, outputs) float64."""
    metric = _METRICS.get(model.effective_metric_, model.effective_metric_params_.get("p"))
    known = np.asarray(model._fit_X, dtype=np.float64)
    if metric not in (1, 2) or callable(model.weights) or model._fit_X.ndim != 2 or known.shape[1] > _FEATURES:
        raise UnknownStepError(f"{type(model).__name__} with the metric {model.effective_metric_}")
    rows = graph.cast(table.numbers(graph), DOUBLE)
    distance: Tensor | None = None
    for feature in range(known.shape[1]):
        away = graph.apply("Sub", graph.columns(rows, [feature]), known[None, :, feature])
        part = graph.apply("Mul", away, away) if metric == 2 else graph.one("Abs", away)
        distance = part if distance is None else graph.apply("Add", distance, part)
    assert distance is not None  # noqa: S101 - there is at least one feature
    count = int(model.n_neighbors)
    size = graph.constant(np.array([count], dtype=np.int64))
    nearest = graph.node("TopK", distance, size, dtype=DOUBLE, width=count, axis=1, largest=0, name="nearest")
    graph.also("nearest", "nearest_rows")
    answers = _answers(model)
    said = graph.node(
        "Gather", graph.constant(answers), Tensor("nearest_rows", INT, count), dtype=DOUBLE, width=count, axis=0
    )
    weights = _weights(graph, model, nearest, metric)
    lifted = graph.node("Unsqueeze", weights, graph.constant(np.array([2])), dtype=DOUBLE, width=count)
    axes = graph.constant(np.array([1], dtype=np.int64))
    weighed = graph.node("Mul", said, lifted, dtype=DOUBLE, width=count)
    summed = graph.node("ReduceSum", weighed, axes, dtype=DOUBLE, width=answers.shape[1], keepdims=0)
    return graph.apply("Div", summed, graph.sum(weights))


def _answers(model: Any) -> Array:
    """What each known row says, (known, outputs): its class as one of several columns, or its value."""
    said = np.asarray(model._y)
    if not hasattr(model, "classes_"):
        return said.reshape(len(said), -1).astype(np.float64)
    if isinstance(model.classes_, list):
        raise UnknownStepError("KNeighborsClassifier of several outputs")
    columns: Array = (said.reshape(-1, 1) == np.arange(len(model.classes_))[None, :]).astype(np.float64)
    return columns


def _weights(graph: Graph, model: Any, nearest: Tensor, metric: int) -> Tensor:
    """1 each, or 1 / distance; where a distance is 0, those at 0 alone count."""
    if model.weights != "distance":
        return graph.apply("Add", graph.apply("Mul", nearest, 0.0), 1.0)
    apart = graph.one("Sqrt", nearest) if metric == 2 else nearest
    zero = graph.cast(graph.apply("Equal", apart, 0.0), DOUBLE)
    found = graph.apply("Greater", graph.sum(zero), 0.0)
    return graph.where(found, zero, graph.apply("Div", graph.constant(np.ones((1, 1))), apart))
