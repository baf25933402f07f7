"""What does the bundle alone say?

`python -m reversible.destinations.rerun BUNDLE_DIR RESULTS.jsonl` is what runs inside the fence: it hashes the
whole bundle, tries the canaries, asks every verifier about every asset, and writes one line per planned check.
Progress goes to standard output, one JSON object per line; whatever a verifier prints goes to standard error.
Exit status: 0 every question was asked, 5 the bundle is not what it says, 2 wrong arguments.
"""

import argparse
import json
import math
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import EntryPoint, distributions, entry_points, packages_distributions
from pathlib import Path
from typing import IO, Any, cast

from reversible import __version__
from reversible.assets import Asset
from reversible.bundle.reader import Bundle
from reversible.destinations import canaries
from reversible.destinations.credentials import credentials
from reversible.destinations.guard import ImportGuard
from reversible.errors import ReversibleError, UsageError
from reversible.findings import Finding
from reversible.interfaces import Verifier

Tell = Callable[[Mapping[str, Any]], None]


def main() -> int:
    arguments = _arguments()
    tell = _take_over_stdout()
    started = time.monotonic()
    canaries.fly(arguments.canary, arguments.control, lambda one: tell(json.loads(canaries.to_json(one))))
    if arguments.canaries_only:
        return 0
    guard = ImportGuard()
    guard.install()
    try:
        bundle = Bundle.open(arguments.bundle)
        bundle.check()
        tell({"event": "bundle", "digest": bundle.digest, "assets": len(bundle.assets)})
        verifiers, unloadable = _load(guard)
    except ReversibleError as error:
        print(error.message + (f" (try: {error.hint})" if error.hint else ""), file=sys.stderr)
        return error.exit_status
    with arguments.results.open("w", encoding="utf-8") as results:
        answer_all(bundle, verifiers, results, tell, guard)
        summary = {**_summary(guard), "unloadable": unloadable, "seconds": round(time.monotonic() - started, 3)}
        results.write(json.dumps({"summary": summary}) + "\n")
    tell({"event": "end"})
    return 0


