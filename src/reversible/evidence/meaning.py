"""Does the dossier say what its own measurements say?

A signature proves who sealed, never that what is sealed follows from the measurements. So all that can be computed
is computed again: the criteria, the completeness, the verdicts, the statement and the report.
"""

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from reversible import clauses, judgement
from reversible.bundle import bag
from reversible.bundle.writer import json_bytes
from reversible.documents import RunDocuments
from reversible.evidence import contents, judging, recipe, strict_json
from reversible.evidence import statement as statements
from reversible.evidence.examination import Examination, NotRun, Rejected
from reversible.evidence.integrity import listing, some
from reversible.evidence.origin import statement

TOOL = recipe.TOOL
_CLOCK_SLACK = timedelta(days=1)  # two honest clocks may differ, a day is generous
_TOKEN_SLACK = timedelta(hours=1)  # an authority's clock is right; the sealing machine's may be off by a time zone

_Contents = tuple[bytes, ...]


def documents(exam: Examination) -> str:
    """The six documents are strict JSON of the known shape."""
    found = _parsed(_sealed(exam))
    exam.documents = found
    return f"{len(found.results)} results on {len(found.inventory)} assets"


def catalogue(exam: Examination) -> str:
    """The clauses that judged are those that the plan sealed, and those that this version of the tool comes with."""
    plan, content = _documents(exam).plan, _documents(exam).catalogue
    digest = hashlib.sha256(content).hexdigest()
    if digest != plan["catalogue_sha256"]:
        raise Rejected(f"the plan sealed the catalogue {plan['catalogue_sha256']}, {contents.CATALOGUE} is {digest}")
    shipped = clauses.load().sha256
    if digest != shipped and plan["tool"] == TOOL:
        raise Rejected(f"{TOOL} comes with the catalogue {shipped}, {contents.CATALOGUE} is {digest}")
    found = clauses.load(content)
    if exam.files.contents.get(contents.CLAUSES) != judging.of(content):
        raise Rejected(f"{contents.CLAUSES} does not say what {contents.CATALOGUE} says")
    exam.catalogue = found
    if digest != shipped:
        raise NotRun(f"the catalogue is that of {plan['tool']}, which is not at hand to compare: {digest}")
    return f"sealed in the plan, and the one that comes with {TOOL}"


def criteria(exam: Examination) -> str:
    """The sealed pass marks are those that the exit plan and the catalogue give: none dropped, none eased."""
    plan, found = _documents(exam).plan, _catalogue(exam)
    written = plan["exit_plan"].get("clauses") or {}
    for key in ("profiles", "flags"):
        if list(written.get(key, ())) != plan[key]:
            raise Rejected(f"the sealed {key} {plan[key]} are not those of the exit plan")
    if json_bytes(plan["exit_plan"].get("facts") or {}) != json_bytes(plan["facts"]):
        raise Rejected("the sealed facts are not those that the exit plan states")
    made = clauses.criteria(found, plan["profiles"], written.get("criterion", ()))
    if json_bytes([criterion.to_json() for criterion in made]) != json_bytes(plan["criteria"]):
        raise Rejected("the sealed criteria are not those that the exit plan and the catalogue give")
    return f"{len(made)} criteria follow from the exit plan and the catalogue"


def answers(exam: Examination) -> str:
    """Every planned check is answered exactly once, and nothing else is."""
    found = _documents(exam)
    planned = judgement.planned_checks(found.plan, found.inventory)
    given = [(line["metric"], line["asset"]) for line in found.results]
    missing = [f"no answer to {_named(check)}" for check in sorted(planned - set(given), key=_named)]
    unplanned = [f"nobody planned {_named(check)}" for check in sorted(set(given) - planned, key=_named)]
    twice = [
        f"two answers to {_named(check)}" for check in sorted({c for c in given if given.count(c) > 1}, key=_named)
    ]
    if missing or unplanned or twice:
        raise Rejected(some([*missing, *unplanned, *twice]))
    taken = sum(line["status"] == "measured" for line in found.results)
    return f"{len(planned)} planned checks, each answered once; {taken} measured, {len(given) - taken} not"


def verdicts(exam: Examination) -> str:
    """The verdicts are what the rules make of these measurements, byte for byte."""
    found = _documents(exam)
    _catalogue(exam)
    if _judged(_sealed(exam)) != exam.files.contents[contents.VERDICTS]:
        raise Rejected(
            f"{contents.VERDICTS} is not what the rules make of the sealed results: {_first_difference(exam)}"
        )
    return f"{len(found.verdicts['clauses'])} clauses judged again, the same"


