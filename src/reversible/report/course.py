"""Where did it run, cut off from what, and how long did it take? Sections 5 and 6."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from reversible.documents import Document
from reversible.report.blocks import Bar, Block, Cell, Chart, Facts, Items, Table, foreign, paragraph, shorten
from reversible.report.material import Material
from reversible.report.setting import MOST_ROWS, more_rows


def places(about: Material) -> tuple[Block, ...]:
    """Where it left from, where it ran, and what shows that the two were cut apart."""
    tr, isolation = about.tr, about.run.get("isolation") or {}
    sources = Table(
        caption=tr.text("Sources left"),
        heads=(tr.text("Source"), tr.text("Addresses")),
        rows=tuple(
            (foreign(one.get("name")), about.recorded(one.get("endpoints"))) for one in about.run.get("sources", ())
        ),
    )
    destination = Facts(
        tuple(
            (tr.label("destination", name), (about.recorded(value),))
            for name, value in _flat(about.run.get("destination") or {})
        )
        or ((tr.text("Destination"), (about.recorded(None),)),)
    )  # fmt: skip
    fence = Facts(
        (
            (tr.text("Fence of the re-run"), (about.recorded(isolation.get("fence")),)),
            (tr.text("Stand-in destination"), (about.recorded(about.run.get("simulated")),)),
        )
    )
    return (
        sources if sources.rows else paragraph(tr.text("No source was read in this run.")),
        destination,
        *_identity(about),
        fence,
        *_limits(about, isolation.get("limits")),
        _listed(about, isolation.get("canaries"), tr.text("Canaries: what had to fail and what had to work"),
                ("target", "expected", "outcome"), tr.text("No canary was tried: the isolation is not shown.")),
        _listed(about, isolation.get("attempts"), tr.text("Attempts to reach something outside during the re-run"),
                ("target", "by", "outcome"), tr.text("No attempt to reach anything outside was recorded.")
                if isolation else tr.text("Attempts were not recorded: nothing was re-run.")),
    )  # fmt: skip


def _identity(about: Material) -> tuple[Block, ...]:
    """Each signal that says whose host it is, and how it could be forged; nothing where none was asked for."""
    tr, signals = about.tr, about.run.get("identity") or ()
    if not signals:
        return ()
    return (
        Table(
            caption=tr.text("Signals that say whose host it is, and where"),
            heads=(
                tr.text("Signal"), tr.text("What it says"), tr.text("Names"), tr.text("Held against the plan"),
                tr.text("Given by the provider itself"), tr.text("Root of the host can forge it"),
            ),
            rows=tuple(
                (
                    Cell(tr.label("signal", str(one.get("signal")))),
                    about.say(str(one.get("says")), one.get("facts") or {}),
                    about.recorded(one.get("provider")),
                    Cell(tr.label("signal outcome", str(one.get("outcome")))),
                    about.recorded(one.get("authenticated")),
                    about.recorded(one.get("forgeable_by_root")),
                )
                for one in signals
            ),
        ),
    )  # fmt: skip


def _limits(about: Material, limits: Any) -> tuple[Block, ...]:
    """What the fence cannot do, a line each."""
    if not isinstance(limits, (list, tuple)) or not limits:
        return (Facts(((about.tr.text("Limits of this fence"), (about.recorded(limits),)),)),)
    said = tuple((Cell(about.tr.text(one)) if about.tr.holds("", one) else foreign(one),) for one in map(str, limits))
    return (paragraph(about.tr.text("Limits of this fence")), Items(said))


def _said(about: Material, value: Any) -> Cell:
    """A word of the canaries' table in the reader's language; whatever else was recorded as it is."""
    known = isinstance(value, str) and about.tr.holds("canary", value)
    return Cell(about.tr.label("canary", value)) if known else about.recorded(value)


def _flat(document: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in document.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _listed(about: Material, rows: Any, caption: str, keys: tuple[str, ...], nothing: str) -> Block:
    """Records with the keys they have: those named first, then whatever else was recorded."""
    if not rows:
        return paragraph(nothing)
    found = [one if isinstance(one, Mapping) else {"target": one} for one in rows]
    used = {key for one in found for key in one}
    shown = [key for key in keys if key in used] + sorted(used - set(keys))
    cells, more = shorten([tuple(_said(about, one.get(key)) for key in shown) for one in found], MOST_ROWS)
    return Table(
        caption=caption, heads=tuple(about.tr.label("column", key) for key in shown), rows=cells,
        more=more_rows(about, more, "data/run.json"),
    )  # fmt: skip


def timeline(about: Material) -> tuple[Block, ...]:
    """How long each phase took, against the contract's clocks."""
    tr, phases = about.tr, tuple(about.run.get("phases", ()))
    blocks: list[Block] = []
    if phases:
        blocks += [_waterfall(about, phases), _phase_table(about, phases)]
    else:
        blocks.append(paragraph(tr.text("No phase was timed: nothing ran.")))
    clocks = [
        (about.words.metric(name), (Cell(_clock(about, name)),))
        for name in (
            "contract.notice_days", "contract.transition_days", "contract.retrieval_days", "exit.elapsed_days",
            "plan.duration_gap_ratio", "drill.outage_rto_h", "drill.outage_rpo_h",
        )
    ]  # fmt: skip
    blocks.append(Facts(tuple(clocks)))
    events = about.run.get("events", ())
    if events:
        blocks.append(
            Table(
                caption=tr.text("Journal of the run"),
                heads=(tr.text("Time"), tr.text("Event")),
                rows=tuple(
                    (about.moment(one.get("at")), Cell(tr.label("event", str(one.get("event")))))
                    for one in events[:MOST_ROWS]
                ),
                folded=tr.text("Journal of the run: {n} entries", n=len(events)),
                more=more_rows(about, max(0, len(events) - MOST_ROWS), "data/run.json"),
            )
        )  # fmt: skip
    return tuple(blocks)


