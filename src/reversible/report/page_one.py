"""What does an auditor look at first?

Seven things in this order, and no score: what was not tested; the share of the scope; were thresholds sealed before
the run; who ran it; the age of the last pass; one finding followed to closure; how to check a number again.
"""

import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

from reversible.documents import Document
from reversible.report.blocks import Bar, Cell, Chart
from reversible.report.material import Material
from reversible.report.words import VERDICTS

_NAMED = 5  # untested blocking clauses named on page one: more do not fit a printed page


@dataclass(frozen=True, kw_only=True)
class Question:
    """One of the seven: what is asked, what is known; `lines` are shell lines."""

    asked: str
    answer: tuple[tuple[Cell, ...], ...]
    names: tuple[tuple[Cell, ...], ...] = ()
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class PageOne:
    """The first page; `counts` are (verdict, clauses, of these blocking)."""

    title: Cell
    parties: tuple[tuple[str, Cell], ...]
    tone: str
    headline: str
    level: str
    level_means: str
    reach: tuple[str, ...]
    counts: tuple[tuple[Cell, str, str], ...]
    chart: Chart
    indices: Chart
    index_rows: tuple[tuple[str, str, str], ...]
    questions: tuple[Question, ...]


def page_one(about: Material) -> PageOne:
    """Everything that stands on the first page."""
    tr = about.tr
    contract = about.exit_plan.get("contract") or {}
    headline = about.verdicts.get("headline") or {}
    level = str(headline.get("level") or "N0")
    counts = _counts(about)
    indices, rows = _indices(about)
    return PageOne(
        title=about.recorded(contract.get("title")),
        parties=(
            (tr.text("Customer"), about.recorded(contract.get("customer"))),
            (tr.text("Provider left"), about.recorded(contract.get("provider"))),
            (tr.text("Reference"), about.recorded(contract.get("reference"))),
            (tr.text("Run"), about.recorded(about.run.get("run_id"))),
            (tr.text("Finished"), about.moment(about.run.get("finished_at"))),
        ),
        tone=_tone(about),
        headline=_headline(about),
        level=level,
        level_means=about.words.level(level),
        reach=_reach(about, level),
        counts=counts,
        chart=_verdict_chart(about),
        indices=indices,
        index_rows=rows,
        questions=(
            _not_tested(about),
            _scope(about),
            _sealed(about),
            _who(about),
            _age(about),
            _followed(about),
            _recheck(about),
        ),
    )


def _tone(about: Material) -> str:
    """Green ("held") takes more than status 0: a blocking clause that this level cannot test is not held."""
    status = about.verdicts.get("exit_status", 3)
    if status == 0 and _blocking_open(about):
        return "open"
    return {0: "held", 1: "failed"}.get(status, "open")


def _blocking_open(about: Material) -> int:
    """Blocking clauses that apply and that this run does not show whole, at whatever level that would take."""
    return sum(
        clause.get("severity") == "blocking" and clause["verdict"] in ("NOT_TESTED", "DOCUMENT_NEEDED", "PARTIAL")
        for clause in about.clauses
    )


def _headline(about: Material) -> str:
    by_verdict = Counter(clause["verdict"] for clause in about.clauses)
    if by_verdict["FAILED"]:
        return about.tr.text("Measured: {n} clauses do not hold", n=by_verdict["FAILED"])
    if about.verdicts.get("exit_status") == 0 and (open_ones := _blocking_open(about)):
        return about.tr.text(
            "Measured: no clause fails; {n} blocking clauses need more than this run can show", n=open_ones
        )
    if about.verdicts.get("exit_status") == 0:
        return about.tr.text("Measured: no clause fails, and nothing blocking is left untested")
    if by_verdict["PROVEN"] or by_verdict["PARTIAL"]:
        return about.tr.text("Measured: no clause fails, but not everything required was tested")
    return about.tr.text("Nothing that was measured proves a clause")


def _reach(about: Material, held: str) -> tuple[str, ...]:
    tr, reached = about.tr, str(about.run.get("level") or about.verdicts.get("level") or "N0")
    said = []
    if reached != held:
        said.append(
            tr.text("The run itself reached {level}: {means}.", level=reached, means=about.words.level(reached))
        )
    if about.verdicts.get("simulated", about.run.get("simulated")):
        said.append(
            tr.text(
                "This destination can show N3 at most: it stands in for a provider. N4 needs an independent European "
                "provider whose identity is evidenced; clauses that need it stay PARTIAL at best."
            )
        )
    elif reached == "N4":
        said.append(
            tr.text("N5 needs two rehearsals in 12 months inside the contract's clock, observed by a third party.")
        )
    return tuple(said)


