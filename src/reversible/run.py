"""How does a dry run go, from the sealed plan to the signed evidence?

    seal -> inventory -> export + witness -> ship -> fetch -> re-run -> judge -> evidence -> report

Each step takes the last one's result; nothing flows back. `DryRun.events` yields what happens as it happens:
the caller draws the progress, and may act between two steps (the demo stops its vendor there).
"""

import functools
import logging
import platform
import shutil
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

from reversible import __version__, account, clauses, judgement, planted, registry
from reversible.assets import Asset
from reversible.bundle import bag
from reversible.bundle.reader import Bundle
from reversible.bundle.writer import BundleWriter, disk_faults, json_bytes
from reversible.destinations import chosen
from reversible.destinations.chosen import Destination
from reversible.destinations.local import Rerun
from reversible.documents import Document, RunDocuments
from reversible.errors import SourceError, SourceLostError, UsageError
from reversible.evidence import dossier, keys
from reversible.evidence import verify as evidence_verify
from reversible.findings import Finding
from reversible.interfaces import BeginsAhead, Exporter
from reversible.phases import Clock
from reversible.plan import Plan
from reversible.report import html
from reversible.workspace import Workspace

log = logging.getLogger(__name__)

TOOL = f"reversible-toolkit {__version__}"
LANGUAGES = ("fr", "en")
FORGOTTEN = "the plan neither includes nor excludes it"
RERUN_TIMEOUT_S = 6 * 3600.0  # a verifier that hangs ends the re-run; what it did not answer is NOT TESTED

