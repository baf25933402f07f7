"""A scikit-learn model leaves with 0 rows off: other rows than the self-check's, asked of both sides."""

import json
import warnings
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    AdaBoostClassifier,
    AdaBoostRegressor,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge, SGDClassifier
from sklearn.multioutput import MultiOutputClassifier
from sklearn.naive_bayes import GaussianNB, MultinomialNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import (
    KBinsDiscretizer,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    PowerTransformer,
    RobustScaler,
    StandardScaler,
    TargetEncoder,
)
from sklearn.svm import SVC, SVR, LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from reversible.errors import SourceError
from reversible.evaluator import Evaluator
from reversible.processing import terms
from reversible_exporters import sklearn_trees, tabular_model_trees
from reversible_exporters.sklearn_onnx import SklearnConverter

pytestmark = pytest.mark.filterwarnings("ignore")
DRAW = np.random.default_rng(0)
ROWS = DRAW.normal(3, 2, (300, 6))
THREE = (ROWS[:, 0] + ROWS[:, 1] * ROWS[:, 2] > 8).astype(int) + (ROWS[:, 3] > 4)
TWO = (THREE > 0).astype(int)
VALUE = ROWS[:, 0] ** 2 + ROWS[:, 4]
HOLES = np.where(DRAW.random(ROWS.shape) < 0.1, np.nan, ROWS)
CODES = np.c_[HOLES[:, :4], DRAW.integers(0, 12, (300, 2))]
BOTH = np.stack([TWO, ROWS[:, 4] > 3], axis=1).astype(int)

# name: (model, rows, target)
NUMBERS: dict[str, tuple[Any, Any, Any]] = {
    "forest behind a scaler": (
        make_pipeline(StandardScaler(), RandomForestClassifier(60, random_state=0)), ROWS, THREE),
    "logistic in float32": (make_pipeline(StandardScaler(), LogisticRegression()), ROWS.astype(np.float32), THREE),
    "tree on whole numbers": (make_pipeline(StandardScaler(), DecisionTreeClassifier()), np.round(ROWS), THREE),
    "forest with holes": (RandomForestClassifier(20, random_state=0), HOLES, THREE),
    "forest of values": (RandomForestRegressor(20, random_state=0), ROWS, VALUE),
    "forest of two outputs": (RandomForestClassifier(10, random_state=0), ROWS, BOTH),
    "extra trees": (ExtraTreesClassifier(20, random_state=0), ROWS, THREE),
    "tree of values": (DecisionTreeRegressor(), HOLES, VALUE),
    "boosting": (GradientBoostingClassifier(n_estimators=20), ROWS, THREE),
    "exponential boosting": (GradientBoostingClassifier(n_estimators=20, loss="exponential"), ROWS, TWO),
    "boosted values": (GradientBoostingRegressor(n_estimators=20), ROWS, VALUE),
    "histogram boosting": (HistGradientBoostingClassifier(max_iter=20), HOLES, THREE),
    "histogram boosting, codes": (
        HistGradientBoostingClassifier(max_iter=20, categorical_features=[4, 5]), CODES, THREE),
    "histogram boosting, counts": (HistGradientBoostingRegressor(max_iter=20, loss="poisson"), HOLES, VALUE + 20),
    "AdaBoost": (AdaBoostClassifier(n_estimators=15), ROWS, THREE),
    "AdaBoost of two": (AdaBoostClassifier(n_estimators=15), ROWS, TWO),
    "AdaBoost of values": (AdaBoostRegressor(n_estimators=15), ROWS, VALUE),
    "imputer and logistic": (
        make_pipeline(SimpleImputer(add_indicator=True), StandardScaler(), LogisticRegression()), HOLES, TWO),
    "logistic of three": (make_pipeline(RobustScaler(), LogisticRegression()), ROWS, THREE),
    "ridge": (Ridge(), ROWS, VALUE),
    "linear SVM": (LinearSVC(), ROWS, THREE),
    "SVM": (SVC(), ROWS, THREE),
    "SVM of values": (SVR(), ROWS, VALUE),
    "network": (make_pipeline(StandardScaler(), MLPClassifier(max_iter=40, random_state=0)), ROWS, THREE),
    "neighbours": (KNeighborsClassifier(), ROWS, THREE),
    "calibrated": (CalibratedClassifierCV(LinearSVC()), ROWS, THREE),
    "calibrated by steps": (CalibratedClassifierCV(RandomForestClassifier(5), method="isotonic"), ROWS, TWO),
    "Bayes": (GaussianNB(), ROWS, THREE),
    "polynomials": (
        make_pipeline(PolynomialFeatures(3), StandardScaler(), LogisticRegression(max_iter=900)), ROWS, TWO),
    "powers": (make_pipeline(PowerTransformer(), LogisticRegression()), ROWS, THREE),
    "bins": (make_pipeline(KBinsDiscretizer(4), LogisticRegression()), ROWS, THREE),
    "vote": (
        VotingClassifier([("a", LogisticRegression()), ("b", RandomForestClassifier(5))], voting="soft"), ROWS, THREE),
    "stack": (StackingClassifier([("a", LogisticRegression()), ("b", RandomForestClassifier(5))]), ROWS, THREE),
    "two outputs": (MultiOutputClassifier(RandomForestClassifier(5)), ROWS, BOTH),
}  # fmt: skip


