"""How does a dry run go, from the sealed plan to the signed evidence?

    seal -> inventory -> export + witness -> ship -> fetch -> re-run -> judge -> evidence -> report

Each step takes the last one's result; nothing flows back. `DryRun.events` yields what happens as it happens:
the caller draws the progress, and may act between two steps (the demo stops its vendor there).
"""

import json
import logging
import platform
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from reversible import __version__, clauses, judgement, registry
from reversible.assets import Asset
from reversible.bundle import bag
from reversible.bundle.reader import Bundle
from reversible.bundle.writer import BundleWriter, json_bytes
from reversible.destinations.local import RUN_METRICS as DESTINATION_METRICS
from reversible.destinations.local import LocalDestination, Rerun
from reversible.documents import Document, RunDocuments
from reversible.errors import SourceError, UsageError
from reversible.evidence import dossier, keys
from reversible.evidence import verify as evidence_verify
from reversible.findings import Finding
from reversible.interfaces import Exporter
from reversible.phases import Clock
from reversible.plan import Plan
from reversible.report import html
from reversible.workspace import Workspace

log = logging.getLogger(__name__)

TOOL = f"reversible-toolkit {__version__}"
LANGUAGES = ("fr", "en")
RERUN_TIMEOUT_S = 6 * 3600.0  # a verifier that hangs ends the re-run; what it did not answer is NOT TESTED

