"""Does the bundle work on this machine, with no way to the source?

A stand-in for the European host: a fenced process with an empty home, no credentials and no network. It reaches
N3 when the fence holds, its canaries behave and something was re-run, N2 when not; never N4, for a laptop is no
provider.
"""

import json
import os
import secrets
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from reversible import fence
from reversible.assets import Kind
from reversible.bundle.reader import Bundle
from reversible.destinations import canaries
from reversible.destinations.credentials import places_of_user
from reversible.destinations.isolation import RUN_METRICS, Observed, run_findings
from reversible.errors import BundleError, DestinationError, ReversibleError
from reversible.findings import Finding

__all__ = ["RUN_METRICS", "LocalDestination", "Rerun"]

_CANARY_TIMEOUT_S = 60.0
_OUTSIDE_TIMEOUT_S = 1.5
_FIRST_CONTROL_PORT = 61234
_OWN_LIMITS = (
    "imports, versions and credentials are the re-run process's own account of itself",
    "what a program that a verifier starts imports is not seen; what it tries to reach is",
)
_EXIT_OF = {one.exit_status: one for one in (BundleError, DestinationError)}


@dataclass(frozen=True, kw_only=True)
class Rerun:
    """What a re-run left: one line per answered check, and how far it was cut off.

    `level` is "N3" or "N2"; "N4" at an identified provider. `isolation` is JSON-able: the fence, its limits, canaries
    before, during and after, every attempt, the process's own account of itself, and `crash`, empty when it ended by
    itself. `observed` is what the run's findings were drawn from.
    """

    results: tuple[dict[str, Any], ...]
    isolation: dict[str, Any]
    level: str
    run_findings: tuple[Finding, ...]
    observed: Observed = field(repr=False)
    simulated: bool = True
    identity: tuple[dict[str, Any], ...] = ()  # the signals that say where it was
    raw: Mapping[str, bytes] = field(default_factory=dict, repr=False)  # what they were read from, for the evidence


class LocalDestination:
    """Runs the verifiers on this machine.

    Args:
        kinds: The fences to try, strongest first.
        python: The interpreter of the environment that holds the verifiers.
        timeout_s: Wall-clock seconds for the whole re-run.
        memory_bytes: Address space for its process; unlimited when None.
    """

    def __init__(
        self, *, kinds: Sequence[str] = fence.KINDS, python: str = sys.executable, timeout_s: float | None = None,
        memory_bytes: int | None = None,
    ) -> None:  # fmt: skip
        self._kinds = tuple(kinds)
        self._python = python
        self._timeout_s = timeout_s
        self._memory_bytes = memory_bytes

    def rerun(
        self, bundle: Path, *, sources: Sequence[str], into: Path,
        on_event: Callable[[Mapping[str, Any]], None] | None = None,
    ) -> Rerun:  # fmt: skip
        """Check the bundle and ask every verifier about every asset, with no route to `sources`.

        Args:
            bundle: A finished bundle.
            sources: The vendor's endpoints, "host:port" or "[v6]:port": none may be reachable.
            into: A directory for rerun.jsonl (the lines as they came) and rerun.log (what the verifiers printed).
            on_event: Takes each progress event as it comes.

        Raises:
            BundleError: the bundle is not what it says.
            DestinationError: the process cannot be started here, or `sources` names something else than endpoints.
        """
        targets = _targets(sources)
        into.mkdir(parents=True, exist_ok=True)
        outside = [_from_outside(target) for target in targets]
        with tempfile.TemporaryDirectory(prefix="reversible-") as home, _control(targets) as control:
            process = _Process(self, Path(home), targets, control)
            before, kind = process.fly(self._kinds)
            results = into / "rerun.jsonl"
            results.unlink(missing_ok=True)
            rerun, seen = process.verify(bundle.resolve(), results.resolve(), kind, on_event)
            after, _ = process.fly((kind,))
        (into / "rerun.log").write_text(rerun.stderr, encoding="utf-8")
        lines, summary = _read(results)
        observed = Observed(
            fenced=rerun, before=before, during=_canaries(seen), after=after, secret=control.secret,
            control_port=control.inside, targets=tuple(targets), sources=tuple(sources), summary=summary,
            crash=_crash(rerun, seen), lines=lines, models=models_of(bundle),
        )  # fmt: skip
        return conclude(observed, {"outside": outside, "environment": sorted(process.environment)})