def converted(model: Any, folder: Path) -> tuple[dict[str, Any], Any]:
    joblib.dump(model, folder / "model.joblib")
    described = SklearnConverter().convert(folder / "model.joblib", folder / "model.onnx")
    return described, onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])


def answers(model: Any, rows: Any) -> Any:
    for method in ("predict_proba", "decision_function", "predict"):
        if hasattr(model, method):
            said = getattr(model, method)(rows)
            return np.stack([one[:, 1] for one in said], axis=1) if isinstance(said, list) else said
    raise AssertionError(model)


@pytest.mark.parametrize("case", NUMBERS.values(), ids=NUMBERS)
def test_every_unseen_row_gets_the_same_answer_and_decision(case: tuple[Any, Any, Any], tmp_path: Path) -> None:
    model, rows, target = case
    model.fit(rows, target)

    described, session = converted(model, tmp_path)

    fresh = np.random.default_rng(9)
    asked = np.r_[rows, rows[fresh.permutation(len(rows))] * fresh.choice([1.0, 0.97], (len(rows), 1))].astype(
        rows.dtype
    )
    (said,) = session.run(None, {"input": asked})
    expected = np.asarray(answers(model, asked)).reshape(len(asked), -1)
    exact = 1e-11 if asked.dtype == np.float64 else 1e-6
    assert np.abs(said - expected).max() <= exact * max(1.0, np.abs(expected).max())
    if expected.shape[1] > 1:
        assert (said.argmax(axis=1) == expected.argmax(axis=1)).all()
    (second,) = Evaluator(tmp_path / "model.onnx").run({"input": asked}).values()  # an engine of another make
    assert np.abs(second - expected).max() <= exact * max(1.0, np.abs(expected).max())
    assert set(described["domains"]) <= {"ai.onnx", "ai.onnx.ml"}
    assert described["self_check"]["rows_off"] == 0


def mixed() -> Any:
    table = np.empty((300, 4), object)
    table[:, 0], table[:, 1] = ROWS[:, 0], HOLES[:, 1]
    table[:, 2] = DRAW.choice(["été", "hiver", "Paris", "e\u0301te\u0301"], 300)
    table[:, 3] = DRAW.choice(np.array(["a", "b", "c", None], object), 300)
    return table


MIXED = mixed()
ENCODERS: dict[str, Any] = {
    "ignored": OneHotEncoder(handle_unknown="ignore"),
    "first dropped": OneHotEncoder(handle_unknown="ignore", drop="first"),
    "infrequent": OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=77),
    "numbered": OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2),
    "by target": TargetEncoder(random_state=0),
}


@pytest.mark.parametrize("encoder", ENCODERS.values(), ids=ENCODERS)
@pytest.mark.parametrize(
    "last", [LogisticRegression(), RandomForestClassifier(40, random_state=0)], ids=["logit", "forest"]
)
def test_texts_and_numbers_come_in_by_column(encoder: Any, last: Any, tmp_path: Path) -> None:
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    model = make_pipeline(ColumnTransformer([("n", numbers, [0, 1]), ("c", encoder, [2, 3])]), last)
    model.fit(MIXED, THREE)

    described, session = converted(model, tmp_path)

    asked = MIXED.copy()
    asked[::5, 2], asked[1::5, 3] = "Ete", "inconnu"
    fed = {
        f"column_{one}": np.where(asked[:, one : one + 1] == None, "", asked[:, one : one + 1]).astype(  # noqa: E711
            np.float64 if one < 2 else object
        )
        for one in range(4)
    }
    (said,) = session.run(None, fed)
    assert np.abs(said - model.predict_proba(asked)).max() < 1e-12
    assert [one["dtype"] for one in described["columns"]] == ["float64", "float64", "string", "string"]


