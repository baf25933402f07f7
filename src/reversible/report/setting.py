"""What was tested, and by which rules? Sections 1 to 4."""

from collections import Counter

from reversible.documents import Document
from reversible.report.blocks import Block, Cell, Facts, Items, Table, code, foreign, paragraph, shorten
from reversible.report.material import Material

MOST_ROWS = 150  # of one table in the report; the whole list is in the dossier's files

_BASES = ("law", "standard", "supervisor", "contract", "default", "none")


def identity(about: Material) -> tuple[Block, ...]:
    """Contract, parties, profiles, and the digests that tie the report to its inputs."""
    tr, contract, bundle = about.tr, about.exit_plan.get("contract") or {}, about.run.get("bundle") or {}
    size = bundle.get("bytes")
    rows = [
        (tr.text("Contract"), (about.recorded(contract.get("title")),)),
        (tr.text("Customer"), (about.recorded(contract.get("customer")),)),
        (tr.text("Provider left"), (about.recorded(contract.get("provider")),)),
        (tr.text("Reference"), (about.recorded(contract.get("reference")),)),
        (tr.text("Signed on"), (about.day(contract.get("signed")),)),
        (tr.text("Function and criticality"), (about.recorded(contract.get("function")),)),
        (tr.text("Run"), (about.recorded(about.run.get("run_id"), "code"),)),
        (tr.text("Started"), (about.moment(about.run.get("started_at")),)),
        (tr.text("Finished"), (about.moment(about.run.get("finished_at")),)),
        (tr.text("Tool"), (about.recorded(about.plan.get("tool")),)),
        (tr.text("Exit plan, SHA-256"), (about.recorded(about.plan.get("exit_plan_sha256"), "code"),)),
        (tr.text("Clause catalogue, SHA-256"), (about.recorded(about.plan.get("catalogue_sha256"), "code"),)),
        (tr.text("Bundle, SHA-256 of its manifest"), (about.recorded(bundle.get("sha256"), "code"),)),
        (
            tr.text("Bundle, size"),
            (
                about.recorded(None)
                if size is None
                else Cell(tr.text("{size} in {n} files", size=tr.size(size), n=bundle.get("files", 0))),
            ),
        ),
    ]
    profiles = tuple((code(name), Cell(about.words.profile(name))) for name in about.plan.get("profiles", ()))
    flags = tuple((code(name), Cell(tr.label("flag", name))) for name in about.plan.get("flags", ()))
    none = ((Cell(tr.text("none")),),)
    return (
        Facts(tuple(rows)),
        Facts(
            (
                (tr.text("Clause profiles switched on"), _lines(profiles) or none[0]),
                (tr.text("Scope flags switched on"), _lines(flags) or none[0]),
            )
        ),
    )


def _lines(rows: tuple[tuple[Cell, ...], ...]) -> tuple[Cell, ...]:
    """Several names with their meaning in one place."""
    cells: list[Cell] = []
    for number, (name, meaning) in enumerate(rows):
        cells += [*([Cell("·")] if number else []), name, meaning]
    return tuple(cells)