INVENTORY_METRICS = (
    "inventory.assets_total",
    "inventory.assets_unlisted",
    "inventory.assets_excluded_no_reason",
    "inventory.exported_pct",
    "inventory.exported_bytes_pct",
)
CLOCK_METRICS = ("exit.elapsed_days", "plan.criteria_sealed_before_run", "plan.duration_gap_ratio")
PLAN_METRICS = ("plan.required_fields_missing",)
EVIDENCE_METRICS = ("evidence.manifest_verifies", "evidence.raw_results_present")
RUN_METRICS = (*INVENTORY_METRICS, *DESTINATION_METRICS, *CLOCK_METRICS, *PLAN_METRICS, *EVIDENCE_METRICS)


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something happened: `ended` marks the end of a phase; `done` of `total` counts inside one."""

    phase: str
    subject: str = ""
    done: int = 0
    total: int = 0
    note: str = ""
    ended: bool = False


class DryRun:
    """One run of a plan in one directory; iterate `events` to the end, then read `documents`.

    Args:
        plan: The exit plan.
        into: The run's directory; an interrupted run of the same plan is taken up there.
        lang: The language of `report.html`; both languages are always written.
        watch: Told what happens inside the re-run, which is another process and cannot be waited for step by step.

    Raises:
        UsageError: the directory belongs to something else or to another plan.
    """

    documents: RunDocuments

    def __init__(
        self, plan: Plan, into: Path, *, lang: str = "en", watch: Callable[[Event], None] = lambda event: None
    ) -> None:
        self.plan = plan
        self.lang = lang
        self.watch = watch
        self.space = Workspace(into)
        self.catalogue = clauses.load()
        self.key = keys.load_or_create()
        self._clock = Clock()
        self._findings: list[Finding] = []
        self._raw: dict[str, bytes] = {}

    def events(self) -> Iterator[Event]:
        """Run every step.

        Raises:
            SourceError: a source cannot be reached at all. One asset that is refused is noted, and the rest goes on.
            DestinationError: the destination's storage or host refuses.
            BundleError: what came back from the storage is not what was sent.
        """
        with self.space.lock():
            sealed = self._seal()
            yield Event(phase="seal", note=self.plan.sha256, ended=True)
            exporters = self.plan.exporters()
            try:
                with self._clock.phase("inventory", started_at=_now().isoformat()):
                    assets = yield from self._take_inventory(exporters)
                yield Event(phase="inventory", done=len(assets), total=len(assets), ended=True)
                with self._clock.phase("export", started_at=_now().isoformat()):
                    bundle = yield from self._export(exporters, assets)
                yield Event(phase="export", ended=True)
                sources = tuple(dict.fromkeys(point for one in exporters.values() for point in one.endpoints))
            finally:
                for one in exporters.values():
                    one.close()
            with self._clock.phase("ship", started_at=_now().isoformat()):
                arrived = yield from self._ship(bundle)
            yield Event(phase="ship", ended=True)
            with self._clock.phase("rerun", started_at=_now().isoformat()):
                rerun = self._rerun(arrived, sources)
            yield Event(phase="rerun", ended=True)
            with self._clock.phase("evidence", started_at=_now().isoformat()):
                self._conclude(sealed, assets, bundle, rerun)
            yield Event(phase="evidence", ended=True)

    # --- seal --------------------------------------------------------------------------------------------------

    def _seal(self) -> Document:
        """Freeze plan, criteria and checks before the first byte leaves; a resumed run keeps the first seal."""
        earlier = self.space.sealed_plan()
        if earlier is not None:
            if earlier["exit_plan_sha256"] != self.plan.sha256 or earlier["catalogue_sha256"] != self.catalogue.sha256:
                raise UsageError(
                    f"{self.space.root} holds an interrupted run of another plan: this one changed since it was sealed",
                    hint="choose another directory with --into, or put the plan back as it was",
                )
            self.space.note("resumed", _now())
            return earlier
        sealed = seal(self.plan, self.catalogue, at=_now())
        self.space.write("plan.json", sealed)
        self.space.note("sealed", _now(), sha256=self.plan.sha256)
        return sealed

    # --- inventory ---------------------------------------------------------------------------------------------

    def _take_inventory(self, exporters: Mapping[str, Exporter]) -> Iterator[Any]:
        found: list[Asset] = []
        for name, exporter in exporters.items():
            yield Event(phase="inventory", subject=name)
            found += list(exporter.discover())
        unlisted = {asset.id for asset in self.plan.unlisted(found)}
        assets = tuple(self.plan.scope(asset) for asset in found if asset.id not in unlisted)
        everything = (*assets, *(asset for asset in found if asset.id in unlisted))
        self.space.write("inventory.json", [asset.to_json() for asset in everything])
        self._inventory = assets
        left_behind = [asset for asset in assets if asset.excluded is not None]
        self._measure("inventory.assets_total", len(found), "count", "{n} assets discovered", n=len(found))
        self._measure(
            "inventory.assets_unlisted", len(unlisted), "count",
            "{n} assets discovered that the plan neither includes nor excludes", n=len(unlisted),
            places=tuple(sorted(unlisted)),
        )  # fmt: skip
        self._measure(
            "inventory.assets_excluded_no_reason", sum(not (asset.excluded or "").strip() for asset in left_behind),
            "count", "{n} assets excluded by the plan, each with a reason", n=len(left_behind),
        )  # fmt: skip
        return assets

    # --- export ------------------------------------------------------------------------------------------------

    def _export(self, exporters: Mapping[str, Exporter], assets: Sequence[Asset]) -> Iterator[Any]:
        leaving = [asset for asset in assets if asset.excluded is None and asset.obstacle is None]
        if self.space.bundle.exists():
            bundle = Bundle.open(self.space.bundle)
            bundle.check()
        else:
            with BundleWriter(self.space.bundle) as writer:
                self.space.note("export", _now())
                for number, asset in enumerate(leaving):
                    yield Event(phase="export", subject=asset.id, done=number, total=len(leaving))
                    yield from self._export_one(exporters[asset.source], asset, writer)
                bundle = writer.finish(about=self._about(exporters), at=_now())
        self._count_exported(bundle, [asset for asset in assets if asset.excluded is None])
        return bundle

    def _export_one(self, exporter: Exporter, asset: Asset, writer: BundleWriter) -> Iterator[Event]:
        if writer.is_closed(asset):
            return
        error = ""
        try:
            exporter.export(asset, writer)
            writer.put_witness(asset, exporter.witness(asset))
        except SourceError as refusal:
            error = refusal.message + (f" (try: {refusal.hint})" if refusal.hint else "")
            yield Event(phase="export", subject=asset.id, note=error)
        writer.close_asset(asset, exporter=f"{type(exporter).__module__} {__version__}", at=_now(), error=error)

    def _about(self, exporters: Mapping[str, Exporter]) -> dict[str, Any]:
        return {
            "tool": TOOL,
            "exit_plan_sha256": self.plan.sha256,
            "sources": [{"name": name, "endpoints": list(one.endpoints)} for name, one in exporters.items()],
        }

    def _count_exported(self, bundle: Bundle, scope: Sequence[Asset]) -> None:
        out = {asset.id for asset in bundle.assets}
        missing = [asset for asset in scope if asset.id not in out]
        refused = {entry.asset.id: entry.error for entry in bundle.entries if entry.error}
        places = tuple(f"{asset.id}: {asset.obstacle or refused.get(asset.id, '')}" for asset in missing)
        share = 100.0 * (len(scope) - len(missing)) / len(scope) if scope else None
        self._measure(
            "inventory.exported_pct", share, "percent_of_assets", "{out} of {scope} assets in scope were exported",
            out=len(scope) - len(missing), scope=len(scope), places=places,
        )  # fmt: skip
        total = sum(asset.size_bytes or 0 for asset in scope)
        known = all(asset.size_bytes is not None for asset in missing)
        gone = sum(asset.size_bytes or 0 for asset in missing)
        self._measure(
            "inventory.exported_bytes_pct", 100.0 * (total - gone) / total if known and total else None,
            "percent_of_bytes", "{out} of {scope} bytes in scope were exported, by the source's own sizes",
            out=total - gone, scope=total, places=places,
        )  # fmt: skip

    # --- ship --------------------------------------------------------------------------------------------------

    def _ship(self, bundle: Bundle) -> Iterator[Any]:
        """To the destination's own storage and back: what is verified later is what the storage gave back."""
        from reversible.bundle import storage as storages

        target = self.plan.open_storage()
        if target is None:
            return bundle
        self._raw["storage-probe.json"] = json_bytes(storages.probe(target))
        for shipped in storages.ship(bundle, target):
            yield Event(phase="ship", subject=shipped.key, done=shipped.done, total=shipped.total)
        self.space.note("shipped", _now())
        if self.space.fetched.exists():
            arrived = Bundle.open(self.space.fetched)
            arrived.check()
        else:
            yield Event(phase="ship", subject="", note="fetch")
            arrived = storages.fetch(target, self.space.fetched)
        if arrived.digest != bundle.digest:
            raise UsageError(
                f"{self.space.fetched} is another bundle than {self.space.bundle}",
                hint="empty the destination's storage, or choose another --into",
            )
        return arrived

    # --- re-run ------------------------------------------------------------------------------------------------

    def _rerun(self, bundle: Bundle, sources: Sequence[str]) -> Rerun:
        def watch(event: Mapping[str, Any]) -> None:
            self.watch(Event(phase="rerun", subject=str(event.get("asset", "")), note=str(event.get("verifier", ""))))

        destination = LocalDestination(timeout_s=RERUN_TIMEOUT_S)
        rerun = destination.rerun(bundle.root, sources=sources, into=self.space.state, on_event=watch)
        bundle.check()  # the re-run may only read: a verifier that wrote into the bundle would judge its own work
        self.space.note("rerun", _now(), level=rerun.level)
        self._findings += rerun.run_findings
        return rerun

    # --- judge and seal ----------------------------------------------------------------------------------------

    def _conclude(self, sealed: Document, assets: Sequence[Asset], bundle: Bundle, rerun: Rerun) -> None:
        finished = _now()
        self._measure_clock(sealed, finished)
        run = self._describe(sealed, finished, bundle, rerun)
        measured = [*rerun.results, *(_line(finding) for finding in self._findings)]
        draft = self._judge(sealed, measured, run)
        where = dossier.write(
            self.space.state / f"draft-{secrets.token_hex(4)}", draft, reports={}, key=self.key, at=finished,
            bundle_manifests=self._manifests(bundle), attachments=self._raw,
        )  # fmt: skip
        checked = evidence_verify.verify(where, pinned=self.key.fingerprint)
        wrong = [f"{step.id}: {step.detail}" for step in checked.steps if step.outcome == "failed"]
        how = "a separate pass over the written dossier, before this finding was added: {n} of {total} steps passed"
        passed = sum(step.outcome == "passed" for step in checked.steps)
        self._measure(
            "evidence.manifest_verifies", not wrong, "bool", how, n=passed, total=len(checked.steps),
            places=tuple(wrong),
        )  # fmt: skip
        raw = where / "data/results.jsonl"
        lines = len(raw.read_bytes().splitlines()) if raw.is_file() else 0
        self._measure(
            "evidence.raw_results_present", lines == len(draft.results), "bool",
            "{n} result lines in the dossier for {total} planned checks", n=lines, total=len(draft.results),
        )  # fmt: skip
        measured = [*rerun.results, *(_line(finding) for finding in self._findings)]
        self.documents = self._judge(sealed, measured, run)
        reports = {f"report.{lang}.html": html.render(self.documents, lang) for lang in LANGUAGES}
        dossier.write(
            self.space.evidence, self.documents, reports=reports, key=self.key, at=finished,
            bundle_manifests=self._manifests(bundle), attachments=self._raw,
        )  # fmt: skip
        for name, content in {**reports, "report.html": reports[f"report.{self.lang}.html"]}.items():
            (self.space.root / name).write_bytes(content)
        _remove_tree(where)

    def _judge(self, sealed: Document, measured: Sequence[Document], run: Document) -> RunDocuments:
        inventory = tuple(json.loads((self.space.state / "inventory.json").read_bytes()))
        planned = judgement.planned_checks(sealed, inventory)
        results = complete(planned, measured, self.catalogue, why=run["isolation"]["crash"] or "it did not run")
        verdicts = judgement.judge_run(sealed, inventory, results, run, self.catalogue)
        return RunDocuments(
            plan=sealed, inventory=inventory, results=results, run=run, verdicts=verdicts,
            catalogue=self.catalogue.content,
        )  # fmt: skip

    def _measure_clock(self, sealed: Document, finished: datetime) -> None:
        journal = self.space.journal()
        first = next((entry["at"] for entry in journal if entry["event"] == "export"), None)
        self._measure(
            "plan.criteria_sealed_before_run", None if first is None else sealed["sealed_at"] < first, "bool",
            "sealed at {sealed_at}, first export at {first_export_at}, by this machine's clock",
            sealed_at=sealed["sealed_at"], first_export_at=first or "",
        )  # fmt: skip
        elapsed = (finished - datetime.fromisoformat(sealed["sealed_at"])).total_seconds()
        self._measure(
            "exit.elapsed_days", elapsed / 86_400, "days", "{seconds} s from the seal to the last acceptance check",
            seconds=round(elapsed, 1),
        )  # fmt: skip
        written = self.plan.duration_hours
        self._measure(
            "plan.duration_gap_ratio", None if not written else elapsed / 3_600 / written, "ratio",
            "{measured} h measured, {written} h written in the plan",
            measured=round(elapsed / 3_600, 4), written=written or 0,
        )  # fmt: skip
        missing = tuple(self.plan.missing_exit_fields())
        self._measure(
            "plan.required_fields_missing", len(missing), "count", "{n} required fields of the exit plan are missing",
            n=len(missing), places=missing,
        )  # fmt: skip

    def _describe(self, sealed: Document, finished: datetime, bundle: Bundle, rerun: Rerun) -> dict[str, Any]:
        files = [path for path, _ in bag.walk(bundle.root)]
        return {
            "format": "reversible-run/1",
            "run_id": f"{finished:%Y%m%dT%H%M%SZ}-{sealed['exit_plan_sha256'][:8]}",
            "started_at": sealed["sealed_at"],
            "finished_at": finished.isoformat(),
            "level": rerun.level,
            "simulated": True,
            "destination": self.plan.describe_destination(),
            "isolation": rerun.isolation,
            "bundle": {
                "sha256": bundle.digest,
                "bytes": sum((bundle.root / path).stat().st_size for path in files),
                "files": len(files),
            },
            "sources": bundle.about["sources"],
            "phases": [phase.to_json() for phase in self._clock.phases],
            "versions": _versions(),
            "events": self.space.journal(),
            "refused": [{"asset": one.asset.id, "error": one.error} for one in bundle.entries if one.error],
        }

    def _manifests(self, bundle: Bundle) -> dict[str, bytes]:
        return {name: (bundle.root / name).read_bytes() for name in (bag.MANIFEST, bag.TAG_MANIFEST)}

    def _measure(
        self,
        metric: str,
        value: float | bool | None,
        unit: str,
        seen: str,
        *,
        places: tuple[str, ...] = (),
        **facts: Any,
    ) -> None:
        error = "" if value is not None else "it could not be measured"
        self._findings = [finding for finding in self._findings if finding.metric != metric]
        self._findings.append(
            Finding(metric, None, value, unit=unit, seen=seen, facts=facts, places=places, error=error)
        )


