"""What a tabular model learned is in its file, number by number and question by question; whoever changes one is named.

No input of any golden set need reach it: the answers are not asked here.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import onnx
import pytest
import served_model
from onnx import numpy_helper
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import GradientBoostingRegressor, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from reversible.bundle.reader import Bundle
from reversible.equivalence import trees
from reversible.errors import BundleError
from reversible.findings import Finding
from reversible_exporters.sklearn_onnx import SklearnConverter
from reversible_verifiers import parameters
from reversible_verifiers.model_package import ModelPackage

Change = Callable[[onnx.ModelProto, Path], None]
DRAW = np.random.default_rng(5)
ROWS = DRAW.normal(size=(200, 5))
ROWS[DRAW.random(ROWS.shape) < 0.1] = np.nan
TARGET = (np.nan_to_num(ROWS[:, 0]) > 0).astype(int) + (np.nan_to_num(ROWS[:, 1]) > 0.5)
TEXTS = ["très bon café", "mauvais goût", "l'été à Paris", "café brûlé", "Zoé adore", "bon goût à refaire"] * 5


def _mixed() -> Any:
    table = np.empty((200, 4), object)
    table[:, 0], table[:, 1] = ROWS[:, 0], ROWS[:, 1]
    table[:, 2] = DRAW.choice(["été", "hiver", "automne"], 200)
    table[:, 3] = DRAW.choice(["a", "b", "c"], 200)
    return table


def _columns() -> Any:
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    encoded = ColumnTransformer([("n", numbers, [0, 1]), ("c", OneHotEncoder(handle_unknown="ignore"), [2, 3])])
    return make_pipeline(encoded, LogisticRegression()).fit(_mixed(), TARGET)


MODELS: dict[str, Callable[[], Any]] = {
    "forest": lambda: make_pipeline(
        SimpleImputer(), StandardScaler(), RandomForestClassifier(6, max_depth=5, random_state=0)).fit(ROWS, TARGET),
    "boosting": lambda: GradientBoostingRegressor(n_estimators=5).fit(np.nan_to_num(ROWS), ROWS[:, 1] ** 2 > 1),
    "histogram": lambda: HistGradientBoostingClassifier(max_iter=4).fit(ROWS, TARGET),
    "columns": _columns,
    "texts": lambda: make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(TEXTS, [1, 0, 1, 0, 1, 1] * 5),
}  # fmt: skip


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The bundle of each model, as it left."""
    found = {}
    for name, make in MODELS.items():
        root = tmp_path_factory.mktemp(name)
        bundle = served_model.write(root / "bundle", asked=served_model.questions(20))
        joblib.dump(make(), root / "model.joblib")
        folder = bundle.folder(served_model.ASSET)
        (folder / "golden/parameters.json").unlink()
        SklearnConverter().convert(root / "model.joblib", folder / "model.onnx")
        found[name] = root / "bundle"
    return found


def look(bundle: Bundle) -> dict[str, Finding]:
    return {one.metric.removeprefix("model."): one for one in parameters.findings(served_model.ASSET, bundle)}


def changed(shipped: dict[str, Path], name: str, change: Change, to: Path) -> dict[str, Finding]:
    shutil.copytree(shipped[name], to / "bundle")
    bundle = Bundle.open(to / "bundle")
    path = bundle.folder(served_model.ASSET) / "model.onnx"
    model = onnx.load(str(path))
    change(model, path.parent)
    path.write_bytes(model.SerializeToString())
    return look(bundle)


@pytest.mark.parametrize("name", MODELS)
def test_what_left_whole_is_there(shipped: dict[str, Path], name: str) -> None:
    found = look(Bundle.open(shipped[name]))

    assert found["parameters_altered"].value == 0
    assert found["parameters_altered"].facts["parameters"]
    assert found["parameters_found_pct"].value == 100
    package = ModelPackage().verify(served_model.ASSET, Bundle.open(shipped[name]))
    assert [one.places for one in package if one.metric == "model.unsafe_payloads"] == [()]  # no file of it surprises


