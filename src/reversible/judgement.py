"""Which verdicts follow from what one run left behind?

Pure: the same documents give the same bytes. The run judges with it, and whoever verifies the evidence judges again,
offline, so it believes nothing: a document that is malformed, incomplete or contradicts itself is an EvidenceError.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any, NoReturn

from reversible import scoring
from reversible.answers import Measurements, Planned
from reversible.assets import Asset
from reversible.clauses import Catalogue, Criterion, Verdict, sealed_criteria
from reversible.documents import Document
from reversible.errors import EvidenceError, UsageError
from reversible.findings import Finding, Value
from reversible.levels import ProofLevel
from reversible.verdicts import Circumstances, ClauseVerdict, Received, judge

FORMAT = "reversible-verdicts/1"
STATUSES = ("measured", "error", "not-run")

_HINT = "reversible evidence verify --help"
_YEARS = range(1970, 3000)
_SHA256 = re.compile(r"[0-9a-f]{64}")
_RESULT_KEYS = frozenset(
    {"metric", "asset", "value", "unit", "seen", "facts", "places", "files", "coverage", "projected", "error", "status"}
)  # Finding.to_json() and the status
_DOCUMENT_KEYS = frozenset({"id", "clause", "path", "sha256", "read_by", "read_on", "opinion"})


def planned_checks(plan: Document, inventory: Sequence[Document]) -> frozenset[Planned]:
    """Every check that the sealed plan and the inventory ask for: each must be answered by exactly one result.

    A verifier asks all its metrics of every asset of its kinds that is in scope and can leave; the run's own metrics
    are asked once, of no asset.

    Args:
        plan: plan.json.
        inventory: inventory.json.

    Raises:
        EvidenceError: a document is malformed, an asset stands twice, or two verifiers ask the same.
    """
    assets = _assets(inventory)
    planned: list[Planned] = [(metric, None) for metric in _texts(plan, "run_metrics", "plan.json")]
    for name, verifier in _mapping(plan, "verifiers", "plan.json").items():
        where = f"plan.json: verifiers.{name}"
        metrics, kinds = _texts(verifier, "metrics", where), _texts(verifier, "kinds", where)
        planned += [(metric, asset.id) for asset in assets if asset.kind in kinds for metric in metrics]
    for check, times in Counter(planned).items():
        if times > 1:
            _refuse(f"plan.json: {check[0]} on {check[1] or 'the whole run'} is planned twice")
    return frozenset(planned)


def judge_run(
    plan: Document,
    inventory: Sequence[Document],
    results: Iterable[Document],
    run: Document,
    catalogue: Catalogue,
    *,
    at: date | None = None,
) -> dict[str, Any]:
    """The verdicts on one run: verdicts.json.

    Args:
        plan: plan.json, sealed before the run.
        inventory: inventory.json.
        results: results.jsonl, one line per planned check.
        run: run.json.
        catalogue: The catalogue whose digest the plan sealed.
        at: The day of judging; the day the run finished when None. Later, measurements expire.

    Raises:
        EvidenceError: a document is malformed; the catalogue is not the sealed one; the criteria are not its own; a
            planned check has no line or two; a line was not planned; run and results contradict each other.
    """
    if _text(plan, "catalogue_sha256", "plan.json") != catalogue.sha256:
        _refuse(f"plan.json: sealed with another clause catalogue than {catalogue.sha256[:12]}")
    profiles, flags = _texts(plan, "profiles", "plan.json"), _texts(plan, "flags", "plan.json")
    for flag in flags:
        if flag not in catalogue.flags:
            _refuse(f"plan.json: the flag {flag!r} is unknown")
    criteria = _criteria(plan, profiles, catalogue)
    planned = planned_checks(plan, inventory)
    findings = _findings(results, planned)
    measurements = Measurements(catalogue, planned, findings, _facts(plan, catalogue))
    measured_on = _day_of(run, "finished_at")
    given = Circumstances(
        catalogue=catalogue,
        profiles=frozenset(profiles),
        flags=frozenset(flags),
        measurements=measurements,
        documents=tuple(_received(one, catalogue) for one in _list(plan, "documents", "plan.json")),
        level=_level(run),
        simulated=_simulated(run, measurements),
        measured_on=measured_on,
        at=at or measured_on,
        moot=_moot(plan, inventory),
    )
    of_clause: dict[str, list[Criterion]] = {}
    for criterion in criteria:
        of_clause.setdefault(criterion.clause, []).append(criterion)
    verdicts = [judge(clause, of_clause.get(clause.id, []), given) for clause in catalogue.clauses.values()]
    return _document(verdicts, catalogue, given)


def _moot(plan: Document, inventory: Sequence[Document]) -> frozenset[str]:
    """The metrics that only assets of other kinds could answer than the inventory has, left-out ones included."""
    present = {asset["kind"] for asset in inventory}
    asked: dict[str, set[str]] = {}
    for verifier in plan["verifiers"].values():
        for metric in verifier["metrics"]:
            asked.setdefault(metric, set()).update(verifier["kinds"])
    return frozenset(metric for metric, kinds in asked.items() if present and not kinds & present)


def exit_status(verdicts: Sequence[ClauseVerdict], reached: ProofLevel) -> int:
    """1 when a clause FAILED; 3 when a blocking clause that this destination can show has something untested; else 0.

    A clause that needs a higher level than the destination reaches does not count, and neither does a missing
    document: no run can bring either.
    """
    if any(one.verdict is Verdict.FAILED for one in verdicts):
        return 1
    open_ = (Verdict.NOT_TESTED, Verdict.PARTIAL)
    untested = [
        one
        for one in verdicts
        if one.clause.severity == "blocking"
        and one.clause.proof_level <= reached
        and one.verdict in open_
        and (one.untested or one.verdict is Verdict.NOT_TESTED)
    ]
    return 3 if untested else 0


def _document(verdicts: Sequence[ClauseVerdict], catalogue: Catalogue, given: Circumstances) -> dict[str, Any]:
    headline = scoring.headline(verdicts)
    measured = scoring.measured_index(verdicts, catalogue.weights)
    dossier = scoring.dossier_index(verdicts)
    counts = Counter(one.verdict for one in verdicts)
    return {
        "format": FORMAT,
        "catalogue_sha256": catalogue.sha256,
        "level": str(given.level),
        "simulated": given.simulated,
        "headline": {
            "level": str(headline.level),
            "blocking": {str(one): n for one, n in sorted(headline.blocking.items())},
        },
        "counts": {str(one): counts[one] for one in sorted(counts)},
        "measured_index": {"low": measured.low, "high": measured.high, "cap": measured.cap},
        "dossier_index": {"value": dossier.value, "accepted": dossier.accepted, "required": dossier.required},
        "exit_status": exit_status(verdicts, given.reached),
        "clauses": [one.to_json() for one in verdicts],
    }


# --- reading the documents ---------------------------------------------------------------------------------------


def _assets(inventory: Sequence[Document]) -> list[Asset]:
    """The assets that are in scope and can leave."""
    if not isinstance(inventory, Sequence) or isinstance(inventory, str | bytes):
        _refuse("inventory.json: a list of assets is expected")
    seen: set[str] = set()
    found = []
    for position, document in enumerate(inventory):
        try:
            asset = Asset.from_json(document)
            named = f"{asset.source}{asset.name}".strip()
        except (KeyError, TypeError, ValueError) as error:
            raise EvidenceError(f"inventory.json: asset {position} is malformed: {error!r}", hint=_HINT) from error
        for text in (asset.excluded, asset.obstacle):
            if text is not None and not isinstance(text, str):
                _refuse(f"inventory.json: {asset.id}: excluded and obstacle are texts or null")
        if not named or not isinstance(asset.source, str) or not isinstance(asset.name, str):
            _refuse(f"inventory.json: asset {position} has no name")
        if asset.id in seen:
            _refuse(f"inventory.json: {asset.id} stands twice")
        seen.add(asset.id)
        if asset.excluded is None and asset.obstacle is None:
            found.append(asset)
    return found


def _criteria(plan: Document, profiles: Sequence[str], catalogue: Catalogue) -> tuple[Criterion, ...]:
    sealed = _list(plan, "criteria", "plan.json")
    try:
        return sealed_criteria(catalogue, profiles, sealed)
    except UsageError as error:  # an unknown profile: in a sealed plan that is a fault of the evidence
        raise EvidenceError(f"plan.json: {error.message}", hint=_HINT) from error


def _findings(results: Iterable[Document], planned: frozenset[Planned]) -> list[Finding]:
    """The measured findings, once every planned check is shown to have exactly one line."""
    lines: dict[Planned, Finding] = {}
    for number, document in enumerate(results, start=1):
        where = f"results.jsonl: line {number}"
        finding = _finding(document, where)
        key = (finding.metric, finding.asset)
        named = f"{finding.metric} on {finding.asset or 'the whole run'}"
        if key not in planned:
            _refuse(f"{where}: {named} was not planned")
        if key in lines:
            _refuse(f"{where}: {named} is answered twice")
        lines[key] = finding
    if missing := sorted(planned - set(lines), key=lambda key: (key[0], key[1] or "")):
        metric, asset = missing[0]
        _refuse(f"results.jsonl: {len(missing)} planned checks have no line, first {metric} on {asset or 'the run'}")
    return list(lines.values())


def _finding(document: Document, where: str) -> Finding:
    if not isinstance(document, Mapping) or set(document) != _RESULT_KEYS:
        _refuse(f"{where}: exactly these keys are expected: {', '.join(sorted(_RESULT_KEYS))}")
    for key in ("metric", "unit", "seen", "error"):
        _text(document, key, where)
    for key in ("places", "files"):
        _texts(document, key, where, once=False)
    _mapping(document, "facts", where)
    if document["asset"] is not None and (not isinstance(document["asset"], str) or not document["asset"]):
        _refuse(f"{where}: asset is a text or null")
    if not isinstance(document["projected"], bool):
        _refuse(f"{where}: projected is true or false")
    if document["status"] not in STATUSES:
        _refuse(f"{where}: status is one of {', '.join(STATUSES)}")
    if (document["status"] == "measured") != (document["value"] is not None):
        _refuse(f"{where}: only a measured check has a value, and it always has one")
    _value(document["value"], where)
    return Finding.from_json(document)


def _value(value: object, where: str) -> Value | None:
    if isinstance(value, list):
        if not all(isinstance(one, str) for one in value):
            _refuse(f"{where}: a list of texts is expected")
        return tuple(value)
    if value is not None and not isinstance(value, bool | int | float | str):
        _refuse(f"{where}: {type(value).__name__} is no value")
    return value


def _facts(plan: Document, catalogue: Catalogue) -> dict[str, Value]:
    facts = {}
    for metric, typed in _mapping(plan, "facts", "plan.json").items():
        value = _value(typed, f"plan.json: facts.{metric}")
        if metric not in catalogue.metrics or value is None:
            _refuse(f"plan.json: facts.{metric} is no fact of the catalogue, or has no value")
        facts[metric] = value
    return facts


def _received(document: object, catalogue: Catalogue) -> Received:
    if not isinstance(document, Mapping) or _DOCUMENT_KEYS - set(document):
        _refuse(f"plan.json: documents: these keys are expected: {', '.join(sorted(_DOCUMENT_KEYS))}")
    name, clause = _text(document, "id", "plan.json: documents"), _text(document, "clause", "plan.json: documents")
    where = f"plan.json: documents: {clause} {name}"
    if clause not in catalogue.clauses or name not in [one.id for one in catalogue.clauses[clause].documents]:
        _refuse(f"{where}: no such document is asked for")
    if not _SHA256.fullmatch(_text(document, "sha256", where)):
        _refuse(f"{where}: sha256 is no digest")
    opinion = _text(document, "opinion", where)
    if opinion not in ("accepts", "contradicts"):
        _refuse(f"{where}: opinion is accepts or contradicts")
    try:
        read_on = date.fromisoformat(_text(document, "read_on", where))
    except ValueError as error:
        raise EvidenceError(f"{where}: read_on is no day: {error}", hint=_HINT) from error
    _check_year(read_on, f"{where}: read_on")
    read_by = _text(document, "read_by", where)
    return Received(id=name, clause=clause, read_by=read_by, read_on=read_on, accepts=opinion == "accepts")


def _level(run: Document) -> ProofLevel:
    try:
        return ProofLevel.of(_text(run, "level", "run.json"))
    except ValueError as error:
        raise EvidenceError(f"run.json: level: {error}", hint=_HINT) from error


def _simulated(run: Document, measurements: Measurements) -> bool:
    """Whether the destination was a stand-in; run.json and the finding must say the same."""
    said = run.get("simulated") if isinstance(run, Mapping) else None
    if not isinstance(said, bool):
        _refuse("run.json: simulated is true or false")
    measured = measurements.value("dest.simulated")
    if measured is not None and measured is not said:
        _refuse(f"run.json says simulated: {said}, results.jsonl says {measured}")
    return said


def _day_of(run: Document, key: str) -> date:
    try:
        moment = datetime.fromisoformat(_text(run, key, "run.json"))
    except ValueError as error:
        raise EvidenceError(f"run.json: {key} is no time: {error}", hint=_HINT) from error
    if moment.tzinfo is None:
        _refuse(f"run.json: {key} has no time zone")
    _check_year(moment, f"run.json: {key}")
    return moment.astimezone(UTC).date()


def _check_year(day: date, where: str) -> None:
    """Far from the ends of the calendar, so that no sum of days leaves it."""
    if day.year not in _YEARS:
        _refuse(f"{where}: the year {day.year} cannot be")


def _text(document: object, key: str, where: str) -> str:
    value = document.get(key) if isinstance(document, Mapping) else None
    if not isinstance(value, str):
        _refuse(f"{where}: {key} is a text")
    return value


def _list(document: object, key: str, where: str) -> Sequence[Any]:
    value = document.get(key) if isinstance(document, Mapping) else None
    if not isinstance(value, list | tuple):
        _refuse(f"{where}: {key} is a list")
    return value


def _texts(document: object, key: str, where: str, *, once: bool = True) -> tuple[str, ...]:
    value = _list(document, key, where)
    if not all(isinstance(one, str) for one in value) or (once and len(set(value)) != len(value)):
        _refuse(f"{where}: {key} is a list of texts{', each once' if once else ''}")
    return tuple(value)


def _mapping(document: object, key: str, where: str) -> Mapping[str, Any]:
    value = document.get(key) if isinstance(document, Mapping) else None
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        _refuse(f"{where}: {key} is a mapping")
    return value


def _refuse(what: str) -> NoReturn:
    raise EvidenceError(what, hint=_HINT)