def conclude(observed: Observed, about: Mapping[str, Any]) -> Rerun:
    """What follows from what was seen.

    Args:
        about: What else the evidence keeps: whether each target answered without the fence ("outside"), and the names
            of the variables that the re-run had ("environment").
    """
    rerun = observed.fenced
    isolation = {
        "fence": rerun.kind, "note": rerun.note, "limits": [*rerun.limits, *_OWN_LIMITS],
        # the canaries before it tried every kind, and the re-run took the one that held
        "stronger_fences_refused": dict(observed.before.fenced.refused_kinds), "setup_seconds": round(rerun.setup_s, 4),
        "seconds": round(rerun.seconds, 3), "counted": rerun.counted, "unlogged_by_kernel": rerun.unlogged,
        "log_trusted": observed.log_trusted, "log_distrust": observed.log_distrust,
        "outside": about["outside"],
        "canaries": [_told(moment, one) for moment, flown in observed.rounds for one in flown],
        "attempts": [asdict(one) for one in observed.own_attempts],
        "canary_attempts": len(rerun.attempts) - len(observed.own_attempts),
        "allowed_endpoints": [f"127.0.0.1:{observed.control_port}"], "environment": about["environment"],
        "rerun": observed.summary, "crash": observed.crash,
    }  # fmt: skip
    return Rerun(
        results=tuple(dict(line) for line in observed.lines), isolation=isolation,
        level="N3" if observed.held and observed.worked else "N2",
        run_findings=tuple(run_findings(observed)), observed=observed,
    )  # fmt: skip


class _Process:
    """Starts the same interpreter in the same environment behind the same fence, three times."""

    def __init__(self, owner: LocalDestination, home: Path, targets: Sequence[str], control: "_Control") -> None:
        self._owner = owner
        self._targets = targets
        self._control = control
        (home / "home").mkdir()
        (home / "tmp").mkdir()
        # Everything that the process sees of this machine's environment; no credential is in it.
        self.environment = {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "HOME": str(home / "home"),
            "TMPDIR": str(home / "tmp"),
            "OMP_NUM_THREADS": str(_cores()),
        }

    def fly(self, kinds: Sequence[str]) -> tuple["_Flight", str]:
        """Canaries in a process of their own: all that the log shows must be theirs."""
        seen: list[dict[str, Any]] = []
        fenced = self._run(["-", "-", "--canaries-only"], kinds, seen.append, _CANARY_TIMEOUT_S, None)
        if fenced.returncode != 0:
            raise DestinationError(
                f"the re-run's interpreter does not start behind the fence {fenced.kind}: {_last_line(fenced.stderr)}",
                hint=f"{self._owner._python} -I -m reversible.destinations.rerun --help",
            )
        return _Flight(fenced, _canaries(seen)), fenced.kind

    def verify(
        self, bundle: Path, results: Path, kind: str, on_event: Callable[[Mapping[str, Any]], None] | None
    ) -> tuple[fence.Fenced, list[dict[str, Any]]]:
        seen: list[dict[str, Any]] = []

        def take(event: dict[str, Any]) -> None:
            seen.append(event)
            if on_event is not None:
                on_event(event)

        owner = self._owner
        return self._run([str(bundle), str(results)], (kind,), take, owner._timeout_s, owner._memory_bytes), seen

    def _run(
        self, arguments: Sequence[str], kinds: Sequence[str], take: Callable[[dict[str, Any]], None],
        timeout_s: float | None, memory_bytes: int | None,
    ) -> fence.Fenced:  # fmt: skip
        def on_line(line: str) -> None:
            with suppress(ValueError):  # a line cut short by a kill is no event
                event = json.loads(line)
                if isinstance(event, dict):
                    take(event)

        # -I: no user site, no PYTHON* variable, no current directory on the path; -B: nothing is written beside code
        command = [self._owner._python, "-I", "-B", "-m", "reversible.destinations.rerun", *arguments]
        for target in self._targets:
            command += ["--canary", target]
        command += ["--control", f"127.0.0.1:{self._control.inside}"]
        try:
            return fence.run(
                command, allow={self._control.inside: ("127.0.0.1", self._control.outside)}, env=self.environment,
                timeout_s=timeout_s, on_line=on_line, kinds=kinds, memory_bytes=memory_bytes, hide=places_of_user(),
            )  # fmt: skip
        except OSError as error:
            raise DestinationError(
                f"this machine: {error}", hint="unshare --user --net true   # shows what this machine forbids"
            ) from error


