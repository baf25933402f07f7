"""What does the run itself measure, beside its verifiers?"""

from collections.abc import Mapping, Sequence
from datetime import datetime

from reversible.assets import Asset
from reversible.bundle.reader import Bundle
from reversible.findings import Finding, Scalar

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
METRICS = (*INVENTORY_METRICS, *CLOCK_METRICS, *PLAN_METRICS, *EVIDENCE_METRICS)


def of_inventory(found: Sequence[Asset], unlisted: Sequence[Asset], scoped: Sequence[Asset]) -> list[Finding]:
    """What was discovered, and what the plan says of it."""
    excluded = [asset for asset in scoped if asset.excluded is not None]
    unexplained = tuple(asset.id for asset in excluded if not (asset.excluded or "").strip())
    return [
        _measured("inventory.assets_total", len(found), "count", "{n} assets discovered", n=len(found)),
        _measured(
            "inventory.assets_unlisted", len(unlisted), "count",
            "{n} assets discovered that the plan neither includes nor excludes", n=len(unlisted),
            places=tuple(asset.id for asset in unlisted),
        ),
        _measured(
            "inventory.assets_excluded_no_reason", len(unexplained), "count",
            "{n} assets excluded by the plan, {unexplained} of them without a reason", n=len(excluded),
            unexplained=len(unexplained), places=unexplained,
        ),
    ]  # fmt: skip


def of_export(bundle: Bundle, scope: Sequence[Asset], idle: Sequence[str]) -> list[Finding]:
    """How much of the scope came out.

    Args:
        scope: The assets that the plan includes, obstacles or not.
        idle: Patterns of the plan that name no asset: what they promise did not come out either.
    """
    out = {asset.id for asset in bundle.assets}
    missing = [asset for asset in scope if asset.id not in out]
    refused = {entry.asset.id: entry.error for entry in bundle.entries if entry.error}
    places = tuple(f"{asset.id}: {asset.obstacle or refused.get(asset.id, 'not exported')}" for asset in missing)
    places += tuple(f"{pattern} names nothing" for pattern in idle)
    promised = len(scope) + len(idle)
    total = sum(asset.size_bytes or 0 for asset in scope)
    gone = sum(asset.size_bytes or 0 for asset in missing)
    known = not idle and all(asset.size_bytes is not None for asset in missing) and total > 0
    return [
        _measured(
            "inventory.exported_pct", 100.0 * (len(scope) - len(missing)) / promised if promised else None,
            "percent_of_assets", "{out} of {scope} assets in scope were exported", out=len(scope) - len(missing),
            scope=promised, places=places, error="the scope is empty",
        ),
        _measured(
            "inventory.exported_bytes_pct", 100.0 * (total - gone) / total if known else None, "percent_of_bytes",
            "{out} of {scope} bytes in scope were exported, by the source's own sizes", out=total - gone, scope=total,
            places=places, error="the source does not say how large the missing assets are",
        ),
    ]  # fmt: skip


def of_clock(
    sealed_at: str, journal: Sequence[Mapping[str, str]], finished: datetime, written: float | None
) -> list[Finding]:
    """When things happened, by this machine's clock.

    Args:
        journal: The workspace's journal.
        written: The duration that the plan states, in hours; None when it states none.
    """
    first = next((entry["at"] for entry in journal if entry["event"] == "export"), None)
    elapsed = (finished - datetime.fromisoformat(sealed_at)).total_seconds()
    before = None if first is None else datetime.fromisoformat(sealed_at) < datetime.fromisoformat(first)
    return [
        _measured(
            "plan.criteria_sealed_before_run", before, "bool",
            "sealed at {sealed_at}, first export at {first_export_at}, by this machine's clock",
            sealed_at=sealed_at, first_export_at=first or "", error="nothing was exported",
        ),
        _measured(
            "exit.elapsed_days", elapsed / 86_400, "days", "{seconds} s from the seal to the last acceptance check",
            seconds=round(elapsed, 1),
        ),
        _measured(
            "plan.duration_gap_ratio", elapsed / 3_600 / written if written else None, "ratio",
            "{measured} h measured, {written} h written in the plan", measured=round(elapsed / 3_600, 4),
            written=written or 0, error="the plan states no duration: exit.duration_hours",
        ),
    ]  # fmt: skip


def of_plan(missing: Sequence[str]) -> list[Finding]:
    """What GOV-01 asks a written plan to name and this one leaves out."""
    seen = "{n} required fields of the exit plan are missing"
    return [
        _measured("plan.required_fields_missing", len(missing), "count", seen, n=len(missing), places=tuple(missing))
    ]


def of_evidence(steps: Mapping[str, str], *, passed: int, lines: int, planned: int) -> list[Finding]:
    """What a separate pass over the written dossier says, taken before these two findings were added to it.

    Args:
        steps: The steps that failed, with the reason.
        passed: How many passed.
        lines: Result lines in the dossier.
        planned: Planned checks.
    """
    places = tuple(f"{step}: {reason}" for step, reason in steps.items())
    return [
        _measured(
            "evidence.manifest_verifies", not steps and passed > 0, "bool",
            "a pass over the written dossier, before this finding was added: {n} steps passed, {failed} failed",
            n=passed, failed=len(steps), places=places,
        ),
        _measured(
            "evidence.raw_results_present", lines == planned > 0, "bool",
            "{n} result lines in the dossier for {total} planned checks", n=lines, total=planned,
        ),
    ]  # fmt: skip


def _measured(
    metric: str, value: float | bool | None, unit: str, seen: str, *, places: tuple[str, ...] = (), error: str = "",
    **facts: Scalar,
) -> Finding:  # fmt: skip
    if value is None:
        return Finding(metric, None, None, unit=unit, error=error)
    return Finding(metric, None, value, unit=unit, seen=seen, facts=facts, places=places)
