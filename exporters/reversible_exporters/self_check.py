"""Does the ONNX file compute what the original computes?

Asked beside the original, in the converter's own process, with sizes that the conversion never saw. What is held
against the answer is no tolerance but the error that float32 itself leaves open on the same input. The destination
looks again, alone.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from reversible.equivalence.floor import RUNS, noise_floor, rms_error, ulp
from reversible.equivalence.ratio import LARGEST, MEDIAN, Ratios, error_ratio
from reversible.equivalence.runtime import first_line
from reversible.errors import EvaluatorError, SourceError
from reversible.evaluator import Evaluator
from reversible_exporters import onnx_file
from reversible_exporters.probes import Array, Feeds, Probe

_STRAY = 100.0  # legitimate float32 implementations of one model differ by 11 (research/models.md, section 3.1)


class Original(Protocol):
    """A model in its own framework. Every method takes feeds by name and gives the outputs in their order."""

    def answer(self, feeds: Feeds) -> Sequence[Array]:
        """As its owner gets it, in float32."""
        ...

    def otherwise(self, feeds: Feeds) -> Sequence[Array]:
        """In float32 by other kernels, threads or batches: as legitimate."""
        ...

    def exact(self, feeds: Feeds) -> Sequence[Array]:
        """In float64."""
        ...

    def perturbed(self, feeds: Feeds, seed: int) -> Sequence[Array]:
        """In float64, with roundings drawn at random (`reversible.equivalence.floor.Roundings`)."""
        ...

    def counts(self, feeds: Feeds, output: int, shape: Sequence[int]) -> NDArray[np.bool_] | None:
        """Which positions of an output mean something; None: all."""
        ...


def compare(target: Path, original: Original, probes: Iterable[Probe], *, runs: int = RUNS) -> dict[str, Any]:
    """Ask the file what the original was asked.

    Twice: in float64 by our own engine, where rounding vanishes and a difference of meaning stands alone, and in
    float32 by onnxruntime, whose own kernels' error (its sigmoid is a polynomial) then belongs to the floor. A graph
    that our engine does not cover is asked in float32 alone, and the answer says so.

    Args:
        target: The ONNX file; it takes the probes' feeds by name and gives the original's outputs in their order.
        original: The model that it was made of.
        probes: Inputs; the traced sizes first.
        runs: Of Monte-Carlo arithmetic for the first probe, and for each where our engine does not cover the graph.

    Returns:
        How many inputs of which sizes were asked, R in the median and at most (see `reversible.equivalence.ratio`),
        and the largest difference.

    Raises:
        SourceError: the file is not valid, does not load, refuses a size or answers something else; the message
            names the dimension.
    """
    port = _Port(target)
    seen = _Seen()
    for probe in probes:
        answers, exactly = port.ask(probe)
        expected = original.answer(probe.feeds)
        _same_form(probe, answers, expected)
        exact = original.exact(probe.feeds)
        evaluations = [expected, original.otherwise(probe.feeds), original.answer(probe.feeds)]
        # Where our engine answers, meaning is judged without rounding, and a rough floor will do from the second on.
        fewer = exactly is not None and seen.any
        perturbed = [original.perturbed(probe.feeds, seed) for seed in range(1 if fewer else runs)]
        for place, answer in enumerate(answers):
            mask = original.counts(probe.feeds, place, answer.shape)
            if answer.dtype.kind != "f":
                _same(probe, answer, expected[place], mask)
                continue
            rows = len(answer) if answer.ndim > 1 and answer.shape[0] in probe.sizes.values() else 1
            reference, counts = _rows(exact[place], rows), None if mask is None else _rows(mask, rows)
            plain = [_rows(one[place], rows) for one in evaluations]
            random = [_rows(one[place], rows) for one in perturbed]
            _trust(probe, plain, random, reference, counts)
            floor = noise_floor(reference, plain, random, mask=counts)
            if exactly is not None:
                lifted = _rows(exactly[place], rows)
                seen.meaning(probe, error_ratio(lifted, reference, floor, mask=counts))
                floor = np.maximum(floor, rms_error(_rows(port.unoptimised(probe)[place], rows), lifted, counts))
            seen.answers(probe, error_ratio(_rows(answer, rows), reference, floor, mask=counts))
            off = np.abs(answer.astype(np.float64) - expected[place])
            seen.off(off if mask is None else np.where(mask, off, 0.0))
        seen.count(probe)
    seen.refuse()
    return {**seen.document(), "second_engine": port.uncovered or "covered"}


class _Port:
    """The file in onnxruntime and, where it covers it, in our own float64 engine."""

    def __init__(self, target: Path) -> None:
        self._session = onnx_file.opened(target)
        self._slow = onnx_file.opened(target, optimised=False)
        self._takes = {one.name for one in self._session.get_inputs()}
        self._last: tuple[Probe, list[Array]] | None = None
        self.uncovered = ""
        self._exact: Evaluator | None = None
        try:
            self._exact = Evaluator(target)
        except EvaluatorError as error:
            self.uncovered = error.message

    def ask(self, probe: Probe) -> tuple[list[Array], list[Any] | None]:
        """The answers in float32, and in float64 or None."""
        feeds = {name: value for name, value in probe.feeds.items() if name in self._takes}
        try:
            answers = self._session.run(None, feeds)
        except Exception as error:  # onnxruntime's own exceptions derive from Exception alone
            raise SourceError(f"the converted model refuses {_where(probe)}: {first_line(error)}") from error
        if self._exact is None:
            return answers, None
        try:
            found = self._exact.run(feeds)
        except EvaluatorError as error:
            self.uncovered, self._exact = error.message, None
            return answers, None
        return answers, [found[one.name] for one in self._exact.outputs]

    def unoptimised(self, probe: Probe) -> list[Array]:
        """The answers in float32 of the graph as it is written."""
        if self._last is None or self._last[0] is not probe:
            feeds = {name: value for name, value in probe.feeds.items() if name in self._takes}
            self._last = (probe, self._slow.run(None, feeds))
        return self._last[1]


class _Seen:
    """What all probes say together."""

    def __init__(self) -> None:
        self._ratios: dict[str, list[tuple[Probe, Ratios]]] = {"meaning": [], "answers": []}
        self._shapes: dict[str, None] = {}
        self._inputs, self._worst = 0, 0.0

    @property
    def any(self) -> bool:
        return bool(self._shapes)

    def meaning(self, probe: Probe, ratio: Ratios) -> None:
        self._ratios["meaning"].append((probe, ratio))

    def answers(self, probe: Probe, ratio: Ratios) -> None:
        self._ratios["answers"].append((probe, ratio))

    def off(self, difference: NDArray[np.float64]) -> None:
        self._worst = max(self._worst, float(np.nan_to_num(difference).max(initial=0.0)))

    def count(self, probe: Probe) -> None:
        self._shapes[probe.words] = None
        first = next(iter(probe.feeds.values()))
        self._inputs += len(first) if first.ndim else 1

    def refuse(self) -> None:
        """Raise where a limit is passed; name the dimension when only its other sizes fail."""
        for kind, found in self._ratios.items():
            joined = _joined(found)
            if joined is None or joined.within():
                continue
            off = [probe for probe, ratio in found if not ratio.largest <= LARGEST]
            traced = not off or any(not probe.varied for probe in off)
            where = "" if traced else " " + _where(min(off, key=lambda one: len(one.varied)))
            how = "computes something else" if kind == "meaning" else "answers otherwise"
            raise SourceError(
                f"the converted model {how}{where}: off by {joined.median:.3g} times (median) and {joined.largest:.3g}"
                f" times (at most) what float32 leaves open; the limits are {MEDIAN:g} and {LARGEST:g}"
            )

    def document(self) -> dict[str, Any]:
        meaning, answers = (_joined(self._ratios[kind]) for kind in ("meaning", "answers"))
        return {
            "inputs": self._inputs,
            "shapes": list(self._shapes),
            "ratio_median": answers and answers.median,
            "ratio_max": answers and answers.largest,
            "float64_ratio_median": meaning and meaning.median,
            "float64_ratio_max": meaning and meaning.largest,
            "ratio_limits": [MEDIAN, LARGEST],
            "max_abs_diff": self._worst,
            "reference": "the original in float64",
        }


def _joined(found: Sequence[tuple[Probe, Ratios]]) -> Ratios | None:
    return Ratios(np.concatenate([ratio.values for _, ratio in found])) if found else None


def _trust(
    probe: Probe, plain: Sequence[Any], random: Sequence[Any], reference: Any, counts: NDArray[np.bool_] | None
) -> None:
    """The original must repeat itself, and its float64 must be the same function: else the floor hides everything."""
    again = error_ratio(plain[-1], np.asarray(plain[0], np.float64), ulp(plain[0], counts), mask=counts)
    if again.decided and again.largest > LARGEST:  # in units of the last bit: randomness would widen every other floor
        raise SourceError(f"the original gives different answers to the same question, on {_where(probe)}")
    rounding = noise_floor(reference, [], random, mask=counts)
    for one in plain:
        own = error_ratio(one, reference, rounding, mask=counts)
        if own.largest > _STRAY:
            raise SourceError(
                f"the original cannot be judged: its answer is {own.largest:.3g} times further from its own in float64"
                f" than the rounding of float32 explains, on {_where(probe)}"
            )


def _same_form(probe: Probe, answers: Sequence[Array], expected: Sequence[Array]) -> None:
    if len(answers) != len(expected):
        raise SourceError(f"the converted model gives {len(answers)} outputs, the original {len(expected)}")
    for answer, original in zip(answers, expected, strict=True):
        if answer.shape != original.shape:
            raise SourceError(
                f"the converted model answers {answer.shape} to {_where(probe)}, the original {original.shape}"
            )


def _same(probe: Probe, answer: Array, expected: Array, mask: NDArray[np.bool_] | None) -> None:
    off = answer != expected
    wrong = int(np.count_nonzero(off if mask is None else off & mask))
    if wrong:
        raise SourceError(
            f"the converted model answers {wrong} of {answer.size} whole numbers otherwise, {_where(probe)}"
        )


def _where(probe: Probe) -> str:
    if not probe.varied:
        return "inputs of the traced sizes"
    return "where " + " and ".join(f"{name} is {probe.sizes[name]}" for name in probe.varied) + ", never traced"


def _rows(array: Any, rows: int) -> Any:
    return np.asarray(array).reshape(rows, -1)
