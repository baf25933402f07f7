"""XGBoost, LightGBM and TensorFlow models leave through environments of their own: made and converted there, held here.

The environments are made by `reversible exporters --install NAME`; without them these tests are skipped, and with
REVERSIBLE_TESTS_NEED_TENSORFLOW=1 they fail.
"""

import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from reversible.equivalence import trees
from reversible.errors import SourceError
from reversible_exporters import conversion, environments
from reversible_exporters.tensorflow_onnx import TensorFlowConverter

pytestmark = pytest.mark.slow

BOOSTED = """
import sys, numpy as np
folder, kind = sys.argv[1:3]
draw = np.random.default_rng(3)
rows = draw.normal(3, 2, (400, 5)).round(2)
rows[draw.random(rows.shape) < 0.1] = np.nan
rows[draw.random(rows.shape) < 0.1] = 0
rows[:, 3], rows[:, 4] = draw.integers(0, 40, 400), draw.integers(0, 3, 400)
rows[::17, 3] = np.nan
target = ((np.nan_to_num(rows[:, 3]) % 7 < 3).astype(int) + (np.nan_to_num(rows[:, 0]) > 3))
two, value = (target > 0).astype(int), np.abs(np.nan_to_num(rows[:, 0])) + 1
asked = draw.normal(3, 2, (3000, 5)).round(2)
asked[draw.random(asked.shape) < 0.1] = np.nan
asked[draw.random(asked.shape) < 0.1] = 0
asked[:, 3], asked[:, 4] = draw.integers(-2, 45, 3000), draw.integers(0, 5, 3000)
asked[::9, 3] += 0.5
asked = np.r_[asked, rows]
"""
XGBOOST = """
import xgboost
options, labels, categorical = {
    "binary": ({"objective": "binary:logistic"}, two, False),
    "three": ({"objective": "multi:softprob", "num_class": 3}, target, False),
    "named": ({"objective": "multi:softmax", "num_class": 3}, target, False),
    "ranking": ({"objective": "rank:ndcg"}, two, False),
    "counts": ({"objective": "count:poisson"}, value, False),
    "dart": ({"objective": "binary:logistic", "booster": "dart", "rate_drop": 0.5}, two, False),
    "monotone": ({"objective": "reg:squarederror", "monotone_constraints": "(1,0,0,-1,0)"}, value, False),
    "based": ({"objective": "reg:squarederror", "base_score": 3.7}, value, False),
    "forest": ({"objective": "binary:logistic", "num_parallel_tree": 8, "subsample": 0.5}, two, False),
    "categories": ({"objective": "binary:logistic", "max_cat_to_onehot": 4}, two, True),
    "one of many": ({"objective": "multi:softprob", "num_class": 3, "max_cat_to_onehot": 99}, target, True),
    "raw": ({"objective": "binary:logitraw"}, two, False),
    "linear": ({"objective": "binary:logistic", "booster": "gblinear"}, two, False),
}[kind]
types = ["q", "q", "q", "c", "c"] if categorical else None
asked = asked.astype(np.float32)
train = xgboost.DMatrix(rows, labels, feature_types=types, enable_categorical=True)
if kind == "ranking":
    train.set_group([100] * 4)
model = xgboost.train({**options, "max_depth": 5, "nthread": 1}, train, 12)
model.save_model(folder + "/model.ubj")
said = model.predict(xgboost.DMatrix(asked, feature_types=types, enable_categorical=True))
np.savez(folder + "/said.npz", asked=asked, said=said)
"""
LIGHTGBM = """
import lightgbm
options, labels, categorical = {
    "binary": ({"objective": "binary"}, two, "auto"),
    "three": ({"objective": "multiclass", "num_class": 3}, target, "auto"),
    "one against all": ({"objective": "multiclassova", "num_class": 3}, target, "auto"),
    "roots": ({"objective": "regression", "reg_sqrt": True}, value, "auto"),
    "counts": ({"objective": "poisson"}, value, "auto"),
    "ranking": ({"objective": "lambdarank"}, two, "auto"),
    "dart": ({"objective": "binary", "boosting": "dart"}, two, "auto"),
    "forest": ({"objective": "binary", "boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.5}, two, "auto"),
    "categories": ({"objective": "binary", "min_data_per_group": 5, "cat_smooth": 1}, two, [3, 4]),
    "zero is missing": ({"objective": "binary", "zero_as_missing": True}, two, "auto"),
    "nothing is missing": ({"objective": "binary", "use_missing": False}, two, "auto"),
}[kind]
data = lightgbm.Dataset(rows, labels, categorical_feature=categorical, group=[100] * 4 if kind == "ranking" else None)
model = lightgbm.train({**options, "verbose": -1, "num_threads": 1, "min_data_in_leaf": 5}, data, 12)
model.save_model(folder + "/model.txt")
np.savez(folder + "/said.npz", asked=asked, said=model.predict(asked))
"""
KERAS = """
import os, sys
os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="-1")
import keras, numpy as np, tensorflow as tf
folder, kind = sys.argv[1:3]
keras.utils.set_random_seed(1)
layers = keras.layers
image = keras.Sequential([
    keras.Input((12, 12, 1)), layers.Conv2D(4, 3, activation="relu"), layers.BatchNormalization(),
    layers.GlobalAveragePooling2D(), layers.Dense(3, activation="softmax"),
])
if kind in ("keras", "h5", "saved", "tflite"):
    image.compile("adam", "mse")
    image.fit(np.random.rand(8, 12, 12, 1), np.random.rand(8, 3), verbose=0)
    asked = np.random.rand(9, 12, 12, 1).astype(np.float32)
    said = image(asked, training=False).numpy()
    if kind in ("keras", "h5"):
        image.save(f"{folder}/model.{kind}")
    else:
        image.export(folder + "/saved", verbose=False)
    if kind == "tflite":
        content = tf.lite.TFLiteConverter.from_saved_model(folder + "/saved").convert()
        open(folder + "/model.tflite", "wb").write(content)
elif kind == "lstm":
    words = keras.Input((None,), dtype="int32")
    net = layers.LSTM(6)(layers.Embedding(20, 8, mask_zero=True)(words))
    model = keras.Model(words, layers.Dense(2)(net))
    model.save(folder + "/model.keras")
    asked = np.random.default_rng(0).integers(0, 20, (9, 13)).astype(np.int32)
    asked[:, 9:] = 0
    said = model(asked).numpy()
else:
    v1 = tf.compat.v1
    with v1.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [None, 4], "x")
        y = tf.nn.softmax(x @ v1.get_variable("w", [4, 3], use_resource=False))
        session.run(v1.global_variables_initializer())
        v1.saved_model.simple_save(session, folder + "/saved", {"x": x}, {"y": y})
        asked = np.random.rand(9, 4).astype(np.float32)
        said = session.run(y, {x: asked})
np.savez(folder + "/said.npz", asked=asked, said=said)
"""


