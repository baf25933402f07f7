"""A run's directory belongs to one plan, one process, and is never written over."""

import errno
from datetime import UTC, datetime
from pathlib import Path

import pytest

from reversible.errors import DestinationError, UsageError
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
    space.note("resumed", AT)
    assert [entry["event"] for entry in space.journal()] == ["sealed", "resumed"]


def test_a_finished_run_whose_report_was_not_written_says_how_to_write_it(tmp_path: Path) -> None:
    space = Workspace(tmp_path)
    with space.lock():
        space.evidence.mkdir()

    with pytest.raises(UsageError) as refused:
        Workspace(tmp_path)

    assert f"reversible report {tmp_path}/evidence --into {tmp_path}" in refused.value.hint


def test_a_full_disk_is_named_and_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    space = Workspace(tmp_path)
    with space.lock():
        monkeypatch.setattr(Path, "replace", full)
        with pytest.raises(DestinationError, match="no space left"):
            space.write("plan.json", {})

    assert [path.name for path in space.state.iterdir()] == ["lock"]


def test_the_drafts_of_an_interrupted_run_are_thrown_away(tmp_path: Path) -> None:
    space = Workspace(tmp_path)
    first = space.draft() / "evidence"
    first.mkdir(parents=True)

    second = space.draft()

    assert second != first.parent
    assert not first.parent.exists()


def test_the_sealed_plan_is_there_after_an_interruption(tmp_path: Path) -> None:
    space = Workspace(tmp_path)
    assert space.sealed_plan() is None
    with space.lock():
        space.write("plan.json", {"exit_plan_sha256": "00"})

    assert Workspace(tmp_path).sealed_plan() == {"exit_plan_sha256": "00"}
