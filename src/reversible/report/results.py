"""What was measured on data, models and the rest? Sections 7 to 11."""

import math
from collections.abc import Sequence

from reversible.documents import Document
from reversible.report.blocks import Bar, Block, Cell, Chart, Table, foreign, paragraph, shorten
from reversible.report.material import Material
from reversible.report.setting import MOST_ROWS, asset_id

_NEARLY = 99.99  # percent: what was not measured whole is not called 100 %
_COLUMNS = 5  # measures side by side: more do not fit a printed page
_FIRST = (
    "data.rows_missing", "data.rows_extra", "data.cells_different", "data.schema_drift_undeclared",
    "data.objects_hash_mismatch", "data.metadata_classes_missing", "format.two_readers_ok_pct",
    "model.inputs_compared", "model.agreement_lb95", "model.equivalence", "model.error_ratio_max",
    "model.error_ratio_median", "model.max_abs_diff", "model.network_calls_to_source", "model.artifacts_missing",
)  # fmt: skip


def data(about: Material) -> tuple[Block, ...]:
    """Per table, database and object collection: what is missing, extra or different, and where."""
    blocks: list[Block] = []
    for kind in ("table", "database", "objects"):
        blocks += _kind(about, kind)
    return tuple(blocks) or (paragraph(about.tr.text("No data were measured in this run.")),)


def models(about: Material) -> tuple[Block, ...]:
    """Per model: inputs compared, agreement, largest difference, against the sealed thresholds."""
    blocks = [*_differences(about), *_kind(about, "model")]
    return tuple(blocks) or (paragraph(about.tr.text("No model was re-run.")),)


def incidents(about: Material) -> tuple[Block, ...]:
    return _family(about, ("INC-",), ("drill.",), about.tr.text("No incident was simulated in this run."))


def dependence(about: Material) -> tuple[Block, ...]:
    return _family(
        about, ("LOC-", "SUP-"), ("residual.", "supply.", "source.", "dest."),
        about.tr.text("No dependency was measured in this run."),
    )  # fmt: skip


def cost(about: Material) -> tuple[Block, ...]:
    return _family(
        about, ("COS-", "GOV-09"), ("cost.", "eco."), about.tr.text("No cost and no energy was measured in this run.")
    )


def _kind(about: Material, kind: str) -> list[Block]:
    tr = about.tr
    assets = [asset_id(one) for one in about.inventory if one["kind"] == kind and asset_id(one) in about.by_asset]
    if not assets:
        return []
    every = sorted({metric for asset in assets for metric in about.by_asset[asset]}, key=lambda one: _order(about, one))
    shown, rest = every[:_COLUMNS], every[_COLUMNS:]
    assets.sort(key=lambda one: not any((metric, one) in about.off for metric in every))
    rows, more = shorten([_row(about, asset, shown, rest) for asset in assets], MOST_ROWS)
    heads = [tr.text("Asset"), *(_head(about, metric) for metric in shown)]
    blocks: list[Block] = [
        Table(
            caption=tr.label("results of", kind),
            heads=(*heads, tr.text("Other checks measured")) if rest else tuple(heads),
            rows=rows,
            more=tr.text("{n} more rows are in {path}.", n=more, path="data/results.jsonl") if more else "",
        )
    ]
    wrong = _wrong_places(about, assets)
    if wrong:
        blocks.append(wrong)
    lines = [about.by_asset[asset][metric] for asset in assets for metric in every if metric in about.by_asset[asset]]
    blocks.append(_long(about, lines, tr.label("measurements of", kind)))
    return blocks


def _order(about: Material, metric: str) -> tuple[bool, int, str]:
    missed = {name for name, _ in about.off}
    return (metric not in missed, _FIRST.index(metric) if metric in _FIRST else len(_FIRST), metric)


def _head(about: Material, metric: str) -> str:
    bound = next((one for one in about.plan.get("criteria", ()) if one["metric"] == metric), None)
    label = about.words.metric(metric)
    if bound is None or bound.get("value") is None:
        return label
    return f"{label} ({about.words.threshold(bound['op'], bound['value'], about.words.unit(metric))})"


def _row(about: Material, asset: str, shown: Sequence[str], rest: Sequence[str]) -> tuple[Cell, ...]:
    lines = about.by_asset[asset]
    cells = [foreign(asset), *(_measured(about, asset, lines.get(metric)) for metric in shown)]
    if rest:
        asked = [lines[metric] for metric in rest if metric in lines]
        done = sum(line["status"] == "measured" for line in asked)
        off = sum((metric, asset) in about.off for metric in rest)
        said = about.tr.text("{measured} of {planned}", measured=done, planned=len(asked))
        if off:
            said = about.tr.text("{measured} of {planned}, {off} off", measured=done, planned=len(asked), off=off)
        cells.append(Cell(said, "status" if off else "text", code="missed" if off else ""))
    return tuple(cells)


def _measured(about: Material, asset: str, line: Document | None) -> Cell:
    if line is None:
        return Cell("–", "number")
    said = about.value(line)
    if line["status"] != "measured":
        return Cell(f"○\u00a0{said}", "status", code="unanswered")
    if (line["metric"], asset) in about.off:
        return Cell(f"✗\u00a0{said}", "status", code="missed")
    return Cell(said, "number")


