"""How does an XGBoost model (.ubj, .json) become ONNX that adds the same leaves in the same order?

The graph answers what `Booster.predict` answers. Rows are float32, thresholds are float32 and asked with `<`, margins
are added in float32 tree by tree, as XGBoost's CPU predictor does.
"""

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from reversible.errors import MissingSDKError, SourceError
from reversible_exporters import onnx_file, tabular_model_record, tabular_model_trees
from reversible_exporters import tabular_model_check as check
from reversible_exporters.tabular_model_graph import DOUBLE, FLOAT, Array, Graph, Tensor
from reversible_exporters.tabular_model_trees import Categories, Tree

_NAMES = ("xgboost-model", "model.json", "xgboost.json", "xgb.json", "xgboost_model.json")
_SUFFIXES = (".ubj", ".xgb", ".bst")
_SIGMOID = ("binary:logistic", "reg:logistic")
_EXP = ("count:poisson", "reg:gamma", "reg:tweedie", "survival:cox", "survival:aft")
_PLAIN = (
    "reg:squarederror", "reg:squaredlogerror", "reg:pseudohubererror", "reg:absoluteerror", "reg:quantileerror",
    "rank:ndcg", "rank:map", "rank:pairwise", "binary:logitraw", "reg:linear",
)  # fmt: skip
_TOLERANCE = 1e-6  # of the output: one exponential in float32


class XGBoostConverter:
    """Loads the booster, which is plain data, and writes its trees."""

    executes_vendor_code = False
    environment = "xgboost"

    def sources(self, names: Sequence[str]) -> Sequence[str]:
        """See `Converter`."""
        return [name for name in names if name.endswith(_SUFFIXES) or Path(name).name in _NAMES]

    def convert(self, source: Path, target: Path) -> dict[str, Any]:
        """Write `target`; see `Converter`."""
        try:
            import xgboost
        except ModuleNotFoundError as error:
            raise MissingSDKError("xgboost", extra="xgboost") from error
        try:
            booster = xgboost.Booster({"nthread": 1}, model_file=str(source))
            learner = json.loads(booster.save_raw("json"))["learner"]
        except (xgboost.core.XGBoostError, ValueError, KeyError) as error:
            reason = (str(error).strip().splitlines() or [""])[0][:200]
            raise SourceError(f"{source.name} is not a whole XGBoost model: {reason}") from error
        port = _Port(learner, source.name)
        graph = Graph()
        rows = graph.input("input", FLOAT, port.width)
        onnx_file.write(graph.model([("predictions", port.answer(graph, rows))], name="xgboost"), target)
        features = port.features()

        def original(columns: check.Columns) -> Array:
            matrix = xgboost.DMatrix(
                np.stack(columns, axis=1), feature_types=port.types, feature_names=learner["feature_names"] or None,
                enable_categorical=True, nthread=1,
            )  # fmt: skip
            said: Array = booster.predict(matrix)
            return said

        columns, refused = check.asked(original, check.probes(features))
        pairs = check.boundaries(original, columns, decided=False)
        columns = [np.concatenate([one, more]) for one, more in zip(columns, pairs, strict=True)]
        return {
            "framework": f"xgboost {xgboost.__version__}",
            "exporter": f"reversible, exact graph of {port.objective}",
            "classes": [],
            "columns": [{"name": one.name, "dtype": one.dtype} for one in features],
            "categories": port.named_categories(),
            "pickled_members": [],
            "parameters": tabular_model_record.put(target, graph, {}),
            **onnx_file.describe(target),
            "self_check": check.compare(
                target, original, columns, lambda given: {"input": np.stack(given, axis=1)}, tolerance=_TOLERANCE,
                decides=port.objective.startswith("multi:softprob"), refused=refused,
            ),
        }  # fmt: skip


