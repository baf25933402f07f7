"""Are the sample models trained once, and anew when anything that makes them has changed?"""

from dataclasses import replace
from pathlib import Path

import pytest

from reversible_samples.models import SAMPLES
from reversible_samples.models.package import FILES

SAMPLE = SAMPLES["tumour-pipeline"]


def times(folder: Path) -> dict[str, int]:
    return {name: (folder / name).stat().st_mtime_ns for name in FILES}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    SAMPLE.keep(tmp_path)
    return tmp_path


def test_what_was_trained_is_kept(folder: Path) -> None:
    before = times(folder)

    SAMPLE.keep(folder)

    assert times(folder) == before


@pytest.mark.parametrize("change", ["seed", "packages", "recipe"])
def test_another_seed_package_or_source_trains_again(folder: Path, change: str) -> None:
    before = times(folder)
    changed = {
        "seed": (SAMPLE, 7),
        "packages": (replace(SAMPLE, packages=(*SAMPLE.packages, "pyarrow")), 20261124),
        "recipe": (replace(SAMPLE, recipe=(*SAMPLE.recipe, "digits.py")), 20261124),
    }
    sample, seed = changed[change]

    sample.keep(folder, seed=seed)

    assert all(now > before[name] for name, now in times(folder).items())


def test_a_training_that_was_killed_is_made_again(folder: Path) -> None:
    (folder / "made-from.json").unlink()
    before = times(folder)

    SAMPLE.keep(folder)

    assert all(now > before[name] for name, now in times(folder).items())
