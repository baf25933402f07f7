"""Where the original is at hand the reference is its own answers: a fault of the port is not in the reference."""

from pathlib import Path
from typing import Any

import joblib
import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from test_model_conversions import Store, dumped

from reversible.equivalence import original, reference
from reversible.equivalence.ratio import error_ratio
from reversible.errors import BundleError
from reversible.golden import Column
from reversible_exporters import original_answers
from reversible_exporters.model_conversions import ModelConversions
from reversible_exporters.sklearn_onnx import SklearnConverter
from reversible_exporters.torch_onnx import TorchConverter

ROWS = np.random.default_rng(4).normal(size=(90, 6)).astype(np.float32)


def column(rows: Any = ROWS) -> Column:
    return Column.of("input", rows, column="input")


def pipeline() -> Any:
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(ROWS.astype(float), ROWS[:, 0] > 0)


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.layers = torch.nn.Sequential(torch.nn.Linear(6, 16), torch.nn.GELU(), torch.nn.Linear(16, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.softmax(self.layers(x), dim=1)


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network with the answers of its original beside it."""
    folder = tmp_path_factory.mktemp("net")
    net = Net().eval()
    batch = torch.export.Dim.DYNAMIC
    program = torch.export.export(net, (torch.zeros(2, 6),), dynamic_shapes=({0: batch},))
    torch.export.save(program, folder / "model.pt2")
    original_answers.lay(folder, [column()])
    described = TorchConverter().convert(folder / "model.pt2", folder / "model.onnx")
    assert described["answered_golden_inputs"]
    return folder


def held(folder: Path) -> original.OriginalAnswers:
    found = original.read(folder / "golden")
    assert found is not None
    return found


def test_the_original_answers_in_float64_and_in_float32_in_two_ways(converted: Path) -> None:
    found = held(converted)

    net = Net().eval().double()
    expected = net(torch.from_numpy(ROWS.astype(np.float64))).detach().numpy()
    assert np.abs(found.exact[0] - expected).max() < 1e-14
    assert list(found.evaluations) == ["as it is", "other kernels"]
    assert found.evaluations["as it is"][0].dtype == np.float32
    assert found.engine.startswith("torch ")


def _port(folder: Path, rows: Any = ROWS) -> reference.Reference:
    path = folder / "model.onnx"
    name = onnx.load(str(path)).graph.input[0].name
    return reference.of_port(path, {name: rows})


def test_a_fault_of_the_port_is_not_in_the_reference(converted: Path, tmp_path: Path) -> None:
    model = onnx.load(str(converted / "model.onnx"))
    weights = next(one for one in model.graph.initializer if list(one.dims) == [16, 6] or list(one.dims) == [6, 16])
    array = numpy_helper.to_array(weights).copy()
    array[3] *= 1.01
    weights.CopyFrom(numpy_helper.from_array(array, weights.name))
    onnx.save_model(model, str(tmp_path / "model.onnx"))
    black = _port(tmp_path)

    white = original.against(black, held(converted), original_answers.digests([column()]), output=0)

    assert white is not None
    assert white.source == reference.ORIGINAL
    assert white.about["engine"].startswith("torch ")
    answers = onnx_answers(tmp_path)
    assert error_ratio(answers, black.answers, black.floor).within()  # it agrees with itself
    assert not error_ratio(answers, white.answers, white.floor).within()


def onnx_answers(folder: Path) -> Any:
    from reversible.equivalence import runtime

    session = runtime.session(folder / "model.onnx")
    return runtime.ask(session, {session.get_inputs()[0].name: ROWS})


def test_a_good_port_is_as_good_against_its_original(converted: Path) -> None:
    black = _port(converted)
    white = original.against(black, held(converted), original_answers.digests([column()]), output=0)

    assert white is not None
    assert (white.floor >= black.floor).all()
    assert error_ratio(onnx_answers(converted), white.answers, white.floor).within()
    assert error_ratio(held(converted).evaluations["other kernels"][0], white.answers, white.floor).largest <= 1


def test_rows_are_known_again_in_another_order_and_one_that_was_not_asked_is_not(converted: Path) -> None:
    order = np.random.default_rng(0).permutation(len(ROWS))[:50]
    black = _port(converted, ROWS[order])
    digests = original_answers.digests([column(ROWS[order])])
    white = original.against(black, held(converted), digests, output=0)

    assert white is not None
    assert np.array_equal(white.answers, held(converted).exact[0][order])
    changed = ROWS[order].copy()
    changed[7, 0] += 1
    assert original.against(black, held(converted), original_answers.digests([column(changed)]), output=0) is None
    assert original.against(black, held(converted), digests, output=1) is None


def test_a_pipeline_answers_too(tmp_path: Path) -> None:
    joblib.dump(pipeline(), tmp_path / "model.joblib")
    original_answers.lay(tmp_path, [column()])

    described = SklearnConverter().convert(tmp_path / "model.joblib", tmp_path / "model.onnx")

    assert described["answered_golden_inputs"]
    found = held(tmp_path)
    assert np.array_equal(found.exact[0], pipeline().predict_proba(ROWS.astype(np.float64)))
    assert not found.evaluations


@pytest.mark.parametrize(
    "columns",
    [
        [column(np.array(["a", "b"], dtype=object))],
        [column(np.array([ROWS[:1], ROWS[:2]], dtype=object))],
    ],
    ids=["texts", "sizes"],
)
def test_what_is_no_table_of_numbers_is_not_asked(columns: list[Column], tmp_path: Path) -> None:
    original_answers.lay(tmp_path, columns)

    assert not list(tmp_path.iterdir())


def test_an_original_that_refuses_a_golden_input_ends_no_conversion(tmp_path: Path) -> None:
    original_answers.lay(tmp_path, [column(np.full((3, 6), np.nan, np.float32))])  # LogisticRegression takes no NaN
    joblib.dump(pipeline(), tmp_path / "model.joblib")

    described = SklearnConverter().convert(tmp_path / "model.joblib", tmp_path / "model.onnx")

    assert described["answered_golden_inputs"] is False
    assert original.read(tmp_path / "golden") is None


def test_the_questions_reach_the_original_behind_the_fence() -> None:
    rows = ROWS.astype(float)
    store = Store({"s3://a": dumped(Ridge().fit(rows, rows[:, 0]))})
    conversions = ModelConversions(store.download, lambda name: [column()] if name == "a" else [])
    with conversions.of("a", "s3://a") as model:
        assert f"golden/{original.NPZ}" in model.written
        assert original_answers.ASKED not in model.written
        assert np.array_equal(held(model.folder).inputs, original_answers.digests([column()]))
    conversions.close()


def test_a_damaged_record_is_refused(converted: Path, tmp_path: Path) -> None:
    content = (converted / "golden" / original.NPZ).read_bytes()
    for damaged in (b"", content[:200], content[:-40]):
        (tmp_path / original.NPZ).write_bytes(damaged)
        with pytest.raises(BundleError, match=r"original\.npz cannot be read"):
            original.read(tmp_path)
