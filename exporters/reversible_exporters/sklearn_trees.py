"""What do scikit-learn's trees, forests and boosted trees answer, in its own order of operations?"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from reversible_exporters import tabular_model_trees as trees
from reversible_exporters.sklearn_preprocessing import transform
from reversible_exporters.tabular_model_graph import DOUBLE, FLOAT, INT, Array, Graph, Tensor
from reversible_exporters.tabular_model_table import Table, UnknownStepError
from reversible_exporters.tabular_model_trees import Tree


def of(tree: Any, values: Array) -> Tree:
    """scikit-learn's `tree_` with (nodes, outputs) values."""
    left = np.asarray(tree.children_left, dtype=np.int64)
    missing = getattr(tree, "missing_go_to_left", None)
    return Tree(
        feature=np.where(left < 0, -1, tree.feature).astype(np.int64),
        threshold=np.asarray(tree.threshold, dtype=np.float64),
        left=left,
        right=np.asarray(tree.children_right, dtype=np.int64),
        missing_left=np.zeros(len(left), bool) if missing is None else np.asarray(missing, dtype=bool),
        values=np.ascontiguousarray(values),
    )


def forest(graph: Graph, model: Any, table: Table, *, output: int = 0) -> Tensor:
    """The mean over the trees: (rows, classes), or (rows, outputs) of a regressor. A single tree is a forest of one."""
    members = list(getattr(model, "estimators_", [model]))
    grown = [of(one.tree_, _said(one, output)) for one in members]
    leaf = trees.leaves(graph, graph.cast(table.numbers(graph), FLOAT), grown)
    summed = trees.total(graph, leaf, grown)
    return summed if len(members) == 1 and members[0] is model else graph.apply("Div", summed, float(len(members)))


def _said(tree: Any, output: int) -> Array:
    if hasattr(tree, "n_classes_"):
        classes = int(np.atleast_1d(tree.n_classes_)[output])
        found: Array = tree.tree_.value[:, output, :classes]
        return found
    values: Array = tree.tree_.value[:, :, 0]
    return values


def gradient_boosting(graph: Graph, model: Any, table: Table) -> Tensor:
    """The raw predictions (rows, K): the initial ones plus learning_rate times each leaf, stage by stage."""
    rows = graph.cast(table.numbers(graph), FLOAT)
    stages = [one.tree_ for one in model.estimators_.ravel()]  # stage by stage, the outputs of each in their order
    grown = [of(one, model.learning_rate * one.value[:, :, 0]) for one in stages]
    if not isinstance(model.init_, str) and type(model.init_).__name__ not in ("DummyClassifier", "DummyRegressor"):
        raise UnknownStepError(f"gradient boosting begins with a {type(model.init_).__name__}")
    start = model._raw_predict_init(np.zeros((1, model.n_features_in_), dtype=np.float32))[0]
    leaf = trees.leaves(graph, rows, grown)
    return _by_output(graph, leaf, grown, start)


def _by_output(graph: Graph, leaf: Tensor, grown: Sequence[Tree], start: Array) -> Tensor:
    outputs = len(start)
    return graph.concat(
        [
            trees.total(graph, leaf, grown, start=start[one : one + 1], only=range(one, len(grown), outputs))
            for one in range(outputs)
        ]
    )


def histogram_boosting(graph: Graph, model: Any, table: Table) -> Tensor:
    """The raw predictions (rows, K) of HistGradientBoosting: float64, categories and missing values included."""
    rows, categorical = _binned_columns(graph, model, table)
    codes = {one: trees.code(graph, graph.columns(rows, [one]), 256) for one in categorical}
    known_bits, position = model._bin_mapper.make_known_categories_bitsets()
    splits = {one: trees.Categories(known=256) for one in categorical}
    nodes = [one for stage in model._predictors for one in stage]
    numbered = []
    for one in nodes:
        columns = np.full(len(one.nodes), -1)
        for number in np.flatnonzero(one.nodes["is_categorical"] & ~one.nodes["is_leaf"]):
            feature = int(one.nodes["feature_idx"][number])
            left = _goes_left(one.nodes[number], one.raw_left_cat_bitsets, known_bits[position[feature]])
            columns[number] = splits[feature].column(left)
        numbered.append(columns.tolist())
    wide, begins = trees.with_categories(graph, rows, codes, splits)
    grown = [_histogram_tree(one.nodes, columns, begins) for one, columns in zip(nodes, numbered, strict=True)]
    leaf = trees.leaves(graph, wide, grown)
    return _by_output(graph, leaf, grown, np.ravel(model._baseline_prediction))