def _tree(model: onnx.ModelProto) -> onnx.NodeProto:
    return next(node for node in model.graph.node if node.op_type == "TreeEnsembleRegressor")


def _list(model: onnx.ModelProto, name: str) -> Any:
    attribute = next(one for one in _tree(model).attribute if one.name == name)
    return attribute.ints or attribute.floats or attribute.strings


def _first_branch(model: onnx.ModelProto, after: int = 0) -> int:
    modes = _list(model, "nodes_modes")
    return next(at for at in range(after, len(modes)) if modes[at] != b"LEAF")


def below(model: onnx.ModelProto, _: Path) -> None:
    _list(model, "nodes_modes")[_first_branch(model, 20)] = b"BRANCH_LT"


def next_threshold(model: onnx.ModelProto, _: Path) -> None:
    at = _first_branch(model, 20)
    values = next((one for one in _tree(model).attribute if one.name == "nodes_values_as_tensor"), None)
    if values is None:
        numbers = _list(model, "nodes_values")
        numbers[at] = np.nextafter(np.float32(numbers[at]), np.float32(9))
        return
    array = numpy_helper.to_array(values.t).copy()
    array[at] = np.nextafter(array[at], 9)
    values.t.CopyFrom(numpy_helper.from_array(array))


def other_feature(model: onnx.ModelProto, _: Path) -> None:
    at = _first_branch(model, 20)
    _list(model, "nodes_featureids")[at] = (_list(model, "nodes_featureids")[at] + 1) % 5


def exchanged_branches(model: onnx.ModelProto, _: Path) -> None:
    at = _first_branch(model)
    left, right = _list(model, "nodes_truenodeids"), _list(model, "nodes_falsenodeids")
    left[at], right[at] = right[at], left[at]


def missing_right(model: onnx.ModelProto, _: Path) -> None:
    at = _first_branch(model, 20)
    _list(model, "nodes_missing_value_tracks_true")[at] ^= 1


def leaves_exchanged(model: onnx.ModelProto, _: Path) -> None:
    weights = next(one for one in _tree(model).attribute if one.name.startswith("target_weights"))
    if weights.floats:
        weights.floats[0], weights.floats[1] = weights.floats[1], weights.floats[0]
        return
    array = numpy_helper.to_array(weights.t).copy()
    array[[0, 1]] = array[[1, 0]]
    weights.t.CopyFrom(numpy_helper.from_array(array))


def gone(model: onnx.ModelProto, _: Path) -> None:
    _tree(model).name = "another"


TREES: dict[str, tuple[Change, str]] = {
    "< for <=": (below, "< for <="),
    "the next threshold": (next_threshold, "threshold "),
    "another feature": (other_feature, "asks feature "),
    "branches exchanged": (exchanged_branches, "another node on the left"),
    "missing values": (missing_right, "missing values go the other way"),
    "leaves exchanged": (leaves_exchanged, "its leaves are numbered otherwise"),
    "gone": (gone, "its trees are not in the file"),
}


@pytest.mark.parametrize("name", ["forest", "boosting", "histogram"])
@pytest.mark.parametrize("damage", TREES)
def test_a_question_that_was_changed_is_named(shipped: dict[str, Path], tmp_path: Path, name: str, damage: str) -> None:
    change, said = TREES[damage]
    found = changed(shipped, name, change, tmp_path)["parameters_altered"]

    assert found.value == (2 if damage == "branches exchanged" else 1)
    assert said in found.places[0]
    assert damage in ("leaves exchanged", "gone") or "tree " in found.places[0]
    assert damage in ("leaves exchanged", "gone") or "node " in found.places[0]


def of_constant(change: Callable[[Any], Any], wanted: Callable[[Any], bool]) -> Change:
    def apply(model: onnx.ModelProto, _: Path) -> None:
        for tensor in model.graph.initializer:
            if tensor.data_type == onnx.TensorProto.STRING:
                continue
            array = numpy_helper.to_array(tensor)
            if array.dtype.kind == "f" and wanted(array):
                tensor.CopyFrom(numpy_helper.from_array(change(array.copy()), tensor.name))
                return
        raise AssertionError("no such constant")

    return apply