@dataclass(frozen=True)
class _Flight:
    fenced: fence.Fenced
    canaries: tuple[canaries.Canary, ...]


@dataclass(frozen=True)
class _Control:
    inside: int  # port
    outside: int  # port
    secret: str


@contextmanager
def _control(targets: Sequence[str]) -> Iterator[_Control]:
    """A listener of ours that says a secret: the one endpoint that must be reachable."""
    secret = secrets.token_hex(16)
    taken = {canaries.split(target)[1] for target in targets}
    inside = next(port for port in range(_FIRST_CONTROL_PORT, 65536) if port not in taken)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return  # closed: the re-run is over
                with connection, suppress(OSError):
                    connection.sendall(f"{secret}\n".encode())

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield _Control(inside, listener.getsockname()[1], secret)
        finally:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            thread.join(2)


def _targets(sources: Sequence[str]) -> list[str]:
    """Each endpoint as it was named, and each address that its name has here: a name alone may fail for want of DNS."""
    targets: list[str] = []
    for source in sources:
        try:
            host, port = canaries.split(source)
        except ValueError as error:
            raise DestinationError(f"a source's endpoint is {error}", hint="write it as host:port") from error
        targets.append(source)
        if not canaries.is_address(host):
            with suppress(OSError):  # a name that is unknown here too
                for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
                    address = str(entry[4][0])
                    targets.append(f"[{address}]:{port}" if ":" in address else f"{address}:{port}")
    return list(dict.fromkeys(targets))


def _from_outside(target: str) -> dict[str, Any]:
    """Whether the source answers without the fence: then the canary's failure is the fence's doing."""
    try:
        with socket.create_connection(canaries.split(target), timeout=_OUTSIDE_TIMEOUT_S):
            return {"target": target, "reached": True, "answer": "connected"}
    except OSError as error:
        return {"target": target, "reached": False, "answer": str(error)}


def _told(moment: str, one: canaries.Canary) -> dict[str, Any]:
    """A canary as the report prints it: what had to happen, and what did."""
    expected = "reached" if one.control else "refused"
    outcome = "reached" if one.reached else "refused"
    return {"moment": moment, "target": one.target, "expected": expected, "outcome": outcome, "answer": one.answer}


def _canaries(events: Sequence[Mapping[str, Any]]) -> tuple[canaries.Canary, ...]:
    return tuple(
        canaries.Canary(
            event["target"], event["control"], event["reached"], event["answer"],
            tuple((proto, host, port) for proto, host, port in event["expected"]),
        )
        for event in events
        if event.get("event") == "canary"
    )  # fmt: skip


def _crash(rerun: fence.Fenced, events: Sequence[Mapping[str, Any]]) -> str:
    """Why the process did not come to its end; empty when it did.

    Raises:
        BundleError, DestinationError: it refused to begin, and said why.
    """
    code = rerun.returncode
    if code is None:
        return "the time was up"
    if code < 0:
        return f"ended by signal {-code} ({signal.Signals(-code).name})"
    began = any(event.get("event") == "start" for event in events)
    if code and not began:
        kind: type[ReversibleError] = _EXIT_OF.get(code, DestinationError)
        raise kind(_last_line(rerun.stderr) or f"the re-run ended with status {code}")
    ended = any(event.get("event") == "end" for event in events)
    return "" if code == 0 and ended else f"ended early with status {code}: {_last_line(rerun.stderr)}"


def _read(path: Path) -> tuple[tuple[dict[str, Any], ...], dict[str, Any]]:
    """The whole lines, and the summary when it came to that; a last line cut short by a kill counts for nothing."""
    if not path.exists():
        return (), {}
    lines = [json.loads(line) for line in path.read_bytes().rpartition(b"\n")[0].splitlines()]
    summary: dict[str, Any] = next((line["summary"] for line in lines if "summary" in line), {})
    return tuple(line for line in lines if "summary" not in line), summary


def models_of(bundle: Path) -> frozenset[str]:
    """The models of the bundle, those that the source refused included: they do not run here either."""
    entries = Bundle.open(bundle).entries
    return frozenset(entry.asset.id for entry in entries if entry.asset.kind is Kind.MODEL)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1][:500] if lines else ""