class _Port:
    """A learner's JSON, read as XGBoost reads it."""

    def __init__(self, learner: dict[str, Any], name: str) -> None:
        self._name = name
        self._parameters = learner["learner_model_param"]
        self.objective = str(learner["objective"]["name"])
        booster = learner["gradient_booster"]
        self._kind = booster["name"]
        self._drop = booster.get("weight_drop")
        self._model = booster["gbtree"]["model"] if "gbtree" in booster else booster["model"]
        self.width = int(self._parameters["num_feature"])
        self._names = learner["feature_names"] or [f"column_{one}" for one in range(self.width)]
        self.types = learner["feature_types"] or None
        self._groups = max(1, int(self._parameters["num_class"]), int(self._parameters.get("num_target", 1)))
        if self.objective not in (*_SIGMOID, *_EXP, *_PLAIN, "binary:hinge", "multi:softprob", "multi:softmax"):
            raise SourceError(f"{name}: what the objective {self.objective} answers is not known")

    def answer(self, graph: Graph, rows: Tensor) -> Tensor:
        """(rows, outputs) float32: the margins, and what the objective makes of them."""
        margin = self._linear(graph, rows) if self._kind == "gblinear" else self._trees(graph, rows)
        if self.objective in _PLAIN:
            return margin
        if self.objective in _EXP:
            return _exp(graph, margin)
        if self.objective == "binary:hinge":
            return graph.cast(graph.apply("Greater", margin, 0.0), FLOAT)
        if self.objective == "multi:softmax":
            return graph.cast(graph.argmax(margin), FLOAT)
        if self.objective == "multi:softprob":
            risen = _exp(graph, graph.apply("Sub", margin, graph.sum(margin, kind="ReduceMax")))
            return graph.apply("Div", risen, graph.sum(risen))
        # common::Sigmoid: the exponent is bounded before the exponential
        below = graph.apply("Min", graph.one("Neg", margin), 88.7)
        one = graph.constant(np.ones((1, 1), np.float32))
        return graph.apply("Div", one, graph.apply("Add", _exp(graph, below), 1.0))

    def _start(self) -> Array:
        """The base score as a margin, (groups,) float32."""
        said = json.loads(str(self._parameters["base_score"])) if "[" in str(self._parameters["base_score"]) else [
            float(self._parameters["base_score"])
        ]  # fmt: skip
        base = np.asarray(said, dtype=np.float32)
        one = np.float32(1)
        if self.objective in _SIGMOID:
            base = -np.log(one / base - one)
        elif self.objective in _EXP:
            base = np.log(base)
        return np.broadcast_to(base, (self._groups,)).astype(np.float32)

    def _trees(self, graph: Graph, rows: Tensor) -> Tensor:
        found, groups = self._model["trees"], list(map(int, self._model["tree_info"]))
        weights = np.ones(len(found), np.float32) if self._drop is None else np.asarray(self._drop, np.float32)
        splits = {
            feature: Categories(known=1 + max(int(one) for tree in found for one in tree["categories"] or [0]))
            for feature in sorted({int(tree["split_indices"][node]) for tree in found for node in _by_category(tree)})
        }
        numbered = [_columns(tree, splits) for tree in found]
        codes = {}
        for feature, one in splits.items():
            column = graph.columns(rows, [feature])
            column = graph.where(graph.apply("Less", column, 0.0), np.full((1, 1), one.known, np.float32), column)
            codes[feature] = tabular_model_trees.code(graph, column, one.known, truncated=True)
        wide, begins = tabular_model_trees.with_categories(graph, rows, codes, splits)
        grown = []
        for tree, columns, weight in zip(found, numbered, weights, strict=True):
            plain = self._tree(tree, weight)
            at = [one if one < 0 else begins[int(plain.feature[node])] + one for node, one in enumerate(columns)]
            grown.append(tabular_model_trees.on_columns(plain, at))
        leaf = tabular_model_trees.leaves(graph, wide, grown, strict=True)
        start, parts = self._start(), []
        for group in range(self._groups):
            only = [number for number, one in enumerate(groups) if one == group]
            parts.append(
                tabular_model_trees.total(graph, leaf, grown, start=start[group : group + 1], only=only)
                if only
                else graph.apply(
                    "Add", graph.apply("Mul", graph.cast(graph.columns(leaf, [0]), FLOAT), 0.0), start[group]
                )
            )
        return graph.concat(parts)

    def _tree(self, tree: dict[str, Any], weight: np.float32) -> Tree:
        if int(tree["tree_param"]["size_leaf_vector"]) > 1:
            raise SourceError(f"{self._name}: trees whose leaves hold vectors are not handled")
        left = np.asarray(tree["left_children"], dtype=np.int64)
        conditions = np.asarray(tree["split_conditions"], dtype=np.float32)
        return Tree(
            feature=np.asarray(tree["split_indices"], dtype=np.int64), threshold=conditions, left=left,
            right=np.asarray(tree["right_children"], dtype=np.int64),
            missing_left=np.asarray(tree["default_left"], dtype=bool), values=(weight * conditions)[:, None],
        )  # fmt: skip

    def _linear(self, graph: Graph, rows: Tensor) -> Tensor:
        """gblinear: a missing value adds nothing."""
        weights = np.asarray(self._model["weights"], dtype=np.float32).reshape(self.width + 1, self._groups)
        graph.originals["weights"] = weights[:-1]
        there = graph.where(graph.is_nan(rows), np.zeros((1, 1), np.float32), rows)
        return graph.apply("Add", graph.matmul(there, weights[:-1]), (weights[-1] + self._start())[None, :])

    def features(self) -> list[check.Feature]:
        """The columns, with the values that the trees ask for."""
        found = [check.Feature(str(name), FLOAT, []) for name in self._names]
        for tree in self._model.get("trees", [])[:200]:
            leaf = np.asarray(tree["left_children"]) < 0
            for node in np.flatnonzero(~leaf).tolist():
                one = found[int(tree["split_indices"][node])]
                if len(one.examples) < 300:
                    one.examples.append(float(tree["split_conditions"][node]))
            for node in _by_category(tree):
                found[int(tree["split_indices"][node])].examples += list(map(float, _categories(tree, node)))
        for one in found:
            one.examples = [value for value in one.examples if np.isfinite(value)]
            if one.examples:
                spread = max(one.examples) - min(one.examples) or 1.0
                one.low, one.high = min(one.examples) - 0.2 * spread, max(one.examples) + 0.2 * spread
        return found

    def named_categories(self) -> dict[str, list[str]]:
        """By column: what the codes 0, 1, 2, ... were called in the data frame of the training."""
        named = {}
        for name, one in zip(self._names, self._model.get("cats", {}).get("enc", []), strict=False):
            ends = one.get("offsets") or []
            if ends:
                content = bytes(value % 256 for value in one["values"])
                named[str(name)] = [content[at:to].decode() for at, to in itertools.pairwise(ends)]
        return named


def _by_category(tree: dict[str, Any]) -> list[int]:
    return list(map(int, tree["categories_nodes"]))


def _categories(tree: dict[str, Any], node: int) -> list[int]:
    """The categories of a node that go right."""
    place = _by_category(tree).index(node)
    begin, size = int(tree["categories_segments"][place]), int(tree["categories_sizes"][place])
    return list(map(int, tree["categories"][begin : begin + size]))


def _columns(tree: dict[str, Any], splits: dict[int, Categories]) -> list[int]:
    """Per node the column of its feature's table, -1 where it splits a number."""
    columns = [-1] * len(tree["left_children"])
    for node in _by_category(tree):
        one = splits[int(tree["split_indices"][node])]
        left = np.ones(one.known + 2, dtype=bool)  # a category that no split knows goes left
        left[_categories(tree, node)] = False
        left[-1] = bool(tree["default_left"][node])
        columns[node] = one.column(left)
    return columns


def _exp(graph: Graph, value: Tensor) -> Tensor:
    """exp in float32, rounded once: what a good C library gives in nearly all cases."""
    return graph.cast(graph.one("Exp", graph.cast(value, DOUBLE)), FLOAT)