def _counts(about: Material) -> tuple[tuple[Cell, str, str], ...]:
    total = about.verdicts.get("counts") or {}
    blocking = (about.verdicts.get("headline") or {}).get("blocking") or {}
    return tuple(
        (about.verdict(name), about.tr.number(total.get(name, 0)), about.tr.number(blocking.get(name, 0)))
        for name in VERDICTS
    )


def _verdict_chart(about: Material) -> Chart:
    total = about.verdicts.get("counts") or {}
    shown = [(name, int(total.get(name, 0))) for name in VERDICTS if total.get(name) and name != "NOT_APPLICABLE"]
    everything = sum(n for _, n in shown) or 1
    bars, start = [], 0.0
    for name, n in shown:
        width = 100 * n / everything
        bars.append(Bar(label=about.verdict(name).text, start=start, width=width, shown=about.tr.number(n), code=name))
        start += width
    said = ", ".join(f"{bar.label} {bar.shown}" for bar in bars)
    return Chart(
        id="counts",
        title=about.tr.text("Clauses by verdict"),
        description=about.tr.text("One bar for {n} clauses: {said}.", n=everything, said=said),
        bars=tuple(bars),
    )


def _indices(about: Material) -> tuple[Chart, tuple[tuple[str, str, str], ...]]:
    tr, measured = about.tr, about.verdicts.get("measured_index") or {}
    dossier = about.verdicts.get("dossier_index") or {}
    low, high, cap = measured.get("low"), measured.get("high"), measured.get("cap")
    names = (tr.text("Measured index"), tr.text("Dossier index"))
    bars: list[Bar] = []
    if low is None or high is None:
        shown = tr.text("nothing to measure")
    else:
        shown = tr.text("{low} to {high} of 100", low=_tenth(low), high=_tenth(high))
        bars.append(Bar(label=names[0], start=low, width=max(1.0, high - low), shown=shown, code="range"))
    why = {
        49: tr.text("held at 49 at most: a blocking clause FAILED"),
        79: tr.text("held at 79 at most: a blocking clause is NOT TESTED"),
    }.get(cap or 0, tr.text("no cap"))
    value = dossier.get("value")
    papers = tr.text("{n} of {required} documents", n=dossier.get("accepted", 0), required=dossier.get("required", 0))
    bars.append(Bar(label=names[1], start=0, width=value or 0.0, shown=papers, code="documents", marked=False))
    rows = ((names[0], shown, why), (names[1], papers, tr.text("never added to the measured index")))
    chart = Chart(
        id="indices",
        title=tr.text("Two indices, never added"),
        description="; ".join(f"{name}: {said}, {note}" for name, said, note in rows) + ".",
        bars=tuple(bars),
        marks=() if cap is None else ((float(cap), tr.text("cap {cap}", cap=cap)),),
    )
    return chart, rows


def _tenth(value: float) -> float | int:
    return int(value) if float(value).is_integer() else round(value, 1)


def _not_tested(about: Material) -> Question:
    tr = about.tr
    silent = [one for one in about.clauses if one["verdict"] == "NOT_TESTED"]
    blocking = [one for one in silent if one.get("severity") == "blocking"]
    partial = sum(one["verdict"] == "PARTIAL" for one in about.clauses)
    stuck = sum(one.get("excluded") is None and bool(one.get("obstacle")) for one in about.inventory)
    answer = [
        Cell(tr.text("{n} clauses not tested, of which {blocking} blocking.", n=len(silent), blocking=len(blocking))),
        Cell(tr.text("{n} more are PARTIAL.", n=partial)),
    ]
    if stuck:
        answer.append(Cell(tr.text("{n} assets cannot leave the platform.", n=stuck)))
    names = [_clause_link(about, one) for one in blocking[:_NAMED]]
    if len(blocking) > _NAMED:
        names.append((Cell(tr.text("and {n} more: section 14", n=len(blocking) - _NAMED), ref="limits"),))
    return Question(asked=tr.text("What was not tested?"), answer=(tuple(answer),), names=tuple(names))


