"""What does each clause come to? Section 12."""

from reversible.documents import Document
from reversible.report.blocks import Block, Cell, Entry, Facts, Items, Table, code, paragraph
from reversible.report.material import Material
from reversible.report.words import VERDICTS

_RANK = {"missed": 0, "unanswered": 1, "met": 2}
_SEVERITY = {"blocking": 0, "major": 1, "minor": 2}


def clauses(about: Material) -> tuple[Block, ...]:
    """One line per clause, worst first; then everything about each."""
    tr = about.tr
    order = {name: number for number, name in enumerate(VERDICTS)}
    ranked = sorted(
        (one for one in about.clauses if one["verdict"] != "NOT_APPLICABLE"),
        key=lambda one: (order.get(one["verdict"], -1), _SEVERITY.get(one.get("severity", ""), 3), one["id"]),
    )
    table = Table(
        caption=tr.text("Clauses: verdict, measure and what it rests on"),
        heads=(
            tr.text("Clause"), tr.text("Verdict"), tr.text("Measured"), tr.text("Threshold (basis)"),
            tr.text("Sources"), tr.text("Evidence"),
        ),
        rows=tuple(_clause_row(about, one) for one in ranked),
    )  # fmt: skip
    aside = [one for one in about.clauses if one["verdict"] == "NOT_APPLICABLE"]
    blocks: list[Block] = [table]
    if aside:
        blocks.append(
            Table(
                caption=about.words.verdict("NOT_APPLICABLE"),
                heads=(tr.text("Clause"), tr.text("Title"), tr.text("Reason")),
                rows=tuple(
                    (code(one["id"]), Cell(about.words.clause(one["id"]).title), reason_cell(about, one))
                    for one in aside
                ),
                folded=tr.text("{n} clauses do not apply to this contract", n=len(aside)),
            )
        )
    return (*blocks, *(_entry(about, one) for one in sorted(ranked, key=lambda one: one["id"])))


def reason_cell(about: Material, clause: Document) -> Cell:
    reasons = clause.get("reasons", ())
    if not reasons:
        return about.recorded(None)
    said = [about.say(one["text"], one.get("facts", {})) for one in reasons]
    return said[0] if len(said) == 1 else Cell(" ".join(one.text for one in said), said[0].form)


def _clause_row(about: Material, clause: Document) -> tuple[Cell, ...]:
    """The answer that decided: the first missed, else the first unanswered, else the first."""
    tr, words = about.tr, about.words.clause(clause["id"])
    name = titled(about, clause)
    answers = sorted(clause.get("answers", ()), key=lambda one: (not one.get("required", True), _RANK[one["status"]]))
    sources = Cell(words.brief, "brief")
    if not answers:
        papers = clause.get("documents", ())
        return (
            name, about.verdict(clause["verdict"]), Cell(tr.text("nothing to measure")),
            Cell(tr.text("{n} documents asked", n=len(papers))), sources, Cell("–"),
        )  # fmt: skip
    first = answers[0]
    more = len(answers) - 1
    measured = tr.text("{name}: {said}", name=about.words.metric(first["metric"]), said=answered(about, first))
    return (
        name,
        about.verdict(clause["verdict"]),
        Cell(measured + (f" (+{tr.number(more)})" if more else "")),
        Cell(bound(about, first)),
        sources,
        Cell(
            "results.jsonl" if first["status"] != "unanswered" else "–",
            "code" if first["status"] != "unanswered" else "text",
        ),
    )


def titled(about: Material, clause: Document) -> Cell:
    """Id and title, leading to the clause's own part."""
    title = f"{clause['id']} {about.words.clause(clause['id']).title}"
    return Cell(title, "title", code=clause["id"], ref=f"clause-{clause['id']}")


def answered(about: Material, answer: Document) -> str:
    if answer["status"] == "unanswered" or answer.get("value") is None:
        return about.tr.text("not measured")
    return about.tr.value(answer["value"], answer.get("unit", ""))


def bound(about: Material, answer: Document) -> str:
    shown = about.words.threshold(answer["op"], answer.get("threshold"), answer.get("unit", ""))
    return f"{shown} ({about.tr.label('basis', answer.get('basis') or 'none')})"


def _entry(about: Material, clause: Document) -> Entry:
    tr, words = about.tr, about.words.clause(clause["id"])
    reasons = tuple((about.say(one["text"], one.get("facts", {})),) for one in clause.get("reasons", ()))
    blocks: list[Block] = [
        paragraph(words.requirement),
        Facts(
            (
                (tr.text("Verdict"), (about.verdict(clause["verdict"]), Cell(about.words.meaning(clause["verdict"])))),
                (tr.text("Severity"), (Cell(tr.label("severity", clause.get("severity", ""))),)),
                (tr.text("Proof level needed"), (about.recorded(clause.get("required_level"), "code"),)),
                (tr.text("Sources"), (Cell("; ".join(words.sources)),)),
                (tr.text("Valid until"), (about.day(clause.get("expires_on")),)),
            )
        ),
        Items(reasons or ((about.recorded(None),),)),
    ]  # fmt: skip
    answers = tuple(_answer_row(about, one) for one in clause.get("answers", ()))
    if answers:
        blocks.append(
            Table(
                caption=tr.text("Measurements of clause {id}", id=clause["id"]),
                heads=(
                    tr.text("Measure"), tr.text("Asset"), tr.text("Value"), tr.text("Threshold (basis)"),
                    tr.text("Result"),
                ),
                rows=answers,
            )
        )  # fmt: skip
    papers = tuple(
        (Cell(words.documents.get(one["id"], one["id"])), document_state(about, one))
        for one in clause.get("documents", ())
    )
    if papers:
        blocks.append(
            Table(
                caption=tr.text("Documents of clause {id}", id=clause["id"]),
                heads=(tr.text("Document"), tr.text("State")),
                rows=papers,
            )
        )
    if words.note:
        blocks.append(paragraph(words.note, tone="note"))
    title = (code(clause["id"]), Cell(words.title), about.verdict(clause["verdict"]))
    return Entry(id=f"clause-{clause['id']}", title=title, blocks=tuple(blocks))


def _answer_row(about: Material, answer: Document) -> tuple[Cell, ...]:
    tr = about.tr
    label = about.words.metric(answer["metric"])
    return (
        Cell(label if answer.get("required", True) else tr.text("{label} (optional)", label=label)),
        about.asset_name(answer.get("asset")),
        Cell(answered(about, answer), "number"),
        Cell(bound(about, answer)),
        about.status(answer["status"]),
    )


def document_state(about: Material, paper: Document) -> Cell:
    return Cell(about.tr.label("document", paper["status"]))