def made(name: str, script: str, kind: str, folder: Path) -> tuple[Any, Any]:
    """Let a framework train and answer in its own environment: (asked, said)."""
    environment = environments.named(name)
    if not environment.installed:
        said = f"the environment {name} is not installed: reversible exporters --install {name}"
        if os.environ.get("REVERSIBLE_TESTS_NEED_TENSORFLOW") == "1":
            pytest.fail(said)
        pytest.skip(said)
    command = [str(environment.python), "-c", script, str(folder), kind]
    alone = {"OMP_NUM_THREADS": "1", "HOME": str(folder)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=alone)
    assert done.returncode == 0, done.stderr[-2000:]
    with np.load(folder / "said.npz") as held:
        return held["asked"], held["said"]


def answers(folder: Path, asked: Any) -> Any:
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: asked})[0]


def assert_trees_are_recorded(folder: Path, described: dict[str, int]) -> None:
    """Every tree question by question; one operator changed by hand is named."""
    assert described["trees"] >= 12
    assert set(described) <= {"identical", "trivial", "trees"}
    recorded, model = trees.read(folder / "golden"), onnx.load(str(folder / "model.onnx"))
    assert recorded is not None
    assert trees.differences(recorded, model) == []
    node = next(one for one in model.graph.node if one.op_type == "TreeEnsembleRegressor")
    modes = next(one for one in node.attribute if one.name == "nodes_modes").strings
    at = next(at for at, mode in enumerate(modes) if mode != b"LEAF")
    modes[at] = b"BRANCH_LEQ" if modes[at] == b"BRANCH_LT" else b"BRANCH_LT"
    (place,) = trees.differences(recorded, model)
    assert "<= for <" in place or "< for <=" in place


def keys(script: str) -> list[str]:
    return [line.split('"')[1] for line in script.splitlines() if line.startswith('    "') and '": ({' in line]