def test_a_category_that_the_original_refuses_is_refused_here_too(tmp_path: Path) -> None:
    rows = np.round(ROWS[:, :2])
    model = make_pipeline(OneHotEncoder(), LogisticRegression()).fit(rows, TWO)

    _, session = converted(model, tmp_path)

    with pytest.raises(ValueError, match="unknown categories"):
        model.predict_proba([[99.0, 1.0]])
    with pytest.raises(Exception, match="out of data bounds"):
        session.run(None, {"input": np.array([[99.0, 1.0]])})


# --- texts -----------------------------------------------------------------------------------------------------

TEXTS = [
    "Le produit est très bon", "Ça été une déception, très mauvais", "café brûlé, mauvais café",
    "Zoé adore l’été à Paris", "service lent et mauvais goût", "très très bon, à refaire 🙂",
] * 8  # fmt: skip
GOOD = np.array([1, 0, 0, 1, 0, 1] * 8)
VECTORIZERS: dict[str, Any] = {
    "words": TfidfVectorizer(),
    "pairs without accents": TfidfVectorizer(
        strip_accents="unicode", ngram_range=(1, 2), sublinear_tf=True, stop_words=["le", "la"]
    ),
    "letters in ASCII": TfidfVectorizer(strip_accents="ascii", analyzer="char", ngram_range=(1, 3), norm="l1"),
    "letters of words": TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), use_idf=False),
    "counts": CountVectorizer(lowercase=False, token_pattern=r"(?u)\b\w+\b"),
    "yes or no": CountVectorizer(binary=True, min_df=2),
    "two ways": FeatureUnion([("w", TfidfVectorizer()), ("c", TfidfVectorizer(analyzer="char", ngram_range=(2, 2)))]),
}


def text_answers(folder: Path, described: dict[str, Any], session: Any, texts: list[str]) -> Any:
    """As the destination does it: rules from the files, counts from raw texts, the rest from the graph."""
    rules = [json.loads((folder / name).read_text(encoding="utf-8")) for name in described["processing"]]
    return session.run(None, {one["input"]: terms.counts(one, texts) for one in rules})[0]


@pytest.mark.parametrize("vectorizer", VECTORIZERS.values(), ids=VECTORIZERS)
@pytest.mark.parametrize(
    "last", [LogisticRegression(), RandomForestClassifier(10, random_state=0), MultinomialNB()],
    ids=["logit", "forest", "Bayes"],
)  # fmt: skip
def test_french_texts_get_the_same_decision_from_the_raw_text(vectorizer: Any, last: Any, tmp_path: Path) -> None:
    model = make_pipeline(vectorizer, last).fit(TEXTS, GOOD)

    described, session = converted(model, tmp_path)

    asked = [
        *TEXTS[:6],
        "ÉTÉ été e\u0301te\u0301",
        "",
        "l'été d’hiver",
        "inconnu",
        "CAFÉ " * 900,
        "naïve\u00a0cœur ŒUVRE İ",
    ]
    said = text_answers(tmp_path, described, session, asked)
    assert np.abs(said - model.predict_proba(asked)).max() < 1e-12


@pytest.fixture(scope="module")
def spam(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("texts")
    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 3), strip_accents="unicode")
    model = make_pipeline(FeatureUnion([("a", TfidfVectorizer()), ("b", vectorizer)]), SGDClassifier(loss="log_loss"))
    model.fit(TEXTS, GOOD)
    return model, folder, *converted(model, folder)


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=60) | st.text("éèàçùœ’ '\n aetéÉ\u0301\u00a0🙂", max_size=60))
def test_any_text_at_all_gets_the_same_answer(spam: Any, text: str) -> None:
    model, folder, described, session = spam
    said = text_answers(folder, described, session, [text])
    assert np.abs(said - model.predict_proba([text])).max() < 1e-12


