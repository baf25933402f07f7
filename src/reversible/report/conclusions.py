"""What is wrong, what is not proven, and how is it checked again? Sections 13 to 17 and the glossary."""

from collections.abc import Iterator

from reversible.documents import Document
from reversible.report.blocks import (
    Block,
    Cell,
    Commands,
    Entry,
    Facts,
    Items,
    Paragraph,
    Table,
    code,
    foreign,
    paragraph,
    shorten,
)
from reversible.report.clause_table import answered, bound, document_state, reason_cell, titled
from reversible.report.material import Material
from reversible.report.words import VERDICTS

_PLACES = 25  # of one finding
_SEVERITY = {"blocking": 0, "major": 1, "minor": 2}


def findings(about: Material) -> tuple[Block, ...]:
    """Every missed check with its places, and the fields that a remediation plan needs, left to fill."""
    tr = about.tr
    missed = list(about.answers("missed"))
    if not missed and not about.failed_on_paper:
        return (paragraph(tr.text("No measurement missed its threshold. What was not measured is in section 14.")),)
    intro = paragraph(
        tr.text(
            "{n} measurements miss their threshold. Owner, cause and date are for a person to fill in.", n=len(missed)
        )
    )
    found = [_deviation(about, number, *pair) for number, pair in enumerate(missed, start=1)]
    found += [_on_paper(about, number, one) for number, one in enumerate(about.failed_on_paper, start=len(missed) + 1)]
    return (intro, *found)


def _on_paper(about: Material, number: int, clause: Document) -> Entry:
    """A clause that failed without a measurement: what its reasons say."""
    reasons = tuple((about.say(one["text"], one.get("facts", {})),) for one in clause.get("reasons", ()))
    name = Cell(clause["id"], "code", ref=f"clause-{clause['id']}")
    title = (about.verdict(clause["verdict"]), name, Cell(about.words.clause(clause["id"]).title))
    blank = Facts(tuple((label, (Cell("", "blank"),)) for label in _to_fill(about)))
    return Entry(id=f"finding-{number}", title=title, blocks=(Items(reasons), blank), folded=False)


def _deviation(about: Material, number: int, clause: Document, answer: Document) -> Entry:
    tr, title = about.tr, about.words.clause(clause["id"]).title
    lines = [
        line for line in about.by_metric.get(answer["metric"], ()) if (line["metric"], line["asset"] or "") in about.off
    ]
    rows = tuple(
        (about.asset_name(line["asset"]), Cell(about.value(line), "number"), about.sentence(line))
        for line in lines[:_PLACES]
    )
    named = [foreign(place) for line in lines for place in line.get("places", ())] or [
        foreign(place) for place in answer.get("places", ())
    ]
    cells, more = shorten([(place,) for place in named], _PLACES)
    blocks: list[Block] = [
        Facts(
            (
                (tr.text("Clause"), (Cell(clause["id"], "code", ref=f"clause-{clause['id']}"), Cell(title))),
                (tr.text("Measured"), (Cell(answered(about, answer)),)),
                (tr.text("Threshold (basis)"), (Cell(bound(about, answer)),)),
            )
        )
    ]
    if rows:
        blocks.append(
            Table(
                caption=tr.text("Where finding {n} was measured", n=number),
                heads=(tr.text("Asset"), tr.text("Value"), tr.text("What was seen")),
                rows=rows,
            )
        )
    if cells:
        left = tr.text("{n} more places are in {path}.", n=more, path="data/results.jsonl") if more else ""
        blocks += [paragraph(tr.text("Places, in the owner's own names")), Items(cells, more=left)]
    blocks.append(Facts(tuple((label, (Cell("", "blank"),)) for label in _to_fill(about))))
    head = (about.status("missed"), Cell(about.words.metric(answer["metric"])), code(clause["id"]))
    return Entry(id=f"finding-{number}", title=head, blocks=tuple(blocks), folded=False)


def _to_fill(about: Material) -> tuple[str, ...]:
    tr = about.tr
    return (
        tr.text("Root cause"),
        tr.text("Measure and priority"),
        tr.text("Owner"),
        tr.text("Date expected"),
        tr.text("Risk if nothing is done"),
    )


def limits(about: Material) -> tuple[Block, ...]:
    """What is not proven, grouped by why."""
    tr = about.tr
    shown = [
        one for one in about.clauses if one["verdict"] in ("NOT_TESTED", "PARTIAL", "DOCUMENT_NEEDED", "DOCUMENTED")
    ]
    blocks: list[Block] = []
    for name in ("NOT_TESTED", "PARTIAL", "DOCUMENT_NEEDED", "DOCUMENTED"):
        found = sorted(
            (one for one in shown if one["verdict"] == name),
            key=lambda one: (_SEVERITY.get(one.get("severity", ""), 3), one["id"]),
        )
        if found:
            blocks.append(
                Table(
                    caption=f"{about.verdict(name).text} ({tr.number(len(found))})",
                    heads=(tr.text("Clause"), tr.text("Severity"), tr.text("Reason")),
                    rows=tuple(
                        (
                            titled(about, one),
                            Cell(tr.label("severity", one.get("severity", ""))),
                            reason_cell(about, one),
                        )
                        for one in found
                    ),
                )
            )  # fmt: skip
    silent = [line for line in about.results if line["status"] != "measured"]
    if silent:
        rows, more = shorten(
            [
                (about.asset_name(line["asset"]), Cell(about.words.metric(line["metric"])), about.sentence(line))
                for line in silent
            ],
            60,
        )
        blocks.append(
            Table(
                caption=tr.text("Planned checks without an answer"),
                heads=(tr.text("Asset"), tr.text("Measure"), tr.text("Reason")),
                rows=rows,
                folded=tr.text("Planned checks without an answer: {n}", n=len(silent)),
                more=tr.text("{n} more rows are in {path}.", n=more, path="data/results.jsonl") if more else "",
            )
        )
    else:
        blocks.append(paragraph(tr.text("Every planned check has an answer ({n} checks).", n=len(about.results))))
    blocks.append(
        paragraph(
            tr.text(
                "The clock is the machine's own; the source's words about itself are believed where nothing else "
                "could be asked. A verdict says what was measured; it is not legal advice."
            ),
            tone="note",
        )
    )
    return tuple(blocks)