def _clause_link(about: Material, clause: Document) -> tuple[Cell, ...]:
    return (Cell(clause["id"], "code", ref=f"clause-{clause['id']}"), Cell(about.words.clause(clause["id"]).title))


def _scope(about: Material) -> Question:
    tr, exported = about.tr, about.of_run("inventory.exported_pct")
    left = sum(one.get("excluded") is not None for one in about.inventory)
    lines = [
        tr.text(
            "{n} assets in the inventory; {left} left behind by the plan; not listed in it: {unlisted}.",
            n=len(about.inventory), left=left, unlisted=about.shown("inventory.assets_unlisted"),
        ),
        tr.text(
            "Exported, of what is in scope: {count} by number, {bytes} by bytes.",
            count=about.shown("inventory.exported_pct"), bytes=about.shown("inventory.exported_bytes_pct"),
        ),
    ]  # fmt: skip
    if exported is None:
        lines[1] = tr.text("Nothing was exported: no share can be given.")
    annex = {
        "accepted": tr.text("The contract's annex of exportable assets was received (section 15)."),
        "contradicts": tr.text("The contract's annex of exportable assets contradicts the inventory."),
    }.get(
        _document_status(about, "DAT-01", "annex_exportable"),
        tr.text("The contract's annex of exportable assets was not received: the scope is the plan's own."),
    )
    return Question(
        asked=tr.text("Which share of the contract's scope?"), answer=((Cell(lines[0]), Cell(lines[1]), Cell(annex)),)
    )


def _document_status(about: Material, clause_id: str, document: str) -> str:
    clause = about.clause_of(clause_id) or {}
    return next((str(one["status"]) for one in clause.get("documents", ()) if one["id"] == document), "")


def _sealed(about: Material) -> Question:
    tr, line = about.tr, about.of_run("plan.criteria_sealed_before_run")
    if line is None:
        first = tr.text("It was not measured whether the thresholds were sealed before the run.")
    elif line["value"]:
        first = tr.text("Yes.")
    else:
        first = tr.text("NO: the first export came before the seal.")
    cells = [Cell(first)]
    if line is not None:
        cells.append(Cell(_sentence(about.sentence(line).text)))
    basis = Counter(one.get("basis") or "none" for one in about.plan.get("criteria", ()))
    order = ("law", "standard", "supervisor", "contract", "default", "none")
    listed = ", ".join(f"{tr.label('basis', name)} {tr.number(basis[name])}" for name in order if basis[name])
    n = sum(basis.values())
    cells.append(
        Cell(tr.text("{n} thresholds, by what they rest on: {listed}.", n=n, listed=listed or tr.text("none")))
    )
    return Question(asked=tr.text("Were the thresholds sealed before the run?"), answer=(tuple(cells),))


def _sentence(text: str) -> str:
    """A finding's words as a sentence of a paragraph."""
    return f"{text[:1].upper()}{text[1:]}." if text else text


def _who(about: Material) -> Question:
    tr = about.tr
    roles = (about.exit_plan.get("exit") or {}).get("roles") or {}
    operator = about.run.get("operator")
    first = (
        tr.text("Run by {operator}.", operator=str(operator))
        if operator
        else tr.text("The run records no operator; the seal names the key that signed.")
    )
    named = ", ".join(
        tr.text("{name}: {said}", name=tr.label("role", name), said=str(who))
        for name, who in sorted(roles.items())
        if who
    )
    second = tr.text("Roles written in the plan: {named}.", named=named or tr.text("none"))
    clause = about.clause_of("GOV-04")
    if clause is None or clause["verdict"] == "NOT_APPLICABLE":
        third = Cell(tr.text("Independence of the tester (GOV-04) is not asked by the chosen profiles, and not shown."))
        return Question(
            asked=tr.text("Who ran it, and are they independent?"), answer=((Cell(first), Cell(second), third),)
        )
    cells = (
        Cell(first),
        Cell(second),
        Cell(tr.text("Independence of the tester (GOV-04):")),
        about.verdict(clause["verdict"]),
    )
    return Question(asked=tr.text("Who ran it, and are they independent?"), answer=(cells,))


