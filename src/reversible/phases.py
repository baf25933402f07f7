"""How long did each phase of a run take, and how much memory?"""

import contextlib
import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


@dataclass(frozen=True, kw_only=True)
class Phase:
    """One phase: wall time in seconds, and the peak resident memory of this process in MiB."""

    name: str
    started_at: str
    seconds: float
    peak_mib: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class Clock:
    """Collects phases; times are given by the caller's `now`, so that a test can fix them."""

    def __init__(self) -> None:
        self.phases: list[Phase] = []

    @contextlib.contextmanager
    def phase(self, name: str, *, started_at: str) -> Iterator[None]:
        _forget_peak()
        begin = time.monotonic()
        yield
        seconds = round(time.monotonic() - begin, 3)
        self.phases.append(Phase(name=name, started_at=started_at, seconds=seconds, peak_mib=round(peak_mib(), 1)))


def peak_mib() -> float:
    """The peak resident memory of this process in MiB: since the phase began on Linux, since the start elsewhere."""
    if _STATUS.exists():
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def _forget_peak() -> None:
    with contextlib.suppress(
        OSError
    ):  # Linux only, and only where the kernel allows it: the peak is then the whole run's
        _CLEAR.write_text("5")
