"""A genuine dossier, written once, copied for each forger."""

import shutil
from pathlib import Path

import pytest
import workshop

from reversible.evidence import dossier, keys
from reversible.evidence.keys import SigningKey


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
