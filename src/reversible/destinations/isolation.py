"""What does the fence's log say about the ties to the source?

What was not counted is not zero: without a log, or with one that its own canaries contradict, these findings
have no value, and say why.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from ipaddress import ip_address
from typing import Any, Protocol

from reversible.destinations.canaries import MARK, Canary, is_address, split
from reversible.fence import Attempt, Fenced
from reversible.findings import Finding, Scalar

RUN_METRICS = (
    "dest.simulated",
    "model.network_calls_to_source",
    "model.vendor_sdk_imports",
    "residual.calls_to_source",
    "residual.route_to_source",
    "residual.shared_credentials",
    "supply.undeclared_hosts",
)
INPUTS_COMPARED = "model.inputs_compared"  # above 0: the model answered in the re-run
STAND_IN = "re-run on this machine, which stands in for a provider"
_PLACES = 20


class Flight(Protocol):
    """A run that held canaries only."""

    @property
    def fenced(self) -> Fenced: ...
    @property
    def canaries(self) -> tuple[Canary, ...]: ...


@dataclass(frozen=True, kw_only=True)
class Observed:
    """All that was seen of one re-run, from outside."""

    fenced: Fenced
    before: Flight
    during: tuple[Canary, ...]
    after: Flight
    secret: str = field(repr=False)
    control_port: int
    sources: tuple[str, ...]  # as the plan names them
    targets: tuple[str, ...]  # the same, and the addresses that their names have
    summary: Mapping[str, Any]
    crash: str
    lines: tuple[Mapping[str, Any], ...]  # what the verifiers answered
    models: frozenset[str]  # the ids of the models that were to leave, refused ones included

    @cached_property
    def rounds(self) -> tuple[tuple[str, tuple[Canary, ...]], ...]:
        return (("before", self.before.canaries), ("during", self.during), ("after", self.after.canaries))

    @cached_property
    def reached(self) -> tuple[str, ...]:
        """Sources that a canary reached."""
        return tuple(
            dict.fromkeys(one.target for _, flown in self.rounds for one in flown if one.reached and not one.control)
        )

    @cached_property
    def unflown(self) -> str:
        """Which canary or control is missing or did not work; empty when all did."""
        for when, flown in self.rounds:
            if Counter(one.target for one in flown if not one.control) != Counter(self.targets):
                return f"not every canary was sent {when} the re-run"
            control = [one for one in flown if one.control]
            if len(control) != 1:
                return f"the control was not tried {when} the re-run"
            # without any interface there is no way for the control either: the kind of fence says so
            if self.fenced.kind != "unshare" and control[0].answer != self.secret:
                return f"the endpoint that must work did not, {when} the re-run: {control[0].answer or 'no answer'}"
        return ""

    @cached_property
    def held(self) -> bool:
        """Whether the fence cut: canaries were sent, none came through, and what had to work did."""
        return self.fenced.kind != "none" and bool(self.targets) and not self.reached and not self.unflown

    @cached_property
    def worked(self) -> bool:
        """Whether anything was re-run at all: an empty bundle leans on nobody, and shows nothing."""
        return any(line["status"] == "measured" for line in self.lines)

    @cached_property
    def models_share(self) -> float:
        """The share of the models, 0 to 1, that answered here; 0 without models."""
        answered = {line["asset"] for line in self.lines if line["metric"] == INPUTS_COMPARED and line["value"]}
        return len(answered & self.models) / len(self.models) if self.models else 0.0

    @cached_property
    def own_attempts(self) -> tuple[Attempt, ...]:
        """The attempts after the mark: those of the verifiers."""
        return self.fenced.attempts[self._mark + 1 :] if self._mark >= 0 else self.fenced.attempts

    @cached_property
    def log_distrust(self) -> str:
        """Why the log cannot be counted on; empty when it can."""
        if not self.fenced.counted:
            return f"the fence {self.fenced.kind!r} keeps no log of attempts"
        if self.unflown:
            return self.unflown
        if self._mark < 0:
            return "the mark between the canaries and the verifiers is not in the log"
        logs = (
            ("before", self.before.fenced.attempts, self.before.fenced),
            ("during", self.fenced.attempts[: self._mark + 1], self.fenced),
            ("after", self.after.fenced.attempts, self.after.fenced),
        )
        for (when, attempts, fenced), (_, flown) in zip(logs, self.rounds, strict=True):
            if fenced.unlogged != 0 and fenced.names_seen:  # with a network of its own, as for the names
                lost = "unknown" if fenced.unlogged is None else fenced.unlogged
                return f"the kernel counted packets that the log does not show, {when} the re-run: {lost}"
            if difference := _difference(flown, attempts, names_seen=fenced.names_seen):
                return f"the log does not show the canaries that were sent {when} the re-run: {difference}"
        return ""

    @property
    def log_trusted(self) -> bool:
        return not self.log_distrust

    @cached_property
    def _mark(self) -> int:
        for index, attempt in enumerate(self.fenced.attempts):
            if (attempt.host, attempt.port) == MARK:
                return index
        return -1

    def to_source(self, attempt: Attempt) -> bool:
        """Whether an attempt goes to the source: its name or one below it, or one of its addresses.

        On the loopback, where the source and others live side by side, the port has to be the source's, too.
        """
        for target in self.targets:
            host, port = split(target)
            if attempt.proto == "dns":
                name, asked = host.lower().rstrip("."), attempt.host.rstrip(".")
                if not is_address(host) and (asked == name or asked.endswith(f".{name}")):
                    return True
            elif is_address(host) and is_address(attempt.host):
                one, other = ip_address(host), ip_address(attempt.host)
                local = one.is_loopback and (other.is_loopback or other.is_unspecified)
                if (local and port == attempt.port) or (one == other and not local):
                    return True
        return False

    def is_control(self, attempt: Attempt) -> bool:
        return attempt.allowed and attempt.host == "127.0.0.1" and attempt.port == self.control_port


def _difference(flown: tuple[Canary, ...], attempts: tuple[Attempt, ...], *, names_seen: bool) -> str:
    """What the canaries say they tried, less what the log shows, and the other way round.

    UDP is left out: the resolver connects a datagram socket to see which address it would use, and sends nothing.
    """
    sent = Counter(entry for one in flown for entry in one.expected if entry[0] == "tcp" or names_seen)
    seen = Counter(
        (one.proto, one.host, one.port)
        for one in attempts
        if one.proto in ("tcp", "dns", "ip") and (one.host, one.port) != MARK
    )
    wrong = (sent - seen) + (seen - sent)
    return ", ".join(f"{proto} {host}:{port}" for proto, host, port in sorted(wrong))


def run_findings(observed: Observed) -> Iterator[Finding]:
    """One finding per metric of RUN_METRICS, on the whole run."""
    yield Finding("dest.simulated", None, True, unit="bool", seen=STAND_IN)
    yield from _calls(observed)
    yield _of_models(observed, _imports(observed))
    yield _route(observed)
    yield _of_work(observed, _credentials(observed))


def _calls(observed: Observed) -> Iterator[Finding]:
    network = [one for one in observed.own_attempts if one.proto != "unix" and not observed.is_control(one)]
    # what the command itself offers on its own loopback stays inside
    leaving = [one for one in network if not one.allowed or observed.to_source(one)]
    to_source = [one for one in leaving if observed.to_source(one)]
    undeclared = sorted({f"{one.proto} {one.host}" for one in leaving if not observed.to_source(one)})
    seen = "{n} connection attempts by the verifiers"
    yield _of_models(observed, _count(observed, "model.network_calls_to_source", len(leaving), leaving, seen))
    names = [one for one in leaving if one.port == 53 and one.proto != "dns"]
    calls = _count(observed, "residual.calls_to_source", len(to_source), to_source,
                   "{n} attempts to reach the source", whole=not names or bool(to_source))  # fmt: skip
    yield _of_work(observed, calls)
    # SUP-02 asks for the export and the re-run; only the re-run is counted here: half of the scope
    seen = "{n} hosts that nobody declared asked for in the re-run; the export is not counted"
    undeclared_hosts = _count(observed, "supply.undeclared_hosts", len(undeclared), undeclared, seen)
    yield _of_work(observed, replace(undeclared_hosts, coverage=0.5))


def _count(
    observed: Observed, metric: str, number: int, shown: list[Attempt] | list[str], seen: str, *, whole: bool = True
) -> Finding:
    """A count, where the log can be counted on. What was seen stands, even where more may have been missed."""
    why = observed.log_distrust
    if not why and observed.crash:
        why = f"the re-run did not come to its end: {observed.crash}"
    if not why and not whole:
        why = "names were asked for that this fence does not see"
    if why and not number:
        return Finding(metric, None, None, unit="count", error=why)
    places = tuple(dict.fromkeys(one if isinstance(one, str) else _place(one) for one in shown))
    facts: dict[str, Scalar] = {"n": number}
    return Finding(metric, None, number, unit="count", seen=seen, facts=facts, places=places[:_PLACES])


def _of_models(observed: Observed, found: Finding) -> Finding:
    """A zero counts for the models that answered; a call or an import counts against them in any case."""
    if found.value is None or found.value:
        return found
    if not observed.models_share:
        return replace(found, value=None, seen="", facts={}, error="no model answered in the re-run")
    return replace(found, coverage=observed.models_share)


def _of_work(observed: Observed, found: Finding) -> Finding:
    """A zero counts where something was re-run."""
    if found.value is None or found.value or observed.worked:
        return found
    return replace(found, value=None, seen="", facts={}, error="nothing was re-run")


def _imports(observed: Observed) -> Finding:
    metric = "model.vendor_sdk_imports"
    if not observed.summary:
        return Finding(metric, None, None, unit="count", error=_no_account(observed))
    refused = [one for one in observed.summary["refused_imports"] if not one["probe"]]
    loaded = observed.summary["vendor_modules"]
    packages = {one["package"] for one in refused} | set(loaded)
    places = tuple(f"{one['module']} imported by {one['by']} (verifier {one['during']})" for one in refused)
    places += tuple(f"{one} in the process" for one in loaded)
    return Finding(metric, None, len(packages), unit="count", places=places[:_PLACES], facts={"n": len(packages)},
                   seen="{n} vendor packages imported or asked for by the verifiers")  # fmt: skip


def _route(observed: Observed) -> Finding:
    metric = "residual.route_to_source"
    if observed.reached:
        return Finding(metric, None, True, unit="bool", seen="the source was reached from inside the fence",
                       places=observed.reached[:_PLACES])  # fmt: skip
    if observed.held:
        facts: dict[str, Scalar] = {"n": len(observed.targets), "fence": observed.fenced.kind}
        return Finding(metric, None, False, unit="bool", facts=facts,
                       seen="{n} endpoints of the source tried behind the fence {fence}: none was reached")  # fmt: skip
    why = observed.unflown
    if observed.fenced.kind == "none":
        why = "no fence held: that the source did not answer does not show that there is no route"
    elif not observed.targets:
        why = "no endpoint of the source was named: nothing could be tried"
    return Finding(metric, None, None, unit="bool", error=why)


def _credentials(observed: Observed) -> Finding:
    metric = "residual.shared_credentials"
    if not observed.summary:
        return Finding(metric, None, None, unit="count", error=_no_account(observed))
    found = list(observed.summary["credentials"])
    return Finding(metric, None, len(found), unit="count", facts={"n": len(found)}, places=tuple(found[:_PLACES]),
                   seen="{n} credentials of the source within reach of the re-run")  # fmt: skip


def _no_account(observed: Observed) -> str:
    return f"the re-run left no account of itself: {observed.crash or 'it did not come to its end'}"


def _place(attempt: Attempt) -> str:
    return f"{attempt.proto} {attempt.host}:{attempt.port}" if attempt.port else f"{attempt.proto} {attempt.host}"
