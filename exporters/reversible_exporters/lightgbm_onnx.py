"""How does a LightGBM model (.txt) become ONNX that adds the same leaves in the same order?

The graph answers what `Booster.predict` answers: rows and sums in float64, thresholds asked with `<=`. What a missing
value does is decided by each split, as `NumericalDecision` and `CategoricalDecision` in LightGBM's tree.h do.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from reversible.errors import MissingSDKError, SourceError
from reversible_exporters import onnx_file, tabular_model_record, tabular_model_trees
from reversible_exporters import tabular_model_check as check
from reversible_exporters.tabular_model_graph import DOUBLE, Array, Graph, Tensor
from reversible_exporters.tabular_model_trees import Categories, Tree

_NAMES = ("model.txt", "lightgbm.txt", "lgb.txt", "lightgbm_model.txt", "lightgbm-model.txt", "lightgbm-model")
_SUFFIXES = (".lgb", ".lgbm")
_PLAIN = (
    "regression", "regression_l1", "huber", "fair", "quantile", "mape", "lambdarank", "rank_xendcg", "custom", "none",
    "",
)  # fmt: skip
_ZERO = float(np.float32(1e-35))  # kZeroThreshold = 1e-35f, and LightGBM takes |x| <= it for 0
_TOLERANCE = 1e-12  # of the output: one exponential in float64


class LightGBMConverter:
    """Reads the model's text, which is plain data, and writes its trees."""

    executes_vendor_code = False
    environment = "lightgbm"

    def sources(self, names: Sequence[str]) -> Sequence[str]:
        """See `Converter`."""
        return [name for name in names if name.endswith(_SUFFIXES) or Path(name).name in _NAMES]

    def convert(self, source: Path, target: Path) -> dict[str, Any]:
        """Write `target`; see `Converter`."""
        try:
            import lightgbm
        except ModuleNotFoundError as error:
            raise MissingSDKError("lightgbm", extra="lightgbm") from error
        try:
            text = source.read_text(encoding="utf-8")
            booster = lightgbm.Booster(model_str=text, params={"num_threads": 1, "verbosity": -1})
            port = _Port(text, source.name)
        except (lightgbm.basic.LightGBMError, ValueError, KeyError, IndexError) as error:
            reason = (str(error).strip().splitlines() or [""])[0][:200]
            raise SourceError(f"{source.name} is not a whole LightGBM model: {reason}") from error
        graph = Graph()
        rows = graph.input("input", DOUBLE, port.width)
        onnx_file.write(graph.model([("predictions", port.answer(graph, rows))], name="lightgbm"), target)
        features = port.features()

        def original(columns: check.Columns) -> Array:
            said: Array = booster.predict(np.stack(columns, axis=1), num_threads=1)
            return said

        columns, refused = check.asked(original, check.probes(features))
        pairs = check.boundaries(original, columns, decided=False)
        columns = [np.concatenate([one, more]) for one, more in zip(columns, pairs, strict=True)]
        return {
            "framework": f"lightgbm {lightgbm.__version__}",
            "exporter": f"reversible, exact graph of {port.objective or 'no objective'}",
            "classes": [],
            "columns": [{"name": one.name, "dtype": one.dtype} for one in features],
            "categories": port.named_categories,
            "pickled_members": [],
            "parameters": tabular_model_record.put(target, graph, {}),
            **onnx_file.describe(target),
            "self_check": check.compare(
                target, original, columns, lambda given: {"input": np.stack(given, axis=1)}, tolerance=_TOLERANCE,
                decides=port.objective.startswith("multiclass"), refused=refused,
            ),
        }  # fmt: skip