def summary(exam: Examination) -> str:
    """The statement says what the documents say."""
    said, found = statement(exam), _documents(exam)
    own = said["predicate"]["reversible"]
    again = statements.build(
        plan=found.plan,
        run=found.run,
        verdicts=found.verdicts,
        digests=listing(exam),
        subject=exam.files.digests.get(bag.TAG_MANIFEST, ""),
        at=contents.aware(own["sealed_at"]),
        previous=own["previous"],
        nonce=own["nonce"],
        authority=own["authority"],
    )
    if strict_json.compact_bytes(again) != strict_json.compact_bytes(said):  # to Python, true equals 1
        pairs = ((again, said), (again["predicate"], said["predicate"]), (again["predicate"]["reversible"], own))
        differ = [key for mine, theirs in pairs for key in _differing(mine, theirs)]
        raise Rejected(f"the signed statement does not follow from the documents: {some(differ)}")
    return f"result {again['predicate']['result']}, the lists and every digest follow from the documents"


def bundle(exam: Examination) -> str:
    """The bundle's manifests that are kept here are those of the bundle that the run verified."""
    run, kept = _documents(exam).run, exam.files.contents
    _sealed(exam, tuple(sorted(contents.BUNDLE_NAMES)))
    tags = kept[f"data/bundle/{bag.TAG_MANIFEST}"]
    digest = hashlib.sha256(tags).hexdigest()
    if digest != run["bundle"].get("sha256"):
        raise Rejected(f"the run verified the bundle {run['bundle'].get('sha256')}, these manifests are of {digest}")
    manifest = hashlib.sha256(kept[f"data/bundle/{bag.MANIFEST}"]).hexdigest()
    if bag.parse_manifest(bag.TAG_MANIFEST, tags).get(bag.MANIFEST) != manifest:
        raise Rejected(f"data/bundle/{bag.MANIFEST} is not the one that the bundle's tag manifest lists")
    return f"bundle sha256 {digest}"


def times(exam: Examination) -> str:
    """What must come first came first: seal of the plan, export, end of the run, seal of the contents."""
    found, own = _documents(exam), statement(exam)["predicate"]["reversible"]
    sealed, finished = contents.aware(found.plan["sealed_at"]), contents.aware(found.run["finished_at"])
    closed = contents.aware(own["sealed_at"])
    _in_order(("the plan was sealed", sealed), ("the run began", contents.aware(found.run["started_at"])))
    _in_order(("the run began", contents.aware(found.run["started_at"])), ("the run ended", finished))
    _in_order(("the run ended", finished), ("the dossier was sealed", closed))
    for event in found.run["events"]:
        at = contents.aware(event["at"])
        _in_order(("the plan was sealed", sealed), (f"the event {event['event']!r}", at))
        _in_order((f"the event {event['event']!r}", at), ("the run ended", finished))
    if closed > exam.now + _CLOCK_SLACK:
        raise Rejected(f"the dossier was sealed on {closed.isoformat()}: that is to come")
    if exam.proved_at is not None and closed > exam.proved_at + _TOKEN_SLACK:
        raise Rejected(f"it says it was sealed at {closed.isoformat()}, its token is of {exam.proved_at.isoformat()}")
    if exam.proved_at is not None:
        return f"in order; sealed {closed.isoformat()} as claimed, {exam.proved_at.isoformat()} at the latest as proved"
    return f"in order, sealed {closed.isoformat()}; by the sealing machine's own clock, which no timestamp confirms"


def reports(exam: Examination) -> str:
    """Each report, rendered again from the documents, is the one in the dossier, byte for byte."""
    names = map(contents.REPORT_NAME.fullmatch, exam.files.contents)
    found = {name[0]: name[1] for name in names if name}
    if not found:
        raise NotRun("the dossier holds no report")
    _same_tool(exam, "render the report")
    _sealed(exam, tuple(found))
    sealed = _sealed(exam)
    for path, lang in found.items():
        if _rendered(sealed, lang) != exam.files.contents[path]:
            raise Rejected(f"{path} does not say what the documents say: rendered again, it differs")
    return f"{', '.join(sorted(found))}: rendered again, the same bytes"


