"""Each framework lives alone: its place is made from a lock, found or named with the command, and shares no process."""

import re
import sys
from pathlib import Path

import pytest

from reversible.errors import SourceError, UsageError
from reversible_exporters import conversion, environments
from reversible_exporters.lightgbm_onnx import LightGBMConverter
from reversible_exporters.xgboost_onnx import XGBoostConverter


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REVERSIBLE_ENVIRONMENTS", str(tmp_path / "environments"))
    return tmp_path / "environments"


def linked(name: str) -> None:
    """An environment that is this very Python under another name: enough to see which program is started."""
    made = environments.named(name)
    (made.folder / "bin").mkdir(parents=True)
    made.python.symlink_to(sys.executable)
    (made.folder / "lock.sha256").write_text(made._digest)


def test_a_missing_environment_is_named_with_the_command_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="the environment lightgbm is not installed") as refused:
        environments.interpreter(LightGBMConverter(), tmp_path)

    assert refused.value.hint == "reversible exporters --install lightgbm"


def test_a_conversion_without_its_environment_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "model.ubj").write_bytes(b"x")

    with pytest.raises(SourceError, match="the environment xgboost is not installed"):
        conversion.convert("xgboost", tmp_path / "model.ubj", tmp_path / "model.onnx")


def test_an_environment_of_another_lock_is_not_used(tmp_path: Path) -> None:
    linked("xgboost")
    (environments.named("xgboost").folder / "lock.sha256").write_text("0" * 64)

    with pytest.raises(SourceError, match="the environment xgboost was made by another version"):
        environments.interpreter(XGBoostConverter(), tmp_path)


def test_an_installed_environment_sees_our_packages_and_no_other_of_ours(tmp_path: Path) -> None:
    linked("xgboost")

    python, called, variables = environments.interpreter(XGBoostConverter(), tmp_path)

    assert python == str(environments.named("xgboost").python)
    assert called == "reversible_exporters.xgboost_onnx:XGBoostConverter"
    assert sorted(one.name for one in tmp_path.iterdir() if one.is_symlink()) == [
        "reversible", "reversible_exporters", "reversible_verifiers",
    ]  # fmt: skip
    assert variables["PYTHONPATH"] == str(tmp_path)


def test_a_converter_of_an_environment_runs_there_and_answers_through_the_fence(tmp_path: Path) -> None:
    linked("xgboost")  # where xgboost itself is missing: its own refusal has to come back
    (tmp_path / "model.ubj").write_bytes(b"x")

    with pytest.raises(SourceError, match="the Python package xgboost is not installed"):
        conversion.convert("xgboost", tmp_path / "model.ubj", tmp_path / "model.onnx")


def test_an_unknown_environment_is_refused_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no environment is called 'matlab'; there are: lightgbm, sklearn, tensorflow"):
        environments.install("matlab")


@pytest.mark.parametrize("name", environments.ENVIRONMENTS)
def test_every_package_of_a_lock_has_one_version_and_its_digests(name: str) -> None:
    text = environments.named(name).lock.read_text(encoding="utf-8")
    entries = [line for line in text.replace("\\\n", " ").splitlines() if not line.startswith("#")]

    assert len(entries) > 3
    for line in entries:
        assert re.match(r"[a-z0-9.-]+==[0-9][^ ]*( ; [^#]+)?( +--hash=sha256:[0-9a-f]{64})+ *$", line), line
    assert not [line for line in entries if line.startswith("torch")]


def test_tensorflow_is_never_looked_for_beside_our_own_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())  # as if everything were installed here

    assert environments.named("xgboost").beside_us
    assert not environments.named("tensorflow").beside_us