def seal(plan: Plan, catalogue: clauses.Catalogue, *, at: datetime) -> dict[str, Any]:
    """The document that is frozen before the first byte leaves: what is in scope, what is checked, what passes."""
    criteria = clauses.criteria(catalogue, plan.profiles, plan.overrides)
    return {
        "format": "reversible-plan/1",
        "sealed_at": at.isoformat(),
        "tool": TOOL,
        "exit_plan": plan.sealed(),
        "exit_plan_sha256": plan.sha256,
        "catalogue_sha256": catalogue.sha256,
        "profiles": list(plan.profiles),
        "flags": list(plan.flags),
        "criteria": [criterion.to_json() for criterion in criteria],
        "verifiers": {
            name: {"metrics": sorted(one.metrics), "kinds": sorted(one.kinds)}
            for name, one in registry.verifiers().items()
        },
        "run_metrics": list(RUN_METRICS),
        "facts": dict(plan.facts),
        "documents": plan.read_documents(),
    }


def complete(
    planned: frozenset[tuple[str, str | None]], measured: Sequence[Document], catalogue: clauses.Catalogue, *, why: str
) -> tuple[Document, ...]:
    """One line per planned check, in a stable order; what nobody answered says `why`."""
    answered = {(line["metric"], line["asset"]): line for line in measured}
    missing = planned - set(answered)
    lines = list(measured)
    for metric, asset in missing:
        unit = catalogue.metrics[metric].unit
        lines.append({**Finding(metric, asset, None, unit=unit, error=why).to_json(), "status": "not-run"})
    return tuple(sorted(lines, key=lambda line: (line["metric"], line["asset"] or "")))


def _line(finding: Finding) -> dict[str, Any]:
    return {**finding.to_json(), "status": "error" if finding.value is None else "measured"}


def _versions() -> dict[str, str]:
    names = ("reversible-toolkit", "pyarrow", "duckdb", "numpy", "onnx", "onnxruntime", "cryptography")
    found = {name: metadata.version(name) for name in names}
    return {**found, "python": platform.python_version(), "system": f"{platform.system()} {platform.release()}"}


def _remove_tree(root: Path) -> None:
    import shutil

    shutil.rmtree(root)


def _now() -> datetime:
    return datetime.now(UTC)