class _Port:
    """The text of a model: a header, one block per tree, parameters."""

    def __init__(self, text: str, name: str) -> None:
        self._name = name
        head, *blocks = text.partition("\nend of trees")[0].split("\nTree=")
        header = _pairs(head)
        self._trees = [_pairs(block) for block in blocks]
        self.width = int(header["max_feature_idx"]) + 1
        self._groups = int(header["num_tree_per_iteration"])
        self._average = "average_output" in head.splitlines()
        self.objective, *options = header.get("objective", "").split() or [""]
        self._options = dict(one.split(":") for one in options if ":" in one)
        self._squared = "sqrt" in options
        self._names = header["feature_names"].split(" ")
        self._infos = header["feature_infos"].split(" ")
        named = [line for line in text.splitlines() if line.startswith("pandas_categorical:")]
        lists = json.loads(named[-1].partition(":")[2]) if named else []
        categorical = [self._names[one] for one in sorted(self._split_by_category())]
        self.named_categories = {
            column: [str(one) for one in values] for column, values in zip(categorical, lists or [], strict=False)
        } if len(lists or []) == len(categorical) else {}  # fmt: skip
        if any(tree.get("is_linear", "0") != "0" for tree in self._trees):
            raise SourceError(f"{name}: trees with linear models in their leaves are not handled")

    def answer(self, graph: Graph, rows: Tensor) -> Tensor:
        """(rows, outputs) float64: the sums, and what the objective makes of them."""
        zero = graph.apply("LessOrEqual", graph.one("Abs", rows), _ZERO)  # LightGBM keeps no number that small
        raw = self._sums(graph, graph.where(zero, np.zeros((1, 1)), rows))
        if self._average:
            raw = graph.apply("Div", raw, float(len(self._trees) // self._groups))
        if self.objective in _PLAIN:
            return graph.apply("Mul", graph.one("Sign", raw), graph.apply("Mul", raw, raw)) if self._squared else raw
        if self.objective in ("poisson", "gamma", "tweedie"):
            return graph.one("Exp", raw)
        if self.objective in ("binary", "multiclassova", "cross_entropy", "xentropy"):
            risen = graph.one("Exp", graph.apply("Mul", raw, -float(self._options.get("sigmoid", 1))))
            return graph.apply("Div", graph.constant(np.ones((1, 1))), graph.apply("Add", risen, 1.0))
        if self.objective == "multiclass":
            return graph.softmax(raw)
        raise SourceError(f"{self._name}: what the objective {self.objective} answers is not known")

    def _split_by_category(self) -> set[int]:
        return {
            int(feature)
            for tree in self._trees
            if int(tree["num_leaves"]) > 1
            for feature, kind in zip(_ints(tree["split_feature"]), _ints(tree["decision_type"]), strict=True)
            if kind & 1
        }

    def _sums(self, graph: Graph, rows: Tensor) -> Tensor:
        largest = max([len(_ints(tree.get("cat_threshold", ""))) for tree in self._trees], default=0)
        splits = {feature: Categories(known=32 * max(1, largest)) for feature in sorted(self._split_by_category())}
        plain, numbered = [], []
        zeros: set[int] = set()  # features of which a split takes 0 for missing
        for tree in self._trees:
            made, columns = self._tree(tree, splits)
            plain.append(made)
            numbered.append(columns)
            zeros |= {int(made.feature[node]) for node, one in enumerate(columns) if one == _TAKES_ZERO}
        codes = {
            feature: tabular_model_trees.code(graph, graph.columns(rows, [feature]), one.known, truncated=True)
            for feature, one in splits.items()
        }
        wide, begins = tabular_model_trees.with_categories(graph, rows, codes, splits)
        holes, parts = {}, [wide]
        for feature in sorted(zeros):
            column = graph.columns(rows, [feature])
            zero = graph.apply("Equal", column, 0.0)
            holes[feature] = sum(part.width for part in parts)
            parts.append(graph.where(zero, np.full((1, 1), np.nan), column))
        grown = []
        for made, columns in zip(plain, numbered, strict=True):
            for node, one in enumerate(columns):
                if one == _TAKES_ZERO:
                    made.feature[node] = holes[int(made.feature[node])]
            at = [-1 if one < 0 else begins[int(made.feature[node])] + one for node, one in enumerate(columns)]
            grown.append(tabular_model_trees.on_columns(made, at))
        leaf = tabular_model_trees.leaves(graph, graph.concat(parts), grown)
        return graph.concat(
            [
                tabular_model_trees.total(graph, leaf, grown, only=range(group, len(grown), self._groups))
                for group in range(self._groups)
            ]
        )

    def _tree(self, tree: dict[str, str], splits: dict[int, Categories]) -> tuple[Tree, list[int]]:
        """A tree with its leaves after its splits, and per node its column: of categories, -1, or `_TAKES_ZERO`."""
        leaves = np.array([float(one) for one in tree["leaf_value"].split(" ")])
        count = int(tree["num_leaves"]) - 1
        if count == 0:
            none = np.array([-1])
            return Tree(
                feature=none, threshold=np.zeros(1), left=none, right=none, missing_left=np.zeros(1, bool),
                values=leaves[:1, None],
            ), [-1]  # fmt: skip

        def filled(values: Sequence[float], rest: float) -> Array:
            return np.array([*values, *([rest] * len(leaves))])

        def child(key: str) -> Array:
            return filled([one if one >= 0 else count - one - 1 for one in _ints(tree[key])], -1).astype(np.int64)

        kinds = _ints(tree["decision_type"])
        thresholds = [float(one) for one in tree["threshold"].split(" ")]
        features = _ints(tree["split_feature"])
        missing, columns = [], []
        for feature, kind, threshold in zip(features, kinds, thresholds, strict=True):
            how = (kind >> 2) & 3  # 0: none was seen, and NaN is taken for 0; 1: zero is missing; 2: NaN is missing
            missing.append(bool(kind & 2) if how else threshold >= 0.0)
            if kind & 1:
                columns.append(splits[feature].column(_goes_left(tree, int(threshold), splits[feature].known)))
            else:
                columns.append(_TAKES_ZERO if how == 1 else -1)
        made = Tree(
            feature=filled(features, -1).astype(np.int64), threshold=filled(thresholds, 0.0), left=child("left_child"),
            right=child("right_child"), missing_left=filled(missing, 0).astype(bool),
            values=np.concatenate([np.zeros(count), leaves])[:, None],
        )  # fmt: skip
        return made, [*columns, *([-1] * len(leaves))]

    def features(self) -> list[check.Feature]:
        """The columns, with the values that the trees ask for."""
        found = [check.Feature(name, DOUBLE, []) for name in self._names]
        for one, info in zip(found, self._infos, strict=True):
            if info.startswith("["):
                one.low, one.high = (float(end) for end in info[1:-1].split(":"))
            elif info != "none":
                one.examples = [float(code) for code in info.split(":")][:300]
                one.low, one.high = min(one.examples), max(one.examples)
        for tree in self._trees[:300]:
            if int(tree["num_leaves"]) < 2:
                continue
            for feature, kind, threshold in zip(
                _ints(tree["split_feature"]), _ints(tree["decision_type"]), tree["threshold"].split(" "), strict=True
            ):
                if not kind & 1 and len(found[feature].examples) < 300:
                    found[feature].examples.append(float(threshold))
        return found


_TAKES_ZERO = -2


def _goes_left(tree: dict[str, str], number: int, known: int) -> Array:
    """What each category does; any other value, a missing one too, goes right."""
    ends, words = _ints(tree["cat_boundaries"]), _ints(tree["cat_threshold"])
    chosen = np.array(words[ends[number] : ends[number + 1]], dtype="<u4")
    bits = np.unpackbits(chosen.view(np.uint8), bitorder="little").astype(bool)
    return np.concatenate([bits, np.zeros(known + 2 - len(bits), bool)])


def _pairs(block: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in block.splitlines() if "=" in line)


def _ints(text: str) -> list[int]:
    return [int(one) for one in text.split(" ") if one]
