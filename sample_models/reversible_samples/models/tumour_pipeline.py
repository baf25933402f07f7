"""Is this tumour benign? Imputation, scaling and logistic regression on thirty measurements, in scikit-learn.

569 cases in scikit-learn's own wheel (UCI "Breast Cancer Wisconsin (Diagnostic)"); every third one is held out.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reversible_samples.models.golden import Floats, Golden, tumour_inputs
from reversible_samples.models.package import Sample, Trained


def load() -> tuple[Floats, NDArray[np.int64], NDArray[np.bool_]]:
    """Measurements (569, 30) float32, classes (569,), and which rows are held out."""
    from sklearn.datasets import load_breast_cancer

    cells, classes = load_breast_cancer(return_X_y=True)
    return cells.astype(np.float32), classes.astype(np.int64), np.arange(len(classes)) % 3 == 0


def data() -> tuple[str, bytes]:
    from sklearn import __version__

    cells, classes, _ = load()
    content = cells.tobytes() + classes.tobytes()
    return f"scikit-learn {__version__}, sklearn.datasets.load_breast_cancer: float32 cells then int64 labels", content


def golden(seed: int) -> Golden:
    return tumour_inputs(*load(), seed=seed)


def train(seed: int) -> Trained:
    """Well under a second on one core; the solver draws nothing, so the seed only goes on record."""
    import joblib
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    cells, classes, held_out = load()
    model = make_pipeline(
        SimpleImputer(strategy="median"), StandardScaler(), LogisticRegression(C=0.5, max_iter=500, random_state=seed)
    )
    model.fit(cells[~held_out], classes[~held_out])
    right = float(model.score(cells[held_out], classes[held_out]))

    def write(path: Path) -> None:
        joblib.dump(model, path)

    return Trained(model=model, metrics={"accuracy": right}, parameters={"C": 0.5, "imputation": "median"}, write=write)


SAMPLE = Sample(
    name="tumour-pipeline", file="model.joblib", recipe=("tumour_pipeline.py", "golden.py"),
    title="Benign or malignant, thirty measurements of a cell nucleus", labels=("malignant", "benign"),
    processing={
        "input": "30 measurements in the order of sklearn.datasets.load_breast_cancer; NaN where missing",
        "scaling": "median imputation and standard scaling, inside the model",
        "output": "one probability per class",
    },
    packages=("joblib", "numpy", "scikit-learn"), data=data, train=train, golden=golden,
)  # fmt: skip