@pytest.mark.parametrize("kind", keys(XGBOOST))
def test_xgboost_keeps_every_row(kind: str, tmp_path: Path) -> None:
    asked, said = made("xgboost", BOOSTED + XGBOOST, kind, tmp_path)

    done = conversion.convert("xgboost", tmp_path / "model.ubj", tmp_path / "model.onnx")

    here = answers(tmp_path, asked)
    said = said.reshape(len(asked), -1)
    assert np.abs(here - said).max() <= (2e-7 if kind != "linear" else 1e-6)
    if kind in ("binary", "ranking", "counts", "dart", "monotone", "forest", "categories", "raw", "named"):
        assert (here == said).all()  # to the last bit
    assert not done.executed_vendor_code
    if kind != "linear":
        assert_trees_are_recorded(tmp_path, done.described["parameters"])
    assert set(done.described["domains"]) <= {"ai.onnx", "ai.onnx.ml"}


@pytest.mark.parametrize("kind", keys(LIGHTGBM))
def test_lightgbm_keeps_every_row(kind: str, tmp_path: Path) -> None:
    asked, said = made("lightgbm", BOOSTED + LIGHTGBM, kind, tmp_path)

    done = conversion.convert("lightgbm", tmp_path / "model.txt", tmp_path / "model.onnx")

    assert_trees_are_recorded(tmp_path, done.described["parameters"])
    said = said.reshape(len(asked), -1)
    assert np.abs(answers(tmp_path, asked) - said).max() <= 1e-14 * max(1.0, np.abs(said).max())


@pytest.mark.parametrize("name", ["xgboost", "lightgbm"])
@pytest.mark.parametrize("content", [b"", b"garbage" * 99, b'{"learner": 1}'], ids=["empty", "garbage", "other"])
def test_a_damaged_boosted_model_is_refused_in_one_line(name: str, content: bytes, tmp_path: Path) -> None:
    made(name, "import sys, numpy as np; np.savez(sys.argv[1] + '/said.npz', asked=0, said=0)", "", tmp_path)
    source = tmp_path / ("model.ubj" if name == "xgboost" else "model.txt")
    source.write_bytes(content)

    with pytest.raises(SourceError, match="is not a whole") as refused:
        conversion.convert(name, source, tmp_path / "model.onnx")

    assert "\n" not in refused.value.message


@pytest.mark.parametrize("kind", ["keras", "h5", "lstm", "saved", "saved as in 2018"])
def test_tensorflow_answers_the_same_behind_the_fence(kind: str, tmp_path: Path) -> None:
    asked, said = made("tensorflow", KERAS, kind, tmp_path)
    (source,) = [one for one in tmp_path.iterdir() if one.name.startswith(("model.", "saved"))]

    done = conversion.convert("tensorflow", source, tmp_path / "model.onnx")

    assert np.abs(answers(tmp_path, asked) - said).max() < 1e-6
    assert done.executed_vendor_code
    assert done.described["domains"] == ["ai.onnx"]


OLD = """
import sys, json
from pathlib import Path
import tensorflow as tf
def refuse(*_, **__):
    raise ValueError("an optimizer's slots do not load")
tf.saved_model.load = refuse
from reversible_exporters.tensorflow_onnx import TensorFlowConverter
folder = Path(sys.argv[1])
print(json.dumps(TensorFlowConverter().convert(folder / "saved", folder / "model.onnx")["exporter"]))
"""


@pytest.mark.parametrize("kind", ["saved", "saved as in 2018"])
def test_what_today_s_loader_refuses_is_opened_as_tensorflow_1_did(kind: str, tmp_path: Path) -> None:
    asked, said = made("tensorflow", KERAS, kind, tmp_path)
    packages = tmp_path / "packages"
    packages.mkdir()
    python, _, variables = environments.interpreter(TensorFlowConverter(), packages)

    done = subprocess.run(
        [python, "-c", OLD, str(tmp_path)], capture_output=True, text=True, check=False,
        env={**variables, "HOME": str(tmp_path), "CUDA_VISIBLE_DEVICES": "-1"},
    )  # fmt: skip

    assert "TensorFlow 1 loader" in done.stdout, done.stderr[-2000:]
    assert np.abs(answers(tmp_path, asked) - said).max() < 1e-6


def test_tflite_stays_as_it_is_and_that_is_said(tmp_path: Path) -> None:
    made("tensorflow", KERAS, "tflite", tmp_path)

    with pytest.raises(SourceError, match="compiled for TensorFlow Lite: it stays in the bundle as it is"):
        conversion.convert("tensorflow", tmp_path / "model.tflite", tmp_path / "model.onnx")


def test_tensorflow_and_torch_cannot_share_a_process(tmp_path: Path) -> None:
    script = (
        "import sys, importlib.util as u, numpy as np\nassert u.find_spec('torch') is None and u.find_spec('keras')"
    )
    made("tensorflow", f"{script}\nnp.savez(sys.argv[1] + '/said.npz', asked=0, said=0)", "", tmp_path)

    assert environments.named("tensorflow").alone
