"""Which rung does the model reach, in words?"""

import math
import sys
from collections.abc import Iterator

from reversible.assets import Asset
from reversible.equivalence.ladder import Rung
from reversible.findings import Finding
from reversible_verifiers.error_ratio import Measured
from reversible_verifiers.golden_answers import Golden

INFINITE = sys.float_info.max  # JSON has no infinity; the sentence beside it says what is meant
UNITS = {"model.error_ratio_median": "ratio", "model.error_ratio_max": "ratio", "model.equivalence": "rung"}

# Never a rung without how many inputs, of which population, with which bound, and the digest of the inputs.
_RUNGS = {
    Rung.BIT_IDENTICAL: "{output} is bit-identical; {inputs} distinct inputs of the golden set {digest} show that "
    "decisions differ in at most {percent} % of its population",
    Rung.NUMERICAL: "{output} is numerically equivalent; {inputs} distinct inputs of the golden set {digest} show that "
    "decisions differ in at most {percent} % of its population",
    Rung.DECISION: "{output} is decision-equivalent alone; {inputs} distinct inputs of the golden set {digest} show "
    "that decisions differ in at most {percent} % of its population",
    Rung.FAILED: "{output} is not equivalent; {inputs} distinct inputs of the golden set {digest} show that "
    "decisions differ in at most {percent} % of its population",
    Rung.UNDETERMINED: "nothing can be said of {output}, by {inputs} distinct inputs of the golden set {digest}: "
    "{error}",
}
# Of a model that makes no classes: its numbers are what must be the same.
_NUMBERS = {
    Rung.BIT_IDENTICAL: "{output} is bit-identical; {inputs} distinct inputs of the golden set {digest} show that "
    "numbers differ in at most {percent} % of its population",
    Rung.NUMERICAL: "{output} is numerically equivalent; {inputs} distinct inputs of the golden set {digest} show that "
    "numbers differ by more than may be in at most {percent} % of its population",
    Rung.DECISION: "{output} is within the declared tolerance alone; {inputs} distinct inputs of the golden set "
    "{digest} show that numbers differ by more in at most {percent} % of its population",
    Rung.FAILED: "{output} is not equivalent; {inputs} distinct inputs of the golden set {digest} show that numbers "
    "differ by more than may be in at most {percent} % of its population",
    Rung.UNDETERMINED: _RUNGS[Rung.UNDETERMINED],
}
_SOURCES = {
    "original": "{rows} of {total} inputs against the original in float64, as stored when it left",
    "port": "{rows} of {total} inputs against the file itself in float64, by a second engine",
    "refused": "the file refuses inputs that the endpoint answered",
    "none": "all {total} answers are the recorded ones, bit for bit: no reference is needed",
}


def findings(
    asset: Asset, golden: Golden, measured: Measured, files: tuple[str, ...], *, rule: str
) -> Iterator[Finding]:
    """The two numbers that decide N, without a value and with the reason where nothing can be said; and the rung."""
    standing, ratios = measured.standing, measured.standing.seen.ratios
    places = _places(golden, measured)
    values: dict[str, float | None] = {"model.error_ratio_median": None, "model.error_ratio_max": None}
    if standing.rung is not Rung.UNDETERMINED and ratios is not None:
        values = {"model.error_ratio_median": ratios.median, "model.error_ratio_max": ratios.largest}
    for metric, value in values.items():
        if value is None:
            yield Finding(
                metric, asset.id, None, unit=UNITS[metric], error=standing.reason or standing.seen.why, files=files
            )
            continue
        yield Finding(
            metric,
            asset.id,
            value if math.isfinite(value) else INFINITE,
            unit=UNITS[metric],
            seen=_SOURCES[measured.source],
            facts={"rows": measured.rows, "total": golden.count},
            places=places if metric == "model.error_ratio_max" else (),
            files=files,
            coverage=measured.coverage,
        )
    seen = standing.seen
    yield Finding(
        "model.equivalence",
        asset.id,
        str(standing.rung),
        unit=UNITS["model.equivalence"],
        seen=(_RUNGS if golden.classifies(rule) else _NUMBERS)[standing.rung],
        facts={
            "output": seen.output, "inputs": seen.n, "digest": seen.inputs_sha256[:16],
            "percent": 100 * standing.flip_bound, "error": standing.reason,
        },
        places=places,
        files=files,
        coverage=measured.coverage,
    )  # fmt: skip


def order(measured: Measured) -> tuple[int, float]:
    """Sorts the worst first: by the rung, then by how far off."""
    ratios = measured.standing.seen.ratios
    return "FUDNB".index(str(measured.standing.rung)), -(ratios.largest if ratios is not None else 0.0)


def _places(golden: Golden, measured: Measured) -> tuple[str, ...]:
    """The first operator that diverges, then the worst inputs."""
    if not measured.place:
        return ()
    return (measured.place, *(f"input {row} ({golden.origins[row]})" for row in measured.worst))
