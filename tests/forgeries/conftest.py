"""A genuine dossier, written once, copied for each forger."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import workshop

from reversible.evidence import dossier, keys, recipe
from reversible.evidence.keys import SigningKey
from time_authority import Party, party


@pytest.fixture(scope="session")
def key(tmp_path_factory: pytest.TempPathFactory) -> SigningKey:
    return keys.load_or_create(tmp_path_factory.mktemp("keys") / "own" / "key.pem")


@pytest.fixture(scope="session")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> SigningKey:
    return keys.load_or_create(tmp_path_factory.mktemp("keys") / "other" / "key.pem")


@pytest.fixture(scope="session")
def reported(tmp_path_factory: pytest.TempPathFactory, key: SigningKey) -> Path:
    """With both reports, as a run writes it."""
    from reversible.report import html

    documents = workshop.run_documents()
    reports = {f"report.{lang}.html": html.render(dossier.as_written(documents), lang) for lang in ("fr", "en")}
    return workshop.write(tmp_path_factory.mktemp("reported") / "evidence", key, documents, reports=reports)


@pytest.fixture
def genuine(reported: Path, tmp_path: Path) -> Path:
    """A copy to do harm to."""
    return Path(shutil.copytree(reported, tmp_path / "evidence"))


@pytest.fixture(scope="session")
def parties(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Party]:
    """A time-stamping authority below its root, and a rogue one below another."""
    folder = tmp_path_factory.mktemp("tsa")
    root = party(folder, "root", ca=True)
    other = party(folder, "other", ca=True)
    return {"root": root, "tsa": party(folder, "tsa", root), "other": other, "rogue": party(folder, "rogue", other)}


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """verify.py as it travels, loaded from its own file."""
    path = tmp_path_factory.mktemp("program") / recipe.PROGRAM
    path.write_bytes(recipe.program())
    spec = importlib.util.spec_from_file_location("verify_file", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def run_1(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dry run by the command line: bundle, dossier, keys beside."""
    folder = tmp_path_factory.mktemp("run")
    workshop.a_shop(folder)
    (folder / "keys").mkdir(mode=0o700)
    command = [sys.executable, "-m", "reversible", "dry-run", "exit-plan.toml", "--into", "run-1", "--exit-zero"]
    environ = {**os.environ, "REVERSIBLE_KEY": str(folder / "keys" / "key.pem")}
    subprocess.run(command, cwd=folder, env=environ, check=True, capture_output=True, timeout=300)
    return folder / "run-1"