def _clock(about: Material, metric: str) -> str:
    """A contract's number as typed by a person, or a measurement of the run."""
    typed = (about.plan.get("facts") or {}).get(metric)
    if typed is not None:
        return about.tr.text("{value}, typed by a person", value=about.tr.value(typed, about.words.unit(metric)))
    return about.shown(metric)


def _phase_table(about: Material, phases: tuple[Document, ...]) -> Table:
    tr, total = about.tr, sum(float(one["seconds"]) for one in phases)
    rows = [
        (
            Cell(tr.label("phase", one["name"])),
            Cell(tr.duration(float(one["seconds"])), "number"),
            Cell(tr.value(round(100 * float(one["seconds"]) / total) if total else 0, "percent"), "number"),
            Cell(_mebibytes(about, one.get("peak_mib")), "number"),
        )
        for one in phases
    ]  # fmt: skip
    rows.append((Cell(tr.text("Total")), Cell(tr.duration(total), "number"), Cell(""), Cell("")))
    return Table(
        caption=tr.text("Phases of the run"),
        heads=(tr.text("Phase"), tr.text("Duration"), tr.text("Share"), tr.text("Peak memory")),
        rows=tuple(rows),
    )


def _mebibytes(about: Material, amount: float | None) -> str:
    return about.tr.text("not recorded") if amount is None else f"{about.tr.number(round(amount))}\u00a0MiB"


def _waterfall(about: Material, phases: tuple[Document, ...]) -> Chart:
    """One bar per phase; by the clock when every phase has its start, else one after the other."""
    tr = about.tr
    starts = [_seconds(one.get("started_at")) for one in phases]
    lengths = [float(one["seconds"]) for one in phases]
    if all(start is not None for start in starts):
        known = [start for start in starts if start is not None]
        offsets = [start - min(known) for start in known]
    else:
        offsets = [sum(lengths[:number]) for number in range(len(lengths))]
    whole = max(offset + length for offset, length in zip(offsets, lengths, strict=True)) or 1.0
    bars = tuple(
        Bar(label=tr.label("phase", one["name"]), start=100 * offset / whole, width=max(0.4, 100 * length / whole),
            shown=tr.duration(length), code="phase")
        for one, offset, length in zip(phases, offsets, lengths, strict=True)
    )  # fmt: skip
    return Chart(
        id="phases",
        title=tr.text("Timeline of the run"),
        description=tr.text("{n} phases one after the other, {total} in all; the numbers are in the table below.",
                            n=len(phases), total=tr.duration(whole)),
        bars=bars,
    )  # fmt: skip


def _seconds(iso: Any) -> float | None:
    try:
        return datetime.fromisoformat(iso).timestamp()
    except (TypeError, ValueError):
        return None
