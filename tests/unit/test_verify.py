"""`reversible verify BUNDLE`: one line per criterion, and the documented status for every kind of bad bundle."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import served_model

import json_schemas
from reversible.testing import mutations

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def faithful(tmp_path_factory: pytest.TempPathFactory) -> Path:
    questions = served_model.questions(3000)
    return served_model.write(tmp_path_factory.mktemp("model") / "bundle", asked=questions).root


@pytest.fixture
def bundle(faithful: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(faithful, tmp_path / "bundle", symlinks=True))


def verify(bundle: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "reversible", "verify", str(bundle), "--lang", "en", *more]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def change_description(bundle: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """An insider's change of bundle.json: the manifests are made true again."""
    path = bundle / "data/bundle.json"
    document = json.loads(path.read_bytes())
    change(document)
    path.write_text(json.dumps(document), encoding="utf-8")
    mutations.reseal(bundle)


def the_model(bundle: Path) -> Path:
    return bundle / served_model.ASSET.folder / "model.onnx"


def the_answers(bundle: Path) -> Path:
    return bundle / served_model.ASSET.folder / "golden/outputs.parquet"


def test_a_faithful_bundle_holds(bundle: Path) -> None:
    done = verify(bundle, "--json")
    document = json_schemas.parsed("verify", done.stdout)

    assert done.returncode == 0, done.stdout + done.stderr
    assert {row["status"] for row in document["criteria"]} == {"met"}
    assert document["refused"] == []


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def link(bundle: Path) -> None:
    elsewhere = bundle.with_name("elsewhere.onnx")
    the_model(bundle).rename(elsewhere)
    the_model(bundle).symlink_to(elsewhere)


def escape(bundle: Path) -> None:
    manifest = bundle / "manifest-sha256.txt"
    manifest.write_text(manifest.read_text().replace("  data/bundle.json", "  ../data/bundle.json"))


OUTSIDE: dict[str, tuple[Callable[[Path], object], str]] = {
    "one flipped byte": (lambda root: flip(the_model(root)), "model.onnx was altered"),
    "a missing file": (lambda root: the_model(root).unlink(), "model.onnx is missing"),
    "an extra file": (lambda root: (root / "data/extra").write_text("x"), "data/extra is in no manifest"),
    "a symbolic link": (link, "model.onnx is not a regular file"),
    "a pipe": (lambda root: os.mkfifo(root / "data/pipe"), "data/pipe is not a regular file"),
    "a name that escapes": (escape, "../data/bundle.json"),
    "no description": (lambda root: (root / "data/bundle.json").unlink(), "data/bundle.json is missing"),
    "no directory": (shutil.rmtree, "no such bundle"),
    "sources without endpoints": (lambda root: change_description(root, lambda one: one.update(sources=[{}])), "shape"),
}


@pytest.mark.parametrize("damage", OUTSIDE)
def test_an_altered_bundle_is_refused_in_one_line_that_names_the_file(bundle: Path, damage: str) -> None:
    inflict, named = OUTSIDE[damage]
    inflict(bundle)
    done = verify(bundle)

    assert done.returncode == 5, done.stderr
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert lines[0].startswith("error: ")
    assert named in lines[0]
    assert len(lines) <= 2


@pytest.mark.parametrize("file", [the_model, the_answers])
@pytest.mark.parametrize("how", ["garbage", "truncated"])
def test_a_file_that_does_not_open_is_named_behind_true_manifests(
    bundle: Path, file: Callable[[Path], Path], how: str
) -> None:
    path = file(bundle)
    content = path.read_bytes()
    path.write_bytes(bytes(range(256)) * 9 if how == "garbage" else content[: len(content) // 2])
    mutations.reseal(bundle)
    done = verify(bundle)

    assert done.returncode == 1, done.stderr
    assert path.name in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


# --- a green result that proves nothing --------------------------------------------------------------------------


def test_an_empty_bundle_is_inconclusive(bundle: Path) -> None:
    shutil.rmtree(bundle / "data/model")
    shutil.rmtree(bundle / "data/witness")
    change_description(bundle, lambda one: one.update(assets=[]))
    done = verify(bundle, "--json")

    assert done.returncode == 3
    assert json_schemas.parsed("verify", done.stdout)["level"] == "N2"


def test_an_asset_that_the_source_refused_is_named_and_nothing_is_green(bundle: Path) -> None:
    def refuse(document: dict[str, Any]) -> None:
        asset = {**document["assets"][0]["asset"], "name": "secret"}
        document["assets"].append({**document["assets"][0], "asset": asset, "status": "failed", "error": "denied"})

    change_description(bundle, refuse)
    done = verify(bundle)

    assert done.returncode == 3
    assert "REFUSED BY THE SOURCE  models:model:secret: denied" in done.stdout
    assert json_schemas.parsed("verify", verify(bundle, "--json").stdout)["refused"] == [
        {"asset": "models:model:secret", "error": "denied"}
    ]


def test_a_bundle_without_its_witness_is_inconclusive_and_says_why(bundle: Path) -> None:
    shutil.rmtree(bundle / "data/witness")
    mutations.reseal(bundle)
    done = verify(bundle)

    assert done.returncode == 3, done.stdout
    assert "NO ANSWER" in done.stdout
    assert "witness" in done.stdout
    criteria = json_schemas.parsed("verify", verify(bundle, "--json").stdout)["criteria"]
    assert "unanswered" in {one["status"] for one in criteria}
