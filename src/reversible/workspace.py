"""Where does a run keep its state, so that the same command can take it up again?

DIR/run/plan.json        the sealed plan: the first thing written, never rewritten
DIR/run/inventory.json   what the exporters named
DIR/run/journal.jsonl    what happened when, appended
DIR/bundle               the export; DIR/bundle.partial while it is being written
DIR/destination/bundle   what the destination fetched back from its own storage
DIR/evidence             the signed dossier
DIR/report*.html         the report, outside the dossier, for reading
"""

import fcntl
import json
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from reversible.bundle.writer import disk_faults, json_bytes
from reversible.errors import UsageError


class Workspace:
    """The directory of one run.

    Raises:
        UsageError: the directory holds something else, or a finished run, or another plan's run.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.state = self.root / "run"
        self.bundle = self.root / "bundle"
        self.fetched = self.root / "destination" / "bundle"
        self.evidence = self.root / "evidence"
        if self.root.exists() and not self.root.is_dir():
            raise UsageError(f"{root} is not a directory", hint="choose another one with --into")
        if self.root.is_dir() and any(self.root.iterdir()) and not self.state.is_dir():
            raise UsageError(
                f"{root} exists and holds something that is not a run of ours", hint="choose another one with --into"
            )
        if self.evidence.exists():
            read = f"read {root}/report.html"
            if not (self.root / "report.html").exists():  # killed between the seal and the report's new name
                read = f"reversible report {root}/evidence --into {root}"
            raise UsageError(f"{root} holds a finished run", hint=f"choose another one with --into, or {read}")

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep a second run out of the directory."""
        with disk_faults(self.state):
            self.state.mkdir(parents=True, exist_ok=True)
            lock = (self.state / "lock").open("w")
        with lock as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UsageError(
                    f"another run is working in {self.root}", hint="wait for it, or choose another --into"
                ) from error
            yield

    def sealed_plan(self) -> dict[str, Any] | None:
        """The plan that an interrupted run sealed here; None when there was none."""
        return self.read("plan.json") if (self.state / "plan.json").exists() else None

    def read(self, name: str) -> Any:
        """Read a state file."""
        return json.loads((self.state / name).read_bytes())

    def write(self, name: str, document: Any) -> None:
        """Write a state file whole."""
        path = self.state / name
        temporary = path.with_suffix(".tmp")
        with disk_faults(self.state):
            try:
                temporary.write_bytes(json_bytes(document))
                temporary.replace(path)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise

    def note(self, event: str, at: datetime, **details: Any) -> None:
        """Append one line to the journal; a line that a kill or a full disk cut short is cut away first."""
        line = json.dumps({"at": at.isoformat(), "event": event, **details}, ensure_ascii=False) + "\n"
        with disk_faults(self.state), (self.state / "journal.jsonl").open("a+b") as journal:
            journal.seek(0)
            journal.truncate(journal.read().rfind(b"\n") + 1)
            journal.write(line.encode())

    def draft(self) -> Path:
        """A new name for what is written before the evidence; the drafts of interrupted runs are thrown away."""
        for old in self.state.glob("draft-*"):
            shutil.rmtree(old)
        return self.state / f"draft-{secrets.token_hex(4)}"

    def journal(self) -> list[dict[str, Any]]:
        """All that happened; a line that a kill cut short is left out."""
        path = self.state / "journal.jsonl"
        if not path.exists():
            return []
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]