def answer_all(
    bundle: Bundle, verifiers: Mapping[str, Verifier], results: IO[str], tell: Tell, guard: ImportGuard
) -> None:
    """Ask each verifier about each asset of its kinds; the answers of one question are on disk before the next."""
    questions = [
        (asset, name, verifier)
        for asset in bundle.assets
        for name, verifier in verifiers.items()
        if asset.kind in verifier.kinds
    ]
    tell({"event": "start", "questions": len(questions)})
    for asset, name, verifier in questions:
        guard.during = name
        began = time.monotonic()
        lines = list(answers(asset, verifier, bundle))
        for line in lines:
            results.write(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n")
        results.flush()
        wrong = sum(line["status"] == "error" for line in lines)
        seconds = round(time.monotonic() - began, 3)
        tell({"event": "verified", "asset": asset.id, "verifier": name, "seconds": seconds,
              "answers": len(lines), "errors": wrong})  # fmt: skip
    guard.during = "end"


def answers(asset: Asset, verifier: Verifier, bundle: Bundle) -> Iterator[dict[str, Any]]:
    """One line per metric of the verifier, whatever it does: an answer that is missing, doubled or not one says so."""
    given: dict[str, Finding] = {}
    errors: dict[str, str] = {}
    stray = ""
    broke = ""
    try:
        for finding in verifier.verify(asset, bundle):
            if not isinstance(finding, Finding) or finding.metric not in verifier.metrics:
                stray = f"the verifier answered what it was not asked: {getattr(finding, 'metric', finding)!r}"
            elif finding.asset != asset.id:
                errors[finding.metric] = f"the verifier answered for another asset: {finding.asset}"
            elif finding.metric in given:
                errors[finding.metric] = "the verifier answered twice"
            else:
                given[finding.metric] = finding
    except ReversibleError as error:
        broke = error.message
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a broken check becomes an unanswered one, and the next still runs
        broke = f"{type(error).__name__}: {error}"
    for metric in sorted(verifier.metrics):
        found = given.get(metric)
        error_text = errors.get(metric, "")
        if found is not None and not error_text:
            error_text = _fault(found)
        if found is None and not error_text:
            error_text = broke or stray or "the verifier gave no answer"
        if found is None or error_text:
            yield _unanswered(metric, asset, found, error_text)
        else:
            yield {**found.to_json(), "status": "measured"}


def _unanswered(metric: str, asset: Asset, found: Finding | None, error: str) -> dict[str, Any]:
    line = Finding(metric, asset.id, None, unit=found.unit if found else "", error=error).to_json()
    if found is not None and not _fault_of_shape(found):
        line = {**found.to_json(), "value": None, "error": error}
    return {**line, "status": "error"}


def _fault(finding: Finding) -> str:
    """Why a finding is no answer; empty when it is one."""
    if finding.error:
        return finding.error
    if finding.value is None:
        return "the verifier gave no value"
    if isinstance(finding.value, float) and not math.isfinite(finding.value):
        return f"the value is {finding.value}: not a number that a result can carry"
    return _fault_of_shape(finding)


def _fault_of_shape(finding: Finding) -> str:
    try:
        json.dumps({**finding.to_json(), "value": None}, allow_nan=False)
        json.dumps(finding.value)
    except (TypeError, ValueError) as error:
        return f"the finding cannot be written down: {error}"
    return ""


# --- around the questions ---------------------------------------------------------------------------------------


def _load(guard: ImportGuard) -> tuple[dict[str, Verifier], dict[str, str]]:
    """Every verifier that loads, by name, and why the others do not: one broken plugin stops no other."""
    verifiers: dict[str, Verifier] = {}
    unloadable: dict[str, str] = {}
    points: list[EntryPoint] = sorted(entry_points(group="reversible.verifiers"), key=lambda one: one.name)
    for point in points:
        guard.during = point.name
        if point.name in verifiers or point.name in unloadable:
            raise UsageError(f"two installed packages both provide the verifier {point.name}", hint="pip list")
        try:
            verifiers[point.name] = cast("Verifier", point.load()())
        except (ImportError, AttributeError, TypeError) as error:
            unloadable[point.name] = f"{type(error).__name__}: {error}"
    return verifiers, unloadable


def _summary(guard: ImportGuard) -> dict[str, Any]:
    """What this process was: shown from itself, not assumed."""
    return {
        "vendor_modules": list(guard.loaded()),
        "refused_imports": [vars(one) for one in guard.refused],
        "versions": _versions(),
        "python": sys.version.split()[0],
        "peak_rss_kib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        "credentials": credentials(os.environ),
        "environment": sorted(os.environ),
    }


def _versions() -> dict[str, str]:
    """The distributions that are loaded in this process, with their versions."""
    owners = packages_distributions()
    loaded = {owner for name in list(sys.modules) for owner in owners.get(name.partition(".")[0], ())}
    found = {one.name: one.version for one in sorted(distributions(), key=lambda one: one.name) if one.name in loaded}
    return {**found, "reversible-toolkit": __version__}


def _take_over_stdout() -> Tell:
    """Keep standard output for progress: what a verifier prints, natively too, goes to standard error."""
    private = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def tell(event: Mapping[str, Any]) -> None:
        private.write(json.dumps(event, ensure_ascii=False) + "\n")
        private.flush()

    return tell


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m reversible.destinations.rerun", description=__doc__)
    parser.add_argument("bundle", type=Path, metavar="BUNDLE_DIR")
    parser.add_argument("results", type=Path, metavar="RESULTS.jsonl")
    parser.add_argument("--canary", action="append", default=[], metavar="HOST:PORT", help="must not be reachable")
    parser.add_argument("--control", default="", metavar="HOST:PORT", help="must be reachable")
    parser.add_argument("--canaries-only", action="store_true", help="stop after the canaries")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