def scope(about: Material) -> tuple[Block, ...]:
    """The inventory by count and bytes, what was exercised, and why the rest was not."""
    tr = about.tr
    bytes_known = [one["size_bytes"] for one in about.inventory if one.get("size_bytes") is not None]
    left = [one for one in about.inventory if one.get("excluded") is not None]
    stuck = [one for one in about.inventory if one.get("excluded") is None and one.get("obstacle")]
    facts = Facts(
        (
            (
                tr.text("In the inventory"),
                (
                    Cell(tr.text("{n} assets", n=len(about.inventory))),
                    Cell("–"),
                    Cell(
                        tr.text("{size}, by the source's own figures for {n} of them",
                                size=tr.size(sum(bytes_known)), n=len(bytes_known))
                    ),
                ),
            ),
            (tr.text("Exported, by number"), (Cell(about.shown("inventory.exported_pct")),)),
            (tr.text("Exported, by bytes"), (Cell(about.shown("inventory.exported_bytes_pct")),)),
            (tr.text("Found, but not listed in the plan"), (Cell(about.shown("inventory.assets_unlisted")),)),
            (tr.text("Left behind by the plan"), (Cell(tr.number(len(left))),)),
            (tr.text("Cannot leave the platform"), (Cell(tr.number(len(stuck))),)),
        )
    )  # fmt: skip
    blocks: list[Block] = [facts]
    if not about.inventory:
        return (*blocks, paragraph(tr.text("The inventory is empty: no system was read in this run.")))
    apart = [row for row in (_apart(about, one) for one in about.inventory) if row is not None]
    if apart:
        rows, more = shorten(apart, MOST_ROWS)
        blocks.append(
            Table(
                caption=tr.text("Assets that did not leave, and why"),
                heads=(tr.text("Asset"), tr.text("State"), tr.text("Reason or obstacle")),
                rows=rows, more=more_rows(about, more, "data/inventory.json"),
            )
        )  # fmt: skip
    else:
        blocks.append(paragraph(tr.text("No asset of the inventory was excluded, refused or found to be stuck.")))
    rows, more = shorten([_asset_row(about, one) for one in about.inventory], MOST_ROWS)
    blocks.append(
        Table(
            caption=tr.text("Inventory"),
            heads=(
                tr.text("Asset"), tr.text("Kind"), tr.text("Rows or objects"), tr.text("Bytes"), tr.text("State"),
                tr.text("Checks measured"),
            ),
            rows=rows, folded=tr.text("The whole inventory: {n} assets", n=len(about.inventory)),
            more=more_rows(about, more, "data/inventory.json"),
        )
    )  # fmt: skip
    return tuple(blocks)


def asset_id(asset: Document) -> str:
    return f"{asset['source']}:{asset['kind']}:{asset['name']}"


def _state(about: Material, asset: Document) -> tuple[str, str]:
    """A code and the reason: a state is never better than what the documents say."""
    name = asset_id(asset)
    refused = {one["asset"]: one["error"] for one in about.run.get("refused", ())}
    unlisted = {place for line in about.by_metric.get("inventory.assets_unlisted", ()) for place in line["places"]}
    if name in unlisted:
        return "unlisted", ""
    if asset.get("excluded") is not None:
        return "excluded", asset["excluded"]
    if asset.get("obstacle"):
        return "stuck", asset["obstacle"]
    if name in refused:
        return "refused", refused[name]
    if any(line["status"] == "measured" for line in about.by_asset.get(name, {}).values()):
        return "exported", ""
    return "unmeasured", ""


def _apart(about: Material, asset: Document) -> tuple[Cell, ...] | None:
    state, reason = _state(about, asset)
    if state == "exported":
        return None
    return (foreign(asset_id(asset)), Cell(about.tr.label("state", state)), about.recorded(reason))


def _asset_row(about: Material, asset: Document) -> tuple[Cell, ...]:
    tr, lines = about.tr, about.by_asset.get(asset_id(asset), {})
    measured = sum(line["status"] == "measured" for line in lines.values())
    rows, size = asset.get("rows"), asset.get("size_bytes")
    return (
        foreign(asset_id(asset)),
        Cell(tr.label("kind", asset["kind"])),
        Cell("–" if rows is None else tr.number(rows), "number"),
        Cell("–" if size is None else tr.size(size), "number"),
        Cell(tr.label("state", _state(about, asset)[0])),
        Cell(tr.text("{measured} of {planned}", measured=measured, planned=len(lines)), "number"),
    )


def more_rows(about: Material, n: int, path: str) -> str:
    return about.tr.text("{n} more rows are in {path}.", n=n, path=path) if n else ""