def test_a_tokenizer_that_is_code_is_refused_by_name(tmp_path: Path) -> None:
    model = make_pipeline(CountVectorizer(tokenizer=str.split), LogisticRegression()).fit(TEXTS, GOOD)

    with pytest.raises(SourceError, match="tokenizer of its own, which is code and cannot travel"):
        converted(model, tmp_path)


# --- ties, and damage ------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from(["forest", "boosting", "histogram", "extra"]), st.booleans())
def test_ties_at_thresholds_fall_on_the_same_side(
    tmp_path_factory: pytest.TempPathFactory, seed: int, kind: str, scaled: bool
) -> None:
    draw = np.random.default_rng(seed)
    rows = draw.integers(0, 4, (80, 3)) / draw.choice([1, 3, 7, 10])  # many equal values, few of them exact in binary
    target = draw.integers(0, 3, 80)
    last = {
        "forest": RandomForestClassifier(7, random_state=seed),
        "extra": ExtraTreesClassifier(7, random_state=seed),
        "boosting": GradientBoostingClassifier(n_estimators=4, random_state=seed),
        "histogram": HistGradientBoostingClassifier(max_iter=4, min_samples_leaf=3),
    }[kind]
    model = (make_pipeline(StandardScaler(), last) if scaled else last).fit(rows, target)

    _, session = converted(model, tmp_path_factory.mktemp("ties"))

    middles = (rows[draw.permutation(80)] + rows) / 2
    asked = np.r_[rows, middles, np.nextafter(middles, 9), np.nextafter(middles, -9)]
    (said,) = session.run(None, {"input": asked})
    expected = model.predict_proba(asked)
    assert np.abs(said - expected).max() < 1e-12
    assert (said.argmax(axis=1) == expected.argmax(axis=1)).all() or kind in ("boosting", "histogram")


def strict(monkeypatch: pytest.MonkeyPatch) -> None:
    """Below the threshold instead of at most the threshold."""
    true = tabular_model_trees.leaves
    monkeypatch.setattr(tabular_model_trees, "leaves", lambda graph, rows, trees: true(graph, rows, trees, strict=True))


def nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    """A threshold rounded to the nearest float32 instead of down."""
    monkeypatch.setattr(tabular_model_trees, "_rounded", lambda threshold, kind, strict: threshold.astype(kind))


def early(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cast to float32 before the scaler instead of after it."""
    true = StandardScaler.transform
    monkeypatch.setattr(StandardScaler, "transform", lambda self, rows: true(self, np.asarray(rows, np.float32)))


def one_leaf(monkeypatch: pytest.MonkeyPatch) -> None:
    """One leaf of one tree says something else."""
    true = sklearn_trees.of

    def other(tree: Any, values: Any) -> Any:
        values = values.copy()
        values[np.flatnonzero(tree.children_left < 0)[3]] += 1e-6
        return true(tree, values)

    monkeypatch.setattr(sklearn_trees, "of", other)


@pytest.mark.parametrize("damage", [strict, nearest, early, one_leaf], ids=lambda one: one.__name__)
def test_the_self_check_refuses_a_graph_that_is_wrong_in_few_rows(
    damage: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_pipeline(StandardScaler(), RandomForestClassifier(20, random_state=1)).fit(ROWS, THREE)
    damage(monkeypatch)

    with pytest.raises(SourceError, match="answers otherwise in"):
        converted(model, tmp_path)


def test_the_type_in_which_the_original_is_asked_is_said_when_it_matters(tmp_path: Path) -> None:
    forest = make_pipeline(StandardScaler(), RandomForestClassifier(60, random_state=0)).fit(ROWS, THREE)

    described, _ = converted(forest, tmp_path)

    assert described["inputs"][0]["dtype"] == "double"
    assert any("asked in float32, the original answers otherwise in" in note for note in described["notes"])


def test_a_model_saved_by_another_version_says_so(tmp_path: Path) -> None:
    model = LogisticRegression().fit(ROWS, TWO)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        joblib.dump(model, tmp_path / "model.joblib")
    content = (tmp_path / "model.joblib").read_bytes()
    from sklearn import __version__

    assert content.count(__version__.encode()) == 1
    (tmp_path / "model.joblib").write_bytes(content.replace(__version__.encode(), b"1.7.1"))

    described = SklearnConverter().convert(tmp_path / "model.joblib", tmp_path / "model.onnx")

    assert any("saved by scikit-learn 1.7.1" in note for note in described["notes"])
