"""Does the model decide here as it did at the vendor's?

Every input that the live endpoint answered is asked again, of the ONNX file alone, on one CPU thread, in several
batch sizes, one of which the vendor never used. The answers are held against the recorded ones, and against what the
endpoint said a second time, by another route.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reversible import onnx_graph, scoring
from reversible.assets import Asset, Kind
from reversible.equivalence import runtime
from reversible.equivalence.decisions import alike, decide
from reversible.equivalence.ladder import NAMES_ALONE, NO_DECISION
from reversible.findings import Finding
from reversible_verifiers import error_ratio, golden_answers, quantities, rungs
from reversible_verifiers.golden_answers import Golden, Numbers
from reversible_verifiers.rungs import INFINITE

if TYPE_CHECKING:
    from reversible.bundle.reader import Bundle

NOISE = 1e-5  # of the largest answer; float32 sums in another order stay a hundred times below
_STRANGE_BATCHES = (7, 11)
_STRANGE = 64  # inputs asked in such a batch
_ONE_BY_ONE = 32
_SHOWN = 5
_GIVEN = "{n} distinct inputs asked again, in batches of {batches}; the endpoint answered {again} of them twice"
_MADE = (
    "{n} distinct inputs, made of what the model takes and no sample of its use, asked again, in batches of {batches}; "
    "the endpoint answered {again} of them twice"
)


@dataclass(frozen=True, kw_only=True)
class Rerun(error_ratio.Answers):
    """One pass over some inputs: their rows, the answers (rows, outputs), and why there are none, if so."""

    batch: int
    refusal: str = ""


class Outputs:
    """Re-runs the golden set. Catches wrong weights, layers, constants, orders and labels; see its tests."""

    metrics = frozenset(
        {
            "model.inputs_compared",
            "model.agreement_lb95",
            "model.max_abs_diff",
            "model.error_ratio_median",
            "model.error_ratio_max",
            "model.equivalence",
            "model.metric_delta_points",
            "model.declared_metric_gap_points",
        }
    )
    kinds = frozenset({Kind.MODEL})

    def verify(self, asset: Asset, bundle: "Bundle") -> Iterator[Finding]:
        """Eight findings per model, without a value and with the reason where the golden set decides nothing."""
        document = bundle.document(asset, "model.json")
        folder = bundle.folder(asset)
        session = _session(folder / "model.onnx")
        judged: tuple[Golden, ...] = ()
        if golden_answers.is_recorded(asset, bundle):
            judged = golden_answers.read(asset, bundle, session)
        if reason := _undecidable(judged):
            for metric in sorted(self.metrics):
                yield Finding(metric, asset.id, None, unit=_UNITS[metric], error=reason)
            return
        files = tuple(
            bundle.relative(folder / name)
            for name in ("model.onnx", "golden/requests.parquet", "golden/outputs.parquet")
        )
        reruns = _rerun(session, judged)
        seen = [_Comparison(asset, document, one, reruns[one.name], files) for one in judged]
        measured = [
            error_ratio.measure(folder, one, reruns[one.name], rule=held.rule, agrees=held.agrees)
            for one, held in zip(judged, seen, strict=True)
        ]
        decides = seen[0]
        yield from decides.findings(measured[0], largest=max(seen, key=lambda one: one.largest))
        worst = min(range(len(judged)), key=lambda place: rungs.order(measured[place]))
        yield from rungs.findings(asset, judged[worst], measured[worst], files, rule=decides.rule)


_UNITS = {
    "model.inputs_compared": "count",
    "model.agreement_lb95": "ratio",
    "model.max_abs_diff": "score",
    **rungs.UNITS,
    "model.metric_delta_points": "percentage_points",
    "model.declared_metric_gap_points": "percentage_points",
}


def differences(observed: Numbers, expected: Numbers) -> NDArray[np.float64]:
    """How far each answer is off, per input.

    Args:
        observed: Answers of the re-run, shape (rows, outputs), any unit.
        expected: Answers recorded at the source, same shape and unit.

    Returns:
        max |observed - expected| of each row, computed in float64; 0 where both are NaN or the same infinity,
        infinity where only one is, or where they are different infinities. Infinity everywhere when the shapes
        differ. Shape (rows of expected,).
    """
    if observed.shape != expected.shape:
        return np.full(len(expected), np.inf)
    if expected.shape[1] == 0:
        return np.full(len(expected), np.inf)  # nothing was answered: nothing agrees
    left, right = observed.astype(np.float64), expected.astype(np.float64)
    with np.errstate(invalid="ignore"):
        off = np.abs(left - right)
    same = (left == right) | (np.isnan(left) & np.isnan(right))
    off = np.where(same, 0.0, np.where(np.isfinite(left) & np.isfinite(right), off, np.inf))
    worst: NDArray[np.float64] = off.max(axis=1)
    return worst


class _Comparison:
    """What the reruns and the records say about each other."""

    def __init__(
        self,
        asset: Asset,
        document: Mapping[str, Any],
        golden: Golden,
        reruns: tuple[Rerun, ...],
        files: tuple[str, ...],
    ) -> None:
        self._asset, self._golden, self._files = asset, golden, files
        self._reruns = reruns
        self._declared = document.get("declared_metrics")
        # The first number makes the decisions; the others are numbers.
        self.rule = str(document.get("decision") or "argmax") if golden.number == 0 else "value"
        # A decision is a name: swapped labels are as wrong as swapped outputs.
        here = document.get("labels")
        self._here: list[Any] = here if isinstance(here, list) else []
        self._there: list[Any] = list(golden.labels_at_source or self._here)
        self._classifies = golden.classifies(self.rule)
        self._off = np.zeros(golden.count)
        self.agrees = np.ones(golden.count, dtype=bool)
        for rerun in reruns:
            self._hold(rerun, golden.outputs[rerun.rows])
        for rerun in reruns[:1]:
            self._hold_witness(rerun)

    @property
    def largest(self) -> float:
        """The largest difference of any number."""
        return float(self._off.max())

    def findings(self, measured: error_ratio.Measured, *, largest: "_Comparison") -> Iterator[Finding]:
        """The findings about decisions, and about the output whose numbers are furthest off."""
        first = self._golden.first_of_equals
        n, agreeing = int(first.sum()), int((self.agrees & first).sum())
        batches = ", ".join(str(rerun.batch) for rerun in self._reruns)
        yield self._finding(
            "model.inputs_compared",
            n,
            _MADE if self._golden.made else _GIVEN,
            facts={"n": n, "batches": batches, "again": len(self._golden.witness_rows)},
        )
        yield self._agreement(n, agreeing, measured)
        yield largest.difference()
        yield self._accuracy_change()
        yield self._declared_gap()

    def _agreement(self, n: int, agreeing: int, measured: error_ratio.Measured) -> Finding:
        metric = "model.agreement_lb95"
        if not self._classifies:
            return quantities.agreement(
                self._asset, self._golden, measured, self._files, rule=self.rule, agrees=self.agrees,
                places=self._places(~self.agrees),
            )  # fmt: skip
        return self._finding(
            metric,
            scoring.lower_bound(agreeing, n),
            "{agreeing} of {n} inputs get the endpoint's decision",
            facts={"agreeing": agreeing, "n": n},
            places=self._places(~self.agrees),
        )

    def difference(self) -> Finding:
        """By how much the numbers differ at most."""
        if self._golden.names_alone:
            return self._unanswered("model.max_abs_diff", NAMES_ALONE)
        worst = float(self._off.max())
        where = self._places(self._off > NOISE)
        if not np.isfinite(worst):
            why = next((rerun.refusal for rerun in self._reruns if rerun.refusal), "")
            return self._finding(
                "model.max_abs_diff",
                INFINITE,
                "no difference can be given for {n} inputs: another shape, no number on one side, or refused {why}",
                facts={"n": int((~np.isfinite(self._off)).sum()), "why": why},
                places=where,
            )
        return self._finding(
            "model.max_abs_diff",
            worst,
            "largest difference {worst}, over all outputs, inputs and batch sizes",
            facts={"worst": worst},
            places=where,
        )

    def _accuracy_change(self) -> Finding:
        metric = "model.metric_delta_points"
        if not self._classifies:
            return quantities.change(self._asset, self._golden, self._reruns, self._files)
        rows = np.flatnonzero(self._golden.labels >= 0)
        here, there = self._accuracy(rows, here=True), self._accuracy(rows, here=False)
        if here is None or there is None:
            return self._unanswered(metric, "no input of the golden set carries its true class")
        return self._finding(
            metric,
            100 * (here - there),
            "accuracy {here} % here, {there} % at the endpoint, on {n} labelled inputs",
            facts={"here": round(100 * here, 4), "there": round(100 * there, 4), "n": len(rows)},
        )

    def _declared_gap(self) -> Finding:
        metric = "model.declared_metric_gap_points"
        if not self._classifies:
            return self._unanswered(metric, NO_DECISION)
        declared = self._declared.get("accuracy") if isinstance(self._declared, dict) else None
        if not isinstance(declared, dict) or not isinstance(declared.get("value"), int | float):
            return self._unanswered(metric, "the model's card declares no accuracy")
        origin = str(declared.get("on", ""))
        rows = np.array([one == origin for one in self._golden.origins]) & (self._golden.labels >= 0)
        here = self._accuracy(np.flatnonzero(rows), here=True)
        if here is None:
            return self._unanswered(metric, f"no labelled input of the golden set comes from {origin!r}")
        return self._finding(
            metric,
            100 * (float(declared["value"]) - here),
            "accuracy {declared} % declared, {here} % measured here, on {n} inputs ({origin})",
            facts={
                "declared": round(100 * float(declared["value"]), 4),
                "here": round(100 * here, 4),
                "n": int(rows.sum()),
                "origin": origin,
            },
        )

    # --- helpers -----------------------------------------------------------------------------------------------

    def _hold(self, rerun: Rerun, expected: Numbers) -> None:
        if rerun.answers is None or rerun.answers.shape != expected.shape:
            self._off[rerun.rows], self.agrees[rerun.rows] = np.inf, False
            return
        said = self._golden.said
        there = None if said is None else [said[row] for row in rerun.rows.tolist()]
        self._note(rerun.rows, rerun.answers, expected, self._decided(rerun), there)

    def _hold_witness(self, rerun: Rerun) -> None:
        """`rerun` covers every input, in order."""
        rows, again = self._golden.witness_rows, self._golden.witness_said
        if rerun.answers is None or not len(rows):
            return
        answers = rerun.answers[rows]
        if answers.shape != self._golden.witness_outputs.shape:
            self._off[rows], self.agrees[rows] = np.inf, False
            return
        here = self._decided(rerun, rows)
        self._note(rows, answers, self._golden.witness_outputs, here, None if again is None else list(again))

    def _note(
        self,
        rows: NDArray[np.int64],
        answers: Numbers,
        expected: Numbers,
        here: list[str],
        said: list[str] | None,
    ) -> None:
        """Hold answers and decisions against the recorded ones; a label that the endpoint said is its decision."""
        if not self._golden.names_alone:
            self._off[rows] = np.maximum(self._off[rows], differences(answers, expected))
        if not self._classifies:
            self.agrees[rows] &= alike(answers, expected, self.rule)
            return
        there = said or [_named(self._there, one) for one in decide(expected, self.rule).tolist()]
        self.agrees[rows] &= np.array([mine == theirs for mine, theirs in zip(here, there, strict=True)])

    def _decided(self, rerun: Rerun, rows: NDArray[np.int64] | None = None) -> list[str]:
        """The names of what was decided here."""
        table = rerun.answers if rerun.whole is None else rerun.whole
        if not self._classifies or table is None:
            return []
        return [_named(self._here, one) for one in decide(table if rows is None else table[rows], self.rule).tolist()]

    def _accuracy(self, rows: NDArray[np.int64], *, here: bool) -> float | None:
        """Share of `rows` with the right class, by its name; None when there are none."""
        if not len(rows):
            return None
        said = self._golden.said
        if here and self._reruns[0].answers is None:
            return 0.0  # it refused the inputs: none of its decisions is right
        if here:
            decided = self._decided(self._reruns[0], rows)
        elif said is not None:
            decided = [said[row] for row in rows.tolist()]
        else:
            decided = [_named(self._there, one) for one in decide(self._golden.outputs[rows], self.rule).tolist()]
        true = (_named(self._there, one) for one in self._golden.labels[rows].tolist())
        return sum(mine == right for mine, right in zip(decided, true, strict=True)) / len(rows)

    def _places(self, wrong: NDArray[np.bool_]) -> tuple[str, ...]:
        """The worst inputs among the wrong ones, disagreements first."""
        rows = np.flatnonzero(wrong)
        order = sorted(rows.tolist(), key=lambda row: (bool(self.agrees[row]), -self._off[row], row))[:_SHOWN]
        return tuple(f"input {row} ({self._golden.origins[row]}): {self._off[row]:.3g}" for row in order)

    def _finding(
        self,
        metric: str,
        value: float,
        seen: str,
        *,
        facts: Mapping[str, int | float | str],
        places: tuple[str, ...] = (),
    ) -> Finding:
        return Finding(
            metric, self._asset.id, value, unit=_UNITS[metric], seen=seen, facts=facts, places=places, files=self._files
        )

    def _unanswered(self, metric: str, error: str) -> Finding:
        return Finding(metric, self._asset.id, None, unit=_UNITS[metric], error=error, files=self._files)


def _undecidable(judged: tuple[Golden, ...]) -> str:
    """Why no comparison can decide; empty when one can."""
    if not judged:
        return "no golden set was recorded at the endpoint: there is nothing to compare with"
    for golden in judged:
        scale = float(np.abs(golden.outputs[np.isfinite(golden.outputs)]).max(initial=0.0)) or 1.0
        if golden.spread > NOISE * scale or golden.decisions_changed:
            return (
                f"the endpoint gave different answers to the same question (up to {golden.spread:.3g} apart, "
                f"{golden.decisions_changed} decisions changed): no comparison with it can decide"
            )
    return ""


def _named(labels: list[Any], index: int) -> str:
    return str(labels[index]) if 0 <= index < len(labels) else f"#{index}"


def _rerun(session: Any, judged: tuple[Golden, ...]) -> dict[str, tuple[Rerun, ...]]:
    """Ask the file: everything in the vendor's batch size, a part of it in a strange one and one by one.

    What depends on the batch shows on any input, so a part is enough: asking is what a verification costs.
    """
    golden = judged[0]
    everything = np.arange(golden.count)
    strange = next(size for size in _STRANGE_BATCHES if size != golden.batch_size)
    plan = {golden.batch_size: everything}
    for size, most in ((strange, _STRANGE), (1, _ONE_BY_ONE)):
        plan.setdefault(size, everything[:: max(1, -(-golden.count // most))])
    passes = [_ask(session, judged, batch, rows) for batch, rows in plan.items()]
    return {one.name: tuple(asked[one.name] for asked in passes) for one in judged}


def _session(path: Path) -> Any:
    onnx_graph.must_be_runnable(path)
    return runtime.session(path)


def _ask(session: Any, judged: tuple[Golden, ...], batch: int, rows: NDArray[np.int64]) -> dict[str, Rerun]:
    """One pass, for every number that the endpoint answered with."""
    from onnxruntime.capi import onnxruntime_pybind11_state as ort

    names = list(dict.fromkeys(one.source.output for one in judged))
    found: dict[str, list[NDArray[Any]]] = {name: [] for name in names}
    try:
        for part, feeds in judged[0].asked.batches(rows, batch):
            for name, answer in zip(names, session.run(names, feeds), strict=True):
                found[name].append(np.asarray(answer).reshape(len(part), -1))
        whole = {name: np.concatenate(parts) for name, parts in found.items()}
        return {one.name: _of(one, whole[one.source.output], batch, rows) for one in judged}
    except (ort.Fail, ort.InvalidArgument, ort.RuntimeException, ort.NotImplemented, ValueError) as error:
        refusal = f"in batches of {batch}: {str(error).splitlines()[0][:200]}"
        return {one.name: Rerun(batch=batch, rows=rows, answers=None, refusal=refusal) for one in judged}


def _of(golden: Golden, whole: NDArray[Any], batch: int, rows: NDArray[np.int64]) -> Rerun:
    """What one number of the record is held against."""
    if golden.names_alone:
        return Rerun(batch=batch, rows=rows, answers=golden.outputs[rows], whole=whole)
    answers = golden.source.of(whole).reshape(len(whole), -1).astype(golden.outputs.dtype)
    decides = None if golden.source.plain else whole
    return Rerun(batch=batch, rows=rows, answers=golden.counting(answers, rows), whole=decides)