def _age(about: Material) -> Question:
    tr, days, changed = about.tr, about.of_run("plan.days_since_last_pass"), about.of_run("plan.major_change_since")
    cells = [Cell(tr.text("This run finished on {day}.", day=tr.day(str(about.run.get("finished_at") or "?"))))]
    if days is None:
        cells.append(
            Cell(tr.text("No earlier pass is known to this dossier: the age of the last one was not measured."))
        )
    else:
        cells.append(Cell(tr.text("The last pass is {age} old.", age=about.value(days))))
    if changed is None:
        cells.append(Cell(tr.text("Changes since then were not measured.")))
    else:
        cells.append(Cell(tr.text("Major change since then: {changed}.", changed=about.value(changed))))
    planned = (about.exit_plan.get("exit") or {}).get("next_rehearsal")
    cells.append(
        Cell(tr.text("Next rehearsal planned on {day}.", day=tr.day(str(planned))))
        if planned
        else Cell(tr.text("No next rehearsal is planned."))
    )
    return Question(asked=tr.text("How old is the last pass, and what changed since?"), answer=(tuple(cells),))


def _followed(about: Material) -> Question:
    """The first that failed; when nothing failed, the one closest to its threshold."""
    tr, asked = about.tr, about.tr.text("One finding, followed to its end")
    missed = _first_failed(about)
    chosen = missed or _closest(about)
    if chosen is None:
        return Question(
            asked=asked, answer=((Cell(tr.text("There is none: nothing was measured against a threshold.")),),)
        )
    clause, answer = chosen
    seen = _line_of(about, answer)
    chain: list[tuple[Cell, ...]] = [
        (Cell(clause["id"], "code", ref=f"clause-{clause['id']}"), Cell(about.words.clause(clause["id"]).title)),
        (
            Cell(
                tr.text(
                    "{metric}: measured {value}, sealed threshold {threshold} ({basis})",
                    metric=about.words.metric(answer["metric"]),
                    value=tr.value(answer.get("value"), answer.get("unit", "")),
                    threshold=about.words.threshold(answer["op"], answer.get("threshold"), answer.get("unit", "")),
                    basis=tr.label("basis", answer.get("basis") or "none"),
                )
            ),
            about.status(answer["status"]),
        ),
    ]
    where = [*answer.get("places", ())] or ([answer["asset"]] if answer.get("asset") else [])
    if where:
        more = f" (+{tr.number(len(where) - 1)})" if len(where) > 1 else ""
        chain.append((Cell(tr.text("Place:")), Cell(str(where[0]), "foreign"), Cell(more)))
    elif seen is not None:
        chain.append((about.sentence(seen),))
    end = (
        tr.text("Not closed: owner, cause and date are to be filled in section 13.")
        if missed
        else tr.text("Nothing to close: this is the measurement closest to its threshold.")
    )
    chain.append((Cell(end, ref="findings" if missed else ""),))
    return Question(asked=asked, answer=tuple(chain))


def _first_failed(about: Material) -> tuple[Document, Document] | None:
    return next((pair for pair in about.answers("missed") if pair[0]["verdict"] == "FAILED"), None)


def _line_of(about: Material, answer: Document) -> Document | None:
    lines = [line for line in about.by_metric.get(answer["metric"], ()) if line["status"] == "measured"]
    same = [line for line in lines if line["asset"] == answer.get("asset")]
    return next(iter(same or lines), None)


def _closest(about: Material) -> tuple[Document, Document] | None:
    """The measured answer with the smallest relative margin to a bound; an equality has no margin and comes last.

    A number that a person typed is not measured: it has no line in the results.
    """
    measured = [
        (clause, one) for clause, one in about.answers("met") if one.get("value") is not None and _line_of(about, one)
    ]
    return min(measured, key=lambda pair: _margin(pair[1]), default=None)


def _margin(answer: Document) -> float:
    value, bound = answer["value"], answer.get("threshold")
    if not _is_number(value) or not _is_number(bound) or answer["op"] not in ("<=", ">=", "abs<=") or not bound:
        return math.inf
    return float(abs(bound - abs(value)) / abs(bound))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _recheck(about: Material) -> Question:
    tr = about.tr
    followed = _first_failed(about) or _closest(about)
    metric = "data.cells_different" if followed is None else followed[1]["metric"]
    return Question(
        asked=tr.text("Can a number be checked again from the raw files?"),
        answer=((Cell(tr.text("Yes, offline, in the evidence folder (section 17):")),),),
        lines=(
            "sha256sum -c manifest-sha256.txt",
            f"grep '\"{metric}\"' data/results.jsonl",
            f"reversible evidence verify . --key {tr.text('FINGERPRINT')}",
        ),
    )