RUN_METRICS = (*account.METRICS, *planted.METRICS)  # and those of the destination


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something happened: `ended` marks the end of a phase; `done` of `total` counts inside one."""

    phase: str
    subject: str = ""
    done: int = 0
    total: int = 0
    note: str = ""
    ended: bool = False


Result = TypeVar("Result")
Steps = Generator[Event, None, Result]  # says what happens, then gives its result


class DryRun:
    """One run of a plan in one directory; iterate `events` to the end, then read `documents`.

    Args:
        plan: The exit plan.
        into: The run's directory; an interrupted run of the same plan is taken up there.
        lang: The language of `report.html`; both languages are always written.
        since: An earlier run's directory: parts of tables that are unchanged since are taken from its bundle.
        watch: Told what happens inside the re-run, which is another process and cannot be waited for step by step.

    Raises:
        UsageError: the directory belongs to something else or to another plan.
    """

    documents: RunDocuments
    sealing = dossier.Sealing()  # what the caller knows of the seal: the history before it, a nonce, an authority

    def __init__(
        self, plan: Plan, into: Path, *, lang: str = "en", since: Path | None = None,
        watch: Callable[[Event], None] = lambda event: None,
    ) -> None:  # fmt: skip
        self.plan = plan
        self.lang = lang
        self.watch = watch
        self.space = Workspace(into)
        self.catalogue = clauses.load()
        self.key = keys.load_or_create()
        self._since = None if since is None else Bundle.open(since / "bundle")
        self._canaries = plan.canaries()
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
            destination = chosen.destination(
                self.plan, run_id=run_id(sealed), criteria=sealed["criteria"], timeout_s=RERUN_TIMEOUT_S
            )
            exporters = self.plan.exporters(sealed.get("seeds", {}))
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
                arrived = yield from self._ship(sealed, bundle)
            yield Event(phase="ship", ended=True)
            with self._clock.phase("rerun", started_at=_now().isoformat()):
                rerun = self._rerun(destination, arrived, sources)
            yield Event(phase="rerun", ended=True)
            with self._clock.phase("evidence", started_at=_now().isoformat()):
                self._conclude(sealed, assets, bundle, rerun)
            yield Event(phase="evidence", ended=True)

    # --- seal --------------------------------------------------------------------------------------------------

    def _seal(self) -> Document:
        """Freeze plan, criteria and checks before the first byte leaves; a resumed run keeps the first seal."""
        earlier = self.space.sealed_plan()
        if earlier is not None:
            same = earlier["exit_plan_sha256"] == self.plan.sha256
            same = same and earlier["catalogue_sha256"] == self.catalogue.sha256 and earlier["tool"] == TOOL
            exported = any(entry["event"] == "export" for entry in self.space.journal())
            if not same and not exported:  # nothing has left yet: the plan may still be mended
                return self._new_seal()
            if not same:
                raise UsageError(
                    f"{self.space.root} holds an interrupted run of another plan or another version of this tool",
                    hint="choose another directory with --into, or put the plan back as it was",
                )
            self.space.note("resumed", _now())
            return earlier
        return self._new_seal()

    def _new_seal(self) -> Document:
        sealed = seal(self.plan, self.catalogue, at=_now())
        self.space.write("plan.json", sealed)
        self.space.note("sealed", _now(), sha256=self.plan.sha256)
        return sealed

    # --- inventory ---------------------------------------------------------------------------------------------

    def _take_inventory(self, exporters: Mapping[str, Exporter]) -> Steps[tuple[Asset, ...]]:
        """Ask the sources; once the bundle is finished its own inventory stands, and no source is needed any more."""
        if self.space.bundle.exists():
            everything = tuple(map(Asset.from_json, self.space.read("inventory.json")))
        else:
            found: list[Asset] = []
            for name, exporter in exporters.items():
                yield Event(phase="inventory", subject=name)
                found += exporter.discover()
            unlisted = {asset.id for asset in self.plan.unlisted(found)}
            everything = tuple(
                replace(asset, excluded=FORGOTTEN) if asset.id in unlisted else self.plan.scope(asset)
                for asset in found
            )
            self.space.write("inventory.json", [asset.to_json() for asset in everything])
        forgotten = [asset for asset in everything if asset.excluded == FORGOTTEN]
        listed = tuple(asset for asset in everything if asset.excluded != FORGOTTEN)
        self._measure(account.of_inventory(everything, forgotten, listed))
        self._idle = self.plan.idle_patterns(everything)
        return listed

    # --- export ------------------------------------------------------------------------------------------------

    def _export(self, exporters: Mapping[str, Exporter], assets: Sequence[Asset]) -> Steps[Bundle]:
        leaving = [asset for asset in assets if asset.excluded is None and asset.obstacle is None]
        if self.space.bundle.exists():
            bundle = Bundle.open(self.space.bundle)
            bundle.check()
        else:
            with BundleWriter(self.space.bundle, since=self._since) as writer:
                self.space.note("export", _now())
                for name, exporter in exporters.items():
                    if isinstance(exporter, BeginsAhead):
                        own = [asset for asset in leaving if asset.source == name]
                        exporter.begin([asset for asset in own if not writer.is_closed(asset)], writer)
                for number, asset in enumerate(leaving):
                    yield Event(phase="export", subject=asset.id, done=number, total=len(leaving))
                    yield from self._export_one(exporters[asset.source], asset, writer)
                self._refuse_silence(exporters, leaving, writer)
                bundle = writer.finish(about=self._about(exporters), at=_now())
        scope = [asset for asset in assets if asset.excluded is None]
        promises = [pattern for pattern in self._idle if ".include:" in pattern]
        self._measure(account.of_export(bundle, scope, promises))
        return bundle

    def _export_one(self, exporter: Exporter, asset: Asset, writer: BundleWriter) -> Iterator[Event]:
        if writer.is_closed(asset):
            if exporter.stands(asset, writer):  # a source that is gone ends the run here: nothing finished is dropped
                return
            writer.reopen(asset)
        error = ""
        try:
            exporter.export(asset, writer)
            writer.put_witness(asset, exporter.witness(asset))
        except SourceLostError:  # nothing was refused: the run stops here, and the same command takes it up
            raise
        except SourceError as refusal:
            error = refusal.message + (f" (try: {refusal.hint})" if refusal.hint else "")
            writer.discard(asset)
            yield Event(phase="export", subject=asset.id, note=error)
        writer.close_asset(asset, exporter=f"{type(exporter).__module__} {__version__}", at=_now(), error=error)

    def _refuse_silence(
        self, exporters: Mapping[str, Exporter], leaving: Sequence[Asset], writer: BundleWriter
    ) -> None:
        """A source that gave nothing at all has gone away: the same command takes the run up when it is back."""
        for name in exporters:
            own = [asset for asset in leaving if asset.source == name]
            if own and not any(writer.is_closed(asset) for asset in own):
                raise SourceError(
                    f"source {name}: none of its {len(own)} assets could be exported; the last refusal: "
                    f"{writer.error(own[-1])}",
                    hint=f"reversible check {self.plan.path}",
                )

    def _about(self, exporters: Mapping[str, Exporter]) -> dict[str, Any]:
        return {
            "tool": TOOL,
            "exit_plan_sha256": self.plan.sha256,
            "sources": [{"name": name, "endpoints": list(one.endpoints)} for name, one in exporters.items()],
        }

    # --- ship --------------------------------------------------------------------------------------------------

    def _ship(self, sealed: Document, bundle: Bundle) -> Steps[Bundle]:
        """To the destination's own storage and back: what is verified later is what the storage gave back."""
        from reversible.bundle import storage as storages

        target = self.plan.open_storage(below=run_id(sealed))
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

    def _rerun(self, destination: Destination, bundle: Bundle, sources: Sequence[str]) -> Rerun:
        def watch(event: Mapping[str, Any]) -> None:
            note = str(event.get("verifier") or event.get("event", ""))
            self.watch(Event(phase="rerun", subject=str(event.get("asset", "")), note=note))

        rerun = destination.rerun(bundle.root, sources=sources, into=self.space.state, on_event=watch)
        bundle.check()  # the re-run may only read: a verifier that wrote into the bundle would judge its own work
        self._raw |= rerun.raw
        self.space.note("rerun", _now(), level=rerun.level)
        self._measure([*rerun.run_findings, planted.survived(bundle, self._canaries)])
        return rerun

    # --- judge and seal ----------------------------------------------------------------------------------------

    def _conclude(self, sealed: Document, assets: Sequence[Asset], bundle: Bundle, rerun: Rerun) -> None:
        finished = _now()
        self._measure(account.of_clock(sealed["sealed_at"], self.space.journal(), finished, self.plan.duration_hours))
        self._measure(account.of_plan(self.plan.missing_exit_fields()))
        run = self._describe(sealed, finished, bundle, rerun)
        seal_dossier = functools.partial(
            dossier.write,
            bundle_manifests=self._manifests(bundle),
            key=self.key,
            at=finished,
            attachments=self._raw,
            sealing=self.sealing,
        )
        draft = self._judge(sealed, [*rerun.results, *map(_line, self._findings)], run)
        drafts = self.space.draft()
        where = seal_dossier(drafts / "evidence", draft, reports={})
        checked = evidence_verify.verify(where, pinned=self.key.fingerprint)
        self._measure(
            account.of_evidence(
                {step.id: step.detail for step in checked.steps if step.outcome == "failed"},
                passed=sum(step.outcome == "passed" for step in checked.steps),
                lines=len((where / "data/results.jsonl").read_bytes().splitlines()),
                planned=len(draft.results),
            )
        )
        self.documents = self._judge(sealed, [*rerun.results, *map(_line, self._findings)], run)
        written = dossier.as_written(self.documents)  # as whoever verifies will read them, and render them again
        reports = {f"report.{lang}.html": html.render(written, lang) for lang in LANGUAGES}
        beside = {**reports, "report.html": reports[f"report.{self.lang}.html"]}
        with disk_faults(drafts):  # before the seal, which says that the run is finished
            for name, content in beside.items():
                (drafts / name).write_bytes(content)
        seal_dossier(self.space.evidence, self.documents, reports=reports)
        for name in beside:
            (drafts / name).replace(self.space.root / name)
        shutil.rmtree(drafts)

    def _judge(self, sealed: Document, measured: Sequence[Document], run: Document) -> RunDocuments:
        inventory = tuple(self.space.read("inventory.json"))
        planned = judgement.planned_checks(sealed, inventory)
        results = complete(planned, measured, self.catalogue, why=run["isolation"]["crash"] or "it did not run")
        verdicts = judgement.judge_run(sealed, inventory, results, run, self.catalogue)
        return RunDocuments(
            plan=sealed, inventory=inventory, results=results, run=run, verdicts=verdicts,
            catalogue=self.catalogue.content,
        )  # fmt: skip

    def _describe(self, sealed: Document, finished: datetime, bundle: Bundle, rerun: Rerun) -> dict[str, Any]:
        files = [path for path, _ in bag.walk(bundle.root)]
        return {
            "format": "reversible-run/1",
            "run_id": run_id(sealed),
            "started_at": sealed["sealed_at"],
            "finished_at": finished.isoformat(),
            "level": rerun.level,
            "simulated": rerun.simulated,
            "identity": list(rerun.identity),
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

    def _measure(self, findings: Iterable[Finding]) -> None:
        self._findings += findings


def run_id(sealed: Document) -> str:
    """A run's name, from its seal: the same when an interrupted run is taken up, another for every other run."""
    return f"{datetime.fromisoformat(sealed['sealed_at']):%Y%m%dT%H%M%S%fZ}-{sealed['exit_plan_sha256'][:8]}"


def seal(plan: Plan, catalogue: clauses.Catalogue, *, at: datetime) -> dict[str, Any]:
    """The document that is frozen before the first byte leaves: what is in scope, what is checked, what passes."""
    criteria = clauses.criteria(catalogue, plan.profiles, plan.overrides)
    return {
        "format": "reversible-plan/1",
        "sealed_at": at.isoformat(),
        "tool": TOOL,
        "exit_plan": plan.sealed(),
        "exit_plan_sha256": plan.sha256,
        "seeds": plan.seeds(),
        "catalogue_sha256": catalogue.sha256,
        "profiles": list(plan.profiles),
        "flags": list(plan.flags),
        "criteria": [criterion.to_json() for criterion in criteria],
        "verifiers": {
            name: {"metrics": sorted(one.metrics), "kinds": sorted(one.kinds)}
            for name, one in registry.verifiers().items()
        },
        "run_metrics": [*RUN_METRICS, *chosen.run_metrics(plan)],
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


def _now() -> datetime:
    return datetime.now(UTC)
