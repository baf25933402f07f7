"""The command line starts fast, explains itself, and fails with one line and the documented status."""

import errno
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import click
import pytest

from reversible import errors
from reversible.cli import main as cli_main
from reversible.cli.main import LazyGroup, cli

VERBS = sorted(LazyGroup.list_commands(cli, click.Context(cli)))  # type: ignore[arg-type]


def run(*argv: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "reversible", *argv]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_help_loads_none_of_the_heavy_packages() -> None:
    script = (
        "import sys; from reversible.cli.main import _status; _status(['--help']);"
        "heavy = {'pyarrow', 'pydantic', 'onnx', 'duckdb', 'rich', 'numpy', 'jinja2', 'boto3', 'torch', 'yaml'};"
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_and_the_readme_names_it(verb: str) -> None:
    done = run(verb, "--help")

    assert done.returncode == 0, done.stderr
    assert "Example" in done.stdout
    if "Commands:" not in done.stdout:
        assert "--json" in done.stdout
    readme = Path(__file__).parents[2] / "README.md"
    assert f"reversible {verb}" in readme.read_text(encoding="utf-8")


def test_a_mistyped_verb_gets_the_nearest_one() -> None:
    done = run("dryrun")

    assert done.returncode == 2
    assert "Did you mean 'dry-run'?" in done.stderr


@pytest.mark.parametrize("kind", [kind for kind in vars(errors).values() if isinstance(kind, type)])
def test_an_error_is_one_line_a_fix_and_its_status(
    kind: type[errors.ReversibleError], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise kind("boto3", extra="aws") if kind is errors.MissingSDKError else kind("it broke", hint="mend it")

    monkeypatch.setattr(cli_main.cli, "main", fail)

    assert cli_main._status([]) == kind.exit_status
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert said[0].startswith("error: ")
    assert said[1].startswith("  try: ")


def test_a_bug_of_ours_is_one_line_and_a_log(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(cli_main.cli, "main", fail)

    assert cli_main._status([]) == 70
    line = capsys.readouterr().err.strip()
    log = Path(line.rpartition(" ")[2])
    assert "ZeroDivisionError" in log.read_text()
    log.unlink()


def test_a_missing_plan_is_a_usage_error() -> None:
    for verb in ("check", "inventory"):
        done = run(verb, "absent.toml")

        assert done.returncode == 2, done.stderr
        assert "absent.toml" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_plan_that_may_not_be_read_is_one_line_and_a_fix(tmp_path: Path) -> None:
    plan = tmp_path / "exit-plan.toml"
    plan.write_text("version = 1\n")
    plan.chmod(0)
    script = (
        "import os, sys; from reversible.cli.main import _status;"
        "_status(['check', 'absent.toml']); print(file=sys.stderr);"  # loads all that it needs, while it may
        "os.geteuid() or os.seteuid(65534);"  # root may read everything
        f"sys.exit(_status(['check', {str(plan)!r}]))"
    )
    for parent in (tmp_path, *list(tmp_path.parents)[:2]):
        parent.chmod(0o755)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    assert done.returncode == 2, done.stderr
    said = done.stderr.rpartition("\n\n")[2].splitlines()
    assert len(said) == 2, done.stderr
    assert str(plan) in said[0]
    assert said[1].startswith("  try: ")


@pytest.mark.parametrize(
    "argv", [("check",), ("verify", "a", "b"), ("dry-run", "plan.toml"), ("report", "x", "--nonsense"), ("nonsense",)]
)
def test_wrong_usage_is_one_line_and_a_fix(argv: tuple[str, ...]) -> None:
    done = run(*argv)

    assert done.returncode == 2
    said = done.stderr.splitlines()
    assert len(said) == 2, done.stderr
    assert said[0].startswith("error: ")
    assert said[1].endswith("--help")


@pytest.mark.parametrize(("fault", "status"), [(errno.ENOSPC, 6), (errno.EACCES, 2), (errno.EROFS, 2)])
def test_a_fault_of_the_machine_is_no_bug_of_ours(
    fault: int, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(fault, os.strerror(fault), "/mnt/small")

    monkeypatch.setattr(cli_main.cli, "main", fail)

    assert cli_main._status([]) == status
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert "/mnt/small" in said[0]


def test_a_bundle_is_shipped_to_a_directory_read_back_and_not_sent_twice(tmp_path: Path) -> None:
    from test_bundle import write_bundle

    bundle = write_bundle(tmp_path / "bundle")
    first = run("ship", str(bundle.root), str(tmp_path / "there"))
    again = run("ship", str(bundle.root), str(tmp_path / "there"))
    (tmp_path / "bundle/data/extra").write_text("x")
    altered = run("ship", str(bundle.root), str(tmp_path / "elsewhere"))

    assert first.returncode == 0, first.stderr
    assert bundle.digest in first.stdout
    assert " 0 sent" in again.stdout
    assert altered.returncode == 5
    assert not (tmp_path / "elsewhere").exists()


def test_shipping_to_s3_without_a_region_says_what_is_missing(tmp_path: Path) -> None:
    from test_bundle import write_bundle

    done = run(
        "ship", str(write_bundle(tmp_path / "bundle").root), "s3://sortie/x", "--endpoint-url", "http://127.0.0.1:1"
    )

    assert done.returncode == 2
    assert "region" in done.stderr


@pytest.mark.parametrize("where", ['exec("raise KeyboardInterrupt")', 'type("Made", (), {"field": Named()})'])
def test_an_interrupt_has_the_documented_status_wherever_it_falls(where: str, tmp_path: Path) -> None:
    """Into a text being evaluated; into the making of a class, which wraps it into a RuntimeError."""
    script = f"""
        from unittest import mock
        from reversible.cli.main import cli, main
        class Named:
            def __set_name__(self, owner, name):
                raise KeyboardInterrupt
        with mock.patch.object(cli, "main", lambda **_: {where}):
            main(["check", "exit-plan.toml"])
    """
    (tmp_path / "interrupted.py").write_text(textwrap.dedent(script), encoding="utf-8")

    done = subprocess.run(
        [sys.executable, "-m", "interrupted"], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert done.returncode == 130, done.stderr
    assert "try: reversible check exit-plan.toml" in done.stderr