def _binned_columns(graph: Graph, model: Any, table: Table) -> tuple[Tensor, list[int]]:
    """The matrix that the trees ask, and which of its columns are categories: the encoded ones come first."""
    if model.is_categorical_ is None:
        return graph.cast(table.numbers(graph), DOUBLE), []
    if model._preprocessor is None:
        return graph.cast(table.numbers(graph), DOUBLE), np.flatnonzero(model.is_categorical_).tolist()
    chosen = np.flatnonzero(model.is_categorical_).tolist()
    others = np.flatnonzero(~model.is_categorical_).tolist()
    encoder = model._preprocessor.named_transformers_["encoder"]
    parts = [transform(graph, encoder, table.select(graph, chosen)).numbers(graph)]
    if others:
        parts.append(table.select(graph, others).numbers(graph))
    return graph.cast(graph.concat(parts), DOUBLE), list(range(len(chosen)))


def _goes_left(node: Any, left_bits: Array, known_bits: Array) -> Array:
    """What each category from 0 to 255 does, then any other value and a missing one."""

    def bits(words: Array) -> Array:
        return np.unpackbits(np.asarray(words, dtype="<u4").view(np.uint8), bitorder="little").astype(bool)

    missing = bool(node["missing_go_to_left"])
    left = np.where(bits(known_bits), bits(left_bits[node["bitset_idx"]]), missing)
    return np.append(left, [missing, missing])


def _histogram_tree(nodes: Any, columns: Sequence[int], begins: dict[int, int]) -> Tree:
    leaf = nodes["is_leaf"].astype(bool)
    plain = Tree(
        feature=np.where(leaf, -1, nodes["feature_idx"]).astype(np.int64),
        threshold=nodes["num_threshold"].astype(np.float64),
        left=np.where(leaf, -1, nodes["left"].astype(np.int64)),
        right=np.where(leaf, -1, nodes["right"].astype(np.int64)),
        missing_left=nodes["missing_go_to_left"].astype(bool),
        values=nodes["value"].astype(np.float64)[:, None],
    )
    wide = [one if one < 0 else begins[int(plain.feature[number])] + one for number, one in enumerate(columns)]
    return trees.on_columns(plain, wide)


def ada_boost_decision(graph: Graph, model: Any, table: Table) -> Tensor:
    """AdaBoostClassifier.decision_function: (rows, 1) of two classes, else (rows, classes)."""
    if any(type(one).__name__ not in ("DecisionTreeClassifier", "ExtraTreeClassifier") for one in model.estimators_):
        raise UnknownStepError("AdaBoostClassifier over something else than trees")
    classes = model.n_classes_
    grown = []
    for one, weight in zip(model.estimators_, model.estimator_weights_, strict=False):
        decided = one.classes_[np.argmax(one.tree_.value[:, 0, :], axis=1)]
        says = np.where(decided[:, None] == model.classes_[None, :], weight, -1 / (classes - 1) * weight)
        grown.append(of(one.tree_, says))
    leaf = trees.leaves(graph, graph.cast(table.numbers(graph), FLOAT), grown)
    summed = graph.apply("Div", trees.total(graph, leaf, grown), float(model.estimator_weights_.sum()))
    if classes > 2:
        return summed
    return graph.apply("Sub", graph.columns(summed, [1]), graph.columns(summed, [0]))


def ada_boost_value(graph: Graph, model: Any, table: Table) -> Tensor:
    """AdaBoostRegressor: the weighted median of the trees' answers."""
    if any(type(one).__name__ not in ("DecisionTreeRegressor", "ExtraTreeRegressor") for one in model.estimators_):
        raise UnknownStepError("AdaBoostRegressor over something else than trees")
    count = len(model.estimators_)
    grown = [of(one.tree_, one.tree_.value[:, :, 0]) for one in model.estimators_]
    leaf = trees.leaves(graph, graph.cast(table.numbers(graph), FLOAT), grown)
    answers = graph.concat([trees.total(graph, leaf, grown, only=[one]) for one in range(count)])
    size = graph.constant(np.array([count], dtype=np.int64))
    order = graph.node("TopK", graph.one("Neg", answers), size, dtype=DOUBLE, width=count, axis=1, name="sorted")
    graph.also("sorted", "sorted_order")
    index = Tensor("sorted_order", INT, count)
    weights = np.asarray(model.estimator_weights_)[:count]
    running = graph.node("CumSum", graph.gather(weights, index), graph.constant(np.int64(1)), dtype=DOUBLE, width=count)
    half = graph.apply("Mul", graph.columns(running, [count - 1]), 0.5)
    reached = graph.cast(graph.apply("GreaterOrEqual", running, half), INT)
    place = graph.argmax(reached)
    return graph.one("Neg", graph.node("GatherElements", order, place, dtype=DOUBLE, width=1, axis=1))