def _wrong_places(about: Material, assets: Sequence[str]) -> Table | None:
    found = [
        (foreign(asset), Cell(about.words.metric(metric)), foreign(place))
        for asset in assets
        for metric, line in about.by_asset[asset].items()
        for place in line.get("places", ())
        if (metric, asset) in about.off
    ]
    rows, more = shorten(found, MOST_ROWS)
    left = about.tr.text("{n} more places are in {path}.", n=more, path="data/results.jsonl") if more else ""
    if not rows:
        return None
    heads = (about.tr.text("Asset"), about.tr.text("Measure"), about.tr.text("Place"))
    return Table(caption=about.tr.text("Places, in the owner's own names"), heads=heads, rows=rows, more=left)


def _long(about: Material, lines: Sequence[Document], caption: str) -> Table:
    tr = about.tr
    rows, more = shorten([_line(about, line) for line in lines], MOST_ROWS)
    return Table(
        caption=caption,
        heads=(
            tr.text("Asset"), tr.text("Measure"), tr.text("Value"), tr.text("Share measured"), tr.text("What was seen"),
        ),
        rows=rows,
        folded=tr.text("{name}: {said}", name=caption, said=len(lines)),
        more=tr.text("{n} more rows are in {path}.", n=more, path="data/results.jsonl") if more else "",
    )  # fmt: skip


def _line(about: Material, line: Document) -> tuple[Cell, ...]:
    measured, coverage = line["status"] == "measured", line.get("coverage", 1.0)
    share = min(round(100 * coverage, 2), 100 if coverage >= 1 else _NEARLY) if measured else None
    value = _measured(about, line["asset"] or "", line)
    return (
        about.asset_name(line["asset"]),
        Cell(about.words.metric(line["metric"])),
        value if value.form == "status" else Cell(value.text, "number"),
        Cell(
            "–" if share is None else about.tr.value(int(share) if share == int(share) else share, "percent"), "number"
        ),
        about.sentence(line),
    )


def _family(about: Material, clauses: tuple[str, ...], metrics: tuple[str, ...], nothing: str) -> tuple[Block, ...]:
    """A section without an own layout: its clauses with their verdicts, and whatever was measured."""
    tr = about.tr
    found = [one for one in about.clauses if one["id"].startswith(clauses) and one["verdict"] != "NOT_APPLICABLE"]
    lines = [line for line in about.results if line["metric"].startswith(metrics) and line["status"] == "measured"]
    blocks: list[Block] = [] if lines else [paragraph(nothing)]
    if found:
        blocks.append(
            Table(
                caption=tr.text("Clauses of this section"),
                heads=(tr.text("Clause"), tr.text("Title"), tr.text("Verdict")),
                rows=tuple(
                    (
                        Cell(one["id"], "code", ref=f"clause-{one['id']}"),
                        Cell(about.words.clause(one["id"]).title),
                        about.verdict(one["verdict"]),
                    )
                    for one in found
                ),
            )
        )
    if lines:
        blocks.append(_long(about, lines, tr.text("Measurements of this section")))
    return tuple(blocks)


def _differences(about: Material) -> list[Block]:
    """The largest difference per model on a logarithmic scale, with the sealed threshold as a line."""
    tr, metric = about.tr, "model.max_abs_diff"
    lines = [
        line
        for line in about.by_metric.get(metric, ())
        if line["status"] == "measured" and line["asset"] and isinstance(line["value"], (int, float))
    ]
    bound = next((one for one in about.plan.get("criteria", ()) if one["metric"] == metric), None)
    if not lines or bound is None or not isinstance(bound.get("value"), (int, float)) or bound["value"] <= 0:
        return []
    values = [abs(float(line["value"])) for line in lines]
    edges = [value for value in (*values, float(bound["value"])) if value > 0 and math.isfinite(value)]
    low = math.floor(math.log10(min(edges))) - 1
    high = math.ceil(math.log10(max(edges))) + 1
    span = high - low

    def at(value: float) -> float:
        if value <= 0:
            return 0.6
        return 100.0 if not math.isfinite(value) else max(0.6, 100 * (math.log10(value) - low) / span)

    bars = tuple(
        Bar(
            label=str(line["asset"]).rpartition(":")[2], start=0, width=at(value),
            shown=tr.number(float(line["value"])),
            code="missed" if (metric, line["asset"]) in about.off else "phase",
        )
        for line, value in zip(lines, values, strict=True)
    )  # fmt: skip
    shown = about.words.threshold(bound["op"], bound["value"], about.words.unit(metric))
    return [
        Chart(
            id="differences",
            title=tr.text("Largest difference between the outputs, per model"),
            description=tr.text(
                "Logarithmic scale from {low} to {high}; the line is the sealed threshold, {shown}. The numbers are in "
                "the table below.",
                low=tr.number(10.0**low), high=tr.number(10.0**high), shown=shown,
            ),
            bars=bars,
            marks=((at(float(bound["value"])), shown),),
        )
    ]  # fmt: skip