def instructions(exam: Examination) -> str:
    """VERIFY.txt and verify.py are ours: forged ones could do anything, or say that all is well."""
    _same_tool(exam, f"compare {recipe.NAME}")
    if exam.files.contents.get(recipe.NAME) != recipe.TEXT.encode():
        raise Rejected(f"{recipe.NAME} is not the one that {TOOL} writes: do not follow it")
    if exam.files.contents.get(recipe.PROGRAM) != recipe.program():
        raise Rejected(f"{recipe.PROGRAM} is not the one that {TOOL} writes: do not run it")
    return f"{recipe.NAME} and {recipe.PROGRAM} are those that {TOOL} writes"


def expectations(exam: Examination) -> str:
    """The dossier is the one that the reader waits for."""
    asked = exam.expected
    own = statement(exam)["predicate"]["reversible"]
    said: list[str] = []
    for key in ("organisation", "plan_sha256", "nonce"):
        wanted = getattr(asked, key)
        if wanted is not None:
            if own.get(key) != wanted:
                raise Rejected(f"{key} is {own.get(key)!r}, not {wanted!r}")
            said.append(key)
    if asked.max_age_days is not None:
        age = (exam.now - contents.aware(own["sealed_at"])) / timedelta(days=1)
        if age > asked.max_age_days:
            raise Rejected(f"it was sealed {age:.1f} days ago, more than {asked.max_age_days:g}")
        said.append("age")
    if not said:
        raise NotRun("nothing was asked for: --organisation, --plan-sha256, --nonce, --max-age-days")
    return f"as expected: {', '.join(said)}"


# --- what several steps need -------------------------------------------------------------------------------------


def _documents(exam: Examination) -> RunDocuments:
    if exam.documents is None:
        raise NotRun("the documents cannot be relied on")
    return exam.documents


def _catalogue(exam: Examination) -> clauses.Catalogue:
    if exam.catalogue is None:
        raise NotRun("the catalogue cannot be relied on")
    return exam.catalogue


def _sealed(exam: Examination, paths: tuple[str, ...] = contents.DOCUMENTS) -> _Contents:
    """The bytes of the files, when they are the listed ones: from altered files nothing is concluded."""
    listed = listing(exam)
    for path in paths:
        if exam.files.digests.get(path) != listed.get(path) or path not in exam.files.contents:
            raise NotRun(f"{path} is not the file that was sealed")
    return tuple(exam.files.contents[path] for path in paths)


def _same_tool(exam: Examination, purpose: str) -> None:
    tool = _documents(exam).plan["tool"]
    if tool != TOOL:
        raise NotRun(f"sealed by {tool}, this is {TOOL}: install that version to {purpose}")


# The same bytes have the same meaning: whoever examines many copies of one dossier computes it once.


@lru_cache(maxsize=2)
def _parsed(sealed: _Contents) -> RunDocuments:
    return contents.parse(dict(zip(contents.DOCUMENTS, sealed, strict=True)))


@lru_cache(maxsize=2)
def _judged(sealed: _Contents) -> bytes:
    found = _parsed(sealed)
    catalogue = clauses.load(found.catalogue)
    return json_bytes(judgement.judge_run(found.plan, found.inventory, found.results, found.run, catalogue))


@lru_cache(maxsize=4)
def _rendered(sealed: _Contents, lang: str) -> bytes:
    from reversible.report import html

    return html.render(_parsed(sealed), lang)


def _first_difference(exam: Examination) -> str:
    again, given = strict_json.parse(_judged(_sealed(exam))), _documents(exam).verdicts
    mine = {clause["id"]: clause["verdict"] for clause in again["clauses"]}
    theirs = {clause["id"]: clause["verdict"] for clause in given["clauses"]}
    differ = [
        f"{clause} is {mine.get(clause, 'not judged')}, not {theirs.get(clause, 'left out')}"
        for clause in sorted({*mine, *theirs})
        if mine.get(clause) != theirs.get(clause)
    ]
    return some(differ) or some(_differing(again, given))


def _differing(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """The keys that differ, but for the two whose insides are compared themselves."""
    return [
        key
        for key in sorted({*mine, *theirs} - {"predicate", "reversible"})
        if key not in mine or key not in theirs or json_bytes(mine[key]) != json_bytes(theirs[key])
    ]


def _named(check: tuple[str, str | None]) -> str:
    return f"{check[0]} on {check[1] or 'the run'}"


def _in_order(first: tuple[str, datetime], then: tuple[str, datetime]) -> None:
    if first[1] > then[1]:
        raise Rejected(f"{then[0]} at {then[1].isoformat()}, before {first[0]} at {first[1].isoformat()}")
