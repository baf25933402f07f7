"""A run's directory belongs to one plan, one process, and is never written over."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from reversible.errors import UsageError
from reversible.workspace import Workspace

AT = datetime(2026, 11, 24, tzinfo=UTC)


def test_a_directory_that_holds_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_text("x")

    with pytest.raises(UsageError, match="not a run of ours"):
        Workspace(tmp_path)


def test_a_file_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")

    with pytest.raises(UsageError, match="not a directory"):
        Workspace(tmp_path / "file")


def test_a_finished_run_is_refused(tmp_path: Path) -> None:
    space = Workspace(tmp_path)
    with space.lock():
        space.evidence.mkdir()

    with pytest.raises(UsageError, match="finished run"):
        Workspace(tmp_path)


def test_two_runs_do_not_share_a_directory(tmp_path: Path) -> None:
    def second() -> None:
        with Workspace(tmp_path).lock():
            raise AssertionError("the lock did not hold")

    with Workspace(tmp_path).lock(), pytest.raises(UsageError, match="another run is working"):
        second()


def test_a_journal_line_cut_short_is_left_out(tmp_path: Path) -> None:
    space = Workspace(tmp_path)
    with space.lock():
        space.note("sealed", AT, sha256="00")
        with (space.state / "journal.jsonl").open("a") as journal:
            journal.write('{"at": "2026')

    assert [entry["event"] for entry in space.journal()] == ["sealed"]


def test_the_sealed_plan_is_there_after_an_interruption(tmp_path: Path) -> None:
    space = Workspace(tmp_path)
    assert space.sealed_plan() is None
    with space.lock():
        space.write("plan.json", {"exit_plan_sha256": "00"})

    assert Workspace(tmp_path).sealed_plan() == {"exit_plan_sha256": "00"}
