"""Models of scikit-learn as skl2onnx writes them, in ai.onnx.ml's operators: both engines give the same answers."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime
import pytest

from reversible.evaluator import Evaluator

sklearn = pytest.importorskip("sklearn")
skl2onnx = pytest.importorskip("skl2onnx")

from skl2onnx.common import data_types  # noqa: E402
from sklearn import (  # noqa: E402
    compose,
    datasets,
    ensemble,
    impute,
    linear_model,
    naive_bayes,
    neighbors,
    neural_network,
    pipeline,
    preprocessing,
    svm,
    tree,
)

MODELS: dict[str, Callable[[], Any]] = {
    "logistic regression": lambda: linear_model.LogisticRegression(max_iter=500),
    "linear regression": lambda: linear_model.LinearRegression(),
    "decision tree": lambda: tree.DecisionTreeClassifier(max_depth=5),
    "random forest": lambda: ensemble.RandomForestClassifier(20, max_depth=6),
    "forest regressor": lambda: ensemble.RandomForestRegressor(10, max_depth=6),
    "boosting": lambda: ensemble.GradientBoostingClassifier(n_estimators=10),
    "svm with probabilities": lambda: svm.SVC(probability=True),
    "svm, polynomial": lambda: svm.SVC(kernel="poly", degree=3),
    "svm regressor": lambda: svm.SVR(),
    "nearest neighbours": lambda: neighbors.KNeighborsClassifier(3),
    "naive bayes": lambda: naive_bayes.GaussianNB(),
    "perceptron": lambda: neural_network.MLPClassifier((8,), max_iter=50),
    "normalised": lambda: pipeline.make_pipeline(preprocessing.Normalizer("l1"), linear_model.RidgeClassifier()),
    "imputed, scaled, binarised": lambda: pipeline.make_pipeline(
        impute.SimpleImputer(), preprocessing.MinMaxScaler(), preprocessing.Binarizer(threshold=0.3),
        linear_model.LogisticRegression(),
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("data", ["two classes", "three classes"])
@pytest.mark.parametrize("name", MODELS)
def test_a_model_of_scikit_learn(name: str, data: str) -> None:
    load = datasets.load_breast_cancer if data == "two classes" else datasets.load_wine
    x, y = load(return_X_y=True)
    x = preprocessing.StandardScaler().fit_transform(x).astype(np.float32)
    model = MODELS[name]()
    if "random_state" in model.get_params():
        model.set_params(random_state=0)
    model.fit(x, y)
    options = {id(model): {"zipmap": False}} if hasattr(model, "classes_") else None
    exported = skl2onnx.to_onnx(model, x[:1], options=options, target_opset={"": 18, "ai.onnx.ml": 3})

    theirs = onnxruntime.InferenceSession(exported.SerializeToString()).run(None, {"X": x})
    engine = Evaluator(exported)
    ours = engine.run({"X": x})

    for value, expected in zip(engine.outputs, theirs, strict=True):
        if expected.dtype.kind == "f":
            np.testing.assert_allclose(ours[value.name], expected, rtol=1e-4, atol=2e-5)
        else:
            np.testing.assert_array_equal(ours[value.name], expected)


@pytest.mark.filterwarnings("ignore")
def test_columns_of_texts_and_numbers_and_classes_that_are_words() -> None:
    rng = np.random.default_rng(0)
    colours = rng.choice(["rouge", "vert", "bleu", "été"], 200).astype(object)[:, None]
    sizes = rng.normal(size=(200, 2)).astype(np.float32)
    frame = np.concatenate([colours, sizes.astype(object)], axis=1)
    labels = np.where(sizes[:, 0] + (colours[:, 0] == "été") > 0, "oui", "non")
    model = pipeline.make_pipeline(
        compose.make_column_transformer(
            (preprocessing.OneHotEncoder(handle_unknown="ignore"), [0]),
            (preprocessing.StandardScaler(), [1, 2]),
        ),
        ensemble.GradientBoostingClassifier(n_estimators=10, random_state=0),
    ).fit(frame, labels)
    types = [("colour", data_types.StringTensorType([None, 1])), ("sizes", data_types.FloatTensorType([None, 2]))]
    exported = skl2onnx.convert_sklearn(model, initial_types=types, target_opset={"": 18, "ai.onnx.ml": 3})
    colours[3] = "inconnu"
    feeds = {"colour": colours, "sizes": sizes}

    theirs = onnxruntime.InferenceSession(exported.SerializeToString()).run(None, feeds)
    ours = list(Evaluator(exported).run(feeds).values())

    np.testing.assert_array_equal(ours[0], theirs[0])
    for one, two in zip(ours[1], theirs[1], strict=True):
        assert one == pytest.approx(two, abs=1e-5)