def criteria(about: Material) -> tuple[Block, ...]:
    """The sealed thresholds, each with what it rests on."""
    tr, every = about.tr, tuple(about.plan.get("criteria", ()))
    line = about.of_run("plan.criteria_sealed_before_run")
    basis = Counter(one.get("basis") or "none" for one in every)
    facts = Facts(
        (
            (tr.text("Sealed at"), (about.moment(about.plan.get("sealed_at")),)),
            (
                tr.text("Before the first export"),
                (
                    Cell(about.shown("plan.criteria_sealed_before_run")),
                    *((Cell("–"), about.sentence(line)) if line else ()),
                ),
            ),
            (tr.text("Catalogue, state of"), (about.day(about.words.as_of),)),
            (tr.text("Thresholds"), (Cell(tr.number(len(every))),)),
        )
    )
    count = Table(
        caption=tr.text("What the thresholds rest on"),
        heads=(tr.text("Basis"), tr.text("Thresholds"), tr.text("Meaning")),
        rows=tuple(
            (Cell(tr.label("basis", one)), Cell(tr.number(basis[one]), "number"), Cell(tr.label("basis meaning", one)))
            for one in _BASES
            if basis[one]
        ),
    )
    rows = tuple(_criterion_row(about, one) for one in every)
    table = Table(
        caption=tr.text("Sealed thresholds"),
        heads=(tr.text("Clause"), tr.text("Measure"), tr.text("Threshold"), tr.text("Basis"), tr.text("Required")),
        rows=rows,
        folded=tr.text("All sealed thresholds: {n}", n=len(rows)),
    )
    return (facts, count, table) if every else (facts, paragraph(tr.text("The plan holds no criterion.")))


def _criterion_row(about: Material, one: Document) -> tuple[Cell, ...]:
    tr, metric, given = about.tr, one["metric"], one.get("value_from")
    value = one.get("value") if not given else (about.plan.get("facts") or {}).get(given)
    op = one["op"] if given or "value" in one else "report"  # the contract names no number
    bound = about.words.threshold(op, value, about.words.unit(given or metric))
    if given:
        bound = f"{bound} ({about.words.metric(given)})"
    return (
        Cell(one["clause"], "code", ref=f"clause-{one['clause']}"),
        Cell(about.words.metric(metric)),
        Cell(bound),
        Cell(tr.label("basis", one.get("basis") or "none")),
        Cell(tr.scalar(bool(one.get("required", True)))),
    )


def method(about: Material) -> tuple[Block, ...]:
    """Which exit was played, by which steps, whole or sampled, with which software."""
    tr, plan = about.tr, about.exit_plan.get("exit") or {}
    partial = sorted({line["metric"] for line in about.results if line.get("coverage", 1.0) < 1.0})
    projected = sorted({line["metric"] for line in about.results if line.get("projected")})
    facts = Facts(
        (
            (tr.text("Scenarios in the plan"), (about.recorded(plan.get("scenarios")),)),
            (tr.text("Triggers in the plan"), (about.recorded(plan.get("triggers")),)),
            (tr.text("Success criteria in the plan"), (about.recorded(plan.get("success_criteria")),)),
            (tr.text("Measured on a part of the scope only"), (_metric_list(about, partial),)),
            (tr.text("Projected, not measured to the end"), (_metric_list(about, projected),)),
        )
    )
    steps = Items(
        tuple(
            (Cell(said),)
            for said in (
                tr.text("Seal: plan, thresholds and list of checks are frozen and hashed."),
                tr.text("Inventory: every asset is named by the source, also what cannot leave."),
                tr.text("Export to open formats; the source is asked again by another route (the witness)."),
                tr.text("Ship to the destination's storage, read back, compare every byte."),
                tr.text("Re-run: verifiers and models work from the files alone, cut off from the source."),
                tr.text(
                    "Judge: sealed thresholds turn measurements into verdicts; whoever has the dossier can repeat it."
                ),
            )
        )
    )
    checks = Table(
        caption=tr.text("Checks sealed with the plan"),
        heads=(tr.text("Verifier"), tr.text("Kinds of asset"), tr.text("Measures")),
        rows=tuple(
            (
                code(name),
                Cell(", ".join(tr.label("kind", kind) for kind in one.get("kinds", ()))),
                Cell(", ".join(about.words.metric(metric) for metric in one.get("metrics", ()))),
            )
            for name, one in (about.plan.get("verifiers") or {}).items()
        ),
        folded=tr.text("The checks, verifier by verifier"),
    )
    versions = Table(
        caption=tr.text("Software of the run"),
        heads=(tr.text("Package"), tr.text("Version")),
        rows=tuple(
            (code(name), foreign(version)) for name, version in sorted((about.run.get("versions") or {}).items())
        ),
        folded=tr.text("Software versions"),
    )
    return (steps, facts, checks, versions)


def _metric_list(about: Material, metrics: list[str]) -> Cell:
    return Cell(", ".join(about.words.metric(one) for one in metrics) or about.tr.text("none"))