def _nudged(array: Any) -> Any:
    array.reshape(-1)[3] += 1e-6
    return array


def renamed(to: bytes) -> Change:
    def apply(model: onnx.ModelProto, _: Path) -> None:
        for tensor in model.graph.initializer:
            if tensor.data_type == onnx.TensorProto.STRING and "été".encode() in tensor.string_data:
                at = list(tensor.string_data).index("été".encode())
                tensor.string_data[at] = to
                return
        raise AssertionError("no such category")

    return apply


def of_rules(change: Callable[[dict[str, Any]], None]) -> Change:
    def apply(_: onnx.ModelProto, folder: Path) -> None:
        (path,) = (folder / "processing").glob("*.json")
        rules = json.loads(path.read_text(encoding="utf-8"))
        change(rules)
        path.write_text(json.dumps(rules, ensure_ascii=False), encoding="utf-8")

    return apply


def _two_words(rules: dict[str, Any]) -> None:
    rules["vocabulary"][2], rules["vocabulary"][5] = rules["vocabulary"][5], rules["vocabulary"][2]


def _leaf_table(array: Any) -> bool:
    return array.size > 15


OTHERS: dict[str, tuple[str, Change, str]] = {
    "a leaf of a forest": ("forest", of_constant(_nudged, _leaf_table), "leaves of"),
    "a leaf of boosting": ("boosting", of_constant(_nudged, _leaf_table), "leaves of"),
    "what stands for a missing value": (
        "forest", of_constant(_nudged, lambda one: one.shape == (1, 5)), "simpleimputer.statistics_"),
    "a coefficient": ("columns", of_constant(_nudged, lambda one: one.shape == (8, 3)), "logisticregression.coef_"),
    "a category": ("columns", renamed(b"ete"), "categories_.0"),
    "a category, as long": ("columns", renamed("etè".encode()), "categories_.0"),
    "a weight of a word": ("texts", of_constant(_nudged, lambda one: one.size > 10), "tfidfvectorizer.idf_"),
    "two words": ("texts", of_rules(_two_words), "vocabulary"),
    "a word": ("texts", of_rules(lambda rules: rules["vocabulary"].__setitem__(0, "adorent")), "vocabulary"),
    "capital letters": ("texts", of_rules(lambda rules: rules.update(lowercase=False)), "rules"),
    "letters for words": ("texts", of_rules(lambda rules: rules.update(token_pattern=r"\w+")), "rules"),
}  # fmt: skip


@pytest.mark.parametrize("damage", OTHERS)
def test_a_number_or_a_word_that_was_changed_is_named(shipped: dict[str, Path], tmp_path: Path, damage: str) -> None:
    name, change, said = OTHERS[damage]
    found = changed(shipped, name, change, tmp_path)["parameters_altered"]

    assert found.value == 1
    assert said in found.places[0]


def test_a_threshold_between_two_floats_parts_the_same_numbers(shipped: dict[str, Path]) -> None:
    """Float64 thresholds of trees that are asked float32 numbers: rounded down they ask the same, rounded up not."""
    exact = np.array([0.1, -0.1, 1e-50, 3.0])
    down = np.nextafter(exact.astype(np.float32), np.float32(-np.inf))
    near = np.where(exact.astype(np.float32).astype(float) > exact, down, exact.astype(np.float32)).astype(np.float32)

    assert trees._told_apart(near, exact, strict=False).tolist() == [True] * 4
    assert trees._told_apart(np.nextafter(near, np.float32(9)), exact, strict=False).tolist() == [False] * 4


@pytest.mark.parametrize("content", [b"no archive", b""])
def test_a_damaged_record_of_trees_is_refused(shipped: dict[str, Path], tmp_path: Path, content: bytes) -> None:
    with pytest.raises(BundleError, match=r"trees\.npz cannot be read"):
        changed(shipped, "forest", lambda _, folder: _write(folder / "golden/trees.npz", content), tmp_path)


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)