def documents(about: Material) -> tuple[Block, ...]:
    """What persons brought, with digest and reader, and what is still expected."""
    tr = about.tr
    received = tuple(about.plan.get("documents", ()))
    blocks: list[Block] = []
    if received:
        keys = [key for key in ("id", "clause", "sha256", "read_by", "read_on") if any(key in one for one in received)]
        keys += sorted({key for one in received for key in one} - set(keys))
        blocks.append(
            Table(
                caption=tr.text("Documents received"),
                heads=tuple(tr.label("column", key) for key in keys),
                rows=tuple(tuple(about.recorded(one.get(key)) for key in keys) for one in received),
            )
        )
    else:
        blocks.append(paragraph(tr.text("No document was received.")))
    expected = tuple(_expected(about))
    if expected:
        blocks.append(
            Table(
                caption=tr.text("Documents expected"),
                heads=(tr.text("Clause"), tr.text("Document"), tr.text("State")),
                rows=expected,
            )
        )
    return tuple(blocks)


def _expected(about: Material) -> Iterator[tuple[Cell, ...]]:
    for clause in about.clauses:
        if clause["verdict"] == "NOT_APPLICABLE":
            continue
        words = about.words.clause(clause["id"])
        for paper in clause.get("documents", ()):
            if paper["status"] in ("missing", "contradicts"):
                name = Cell(clause["id"], "code", ref=f"clause-{clause['id']}")
                yield (name, Cell(words.documents.get(paper["id"], paper["id"])), document_state(about, paper))


def exports(about: Material) -> tuple[Block, ...]:
    return (
        paragraph(
            about.tr.text(
                "This dossier holds no register rows, no article 26 information sheet and no import file for other "
                "tools: none was produced in this run."
            )
        ),
    )


def recheck(about: Material) -> tuple[Block, ...]:
    """The recipe that needs nothing of ours, then the command that does all of it."""
    tr = about.tr
    return (
        paragraph(tr.text("In the evidence folder, with nothing of ours: every file is the one that was sealed.")),
        Commands(("sha256sum --quiet --strict -c tagmanifest-sha256.txt manifest-sha256.txt",)),
        paragraph(tr.text("One number, from the raw result lines:")),
        Commands(("grep '\"data.rows_missing\"' data/results.jsonl",)),
        paragraph(
            tr.text(
                "All of it at once, offline: digests, signature, every planned check answered once, the verdicts "
                "judged again from the measurements, this report rendered again and compared. FINGERPRINT is the "
                "signing key's, as its owner gave it to you by another way."
            )
        ),
        Commands((f"reversible evidence verify . --key {tr.text('FINGERPRINT')}",)),
        paragraph(tr.text("The data themselves, from the bundle:")),
        Commands(("reversible verify ../bundle",)),
        Paragraph(
            (Cell(tr.text("VERIFY.txt in the folder says how to check the signature with openssl alone.")),), "note"
        ),
    )


def glossary(about: Material) -> tuple[Block, ...]:
    """The words of the report: verdicts, levels, and the few terms of the trade."""
    tr = about.tr
    verdicts = tuple((about.verdict(name).text, (Cell(about.words.meaning(name)),)) for name in VERDICTS)
    levels = tuple((f"N{n}", (Cell(about.words.level(f"N{n}")),)) for n in range(6))
    terms = tuple((tr.text(term), (Cell(tr.text(meaning)),)) for term, meaning in TERMS)
    return (
        Entry(id="glossary-verdicts", title=(Cell(tr.text("Verdicts")),), blocks=(Facts(verdicts),), folded=False),
        Entry(id="glossary-levels", title=(Cell(tr.text("Proof levels")),), blocks=(Facts(levels),), folded=False),
        Entry(id="glossary-terms", title=(Cell(tr.text("Terms")),), blocks=(Facts(terms),), folded=False),
    )


TERMS = (
    (
        "Bundle",
        "What left: the files in open formats, the witnesses and the digests, as one folder that explains itself.",
    ),
    (
        "Witness",
        "What the source says about an asset by another route than the export: its own counts and fingerprints.",
    ),
    ("Destination", "The provider or machine that receives the bundle and runs the verifiers and models."),
    ("Canary", "An attempt made on purpose: one that the isolation must refuse, and one that it must allow."),
    ("Sealed", "Frozen and hashed before the first byte left, so that a threshold cannot follow its result."),
    ("Clause", "One promise of the contract or the law, with what is measured and which documents settle it."),
    ("Evidence file", "The signed folder that holds plan, measurements, verdicts and this report."),
)
