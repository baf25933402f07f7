"""Are the values of a restored table those that the witness saw: all of them, or the rows of its sample?"""

from collections.abc import Iterator, Mapping, Sequence

from reversible import fingerprint
from reversible.assets import Asset
from reversible.errors import BundleError, UsageError
from reversible.fingerprint import Cells, TableFingerprint
from reversible.fingerprint.sample import Matching, Sample
from reversible.interfaces import Restored, Witness


class NotEmptyError(UsageError):
    """The target of a restore holds something."""


_NAMED = 3  # columns that one line names


class RestoredValues:
    """Takes the restored rows, batch by batch, and answers for them.

    Args:
        witness: What the source said. Where it is a sample, its rows are looked for: one that is not there is a
            difference, but all of them are no proof.

    Raises:
        BundleError: the witness holds neither a fingerprint nor a sample, or both.
    """

    def __init__(self, witness: Witness) -> None:
        self._told: TableFingerprint | None = None
        self._drawn: Matching | None = None
        try:
            if ("sample" in witness.facts) == ("fingerprint" in witness.facts):
                raise ValueError("it holds not exactly one of a fingerprint and a sample")
            if "sample" in witness.facts:
                sample = Sample.from_stored(witness.facts["sample"], witness.tables["sample"])
                self._drawn, self.plan = Matching(sample), sample.plan
            else:
                self._told = TableFingerprint.from_stored(witness.facts["fingerprint"], witness.tables)
                self.plan = self._told.plan
        except (KeyError, ValueError) as error:
            raise BundleError(f"the witness's fingerprint cannot be read: {error}") from error
        self._sums = fingerprint.Accumulator(self.plan)

    def refused(self, asset: Asset, families: Mapping[str, str]) -> Restored | None:
        """An answer before any row is read: the columns here, with their families, are not those of the source."""
        other = [one.name for one in self.plan.columns if families.get(one.name) != one.family]
        if not other and len(families) == len(self.plan.columns):
            return None
        seen = f"columns or their types differ: {', '.join(other[:_NAMED]) or 'more columns here'}"
        return Restored(step="values", subject=asset.name, ok=False, seen=seen)

    def add(self, cells: Mapping[str, Cells], rows: int) -> None:
        """Some rows of the restored table."""
        if self._drawn is not None:
            self._drawn.add(cells, rows)
        else:
            self._sums.add(cells, rows)

    def answer(self, asset: Asset) -> Restored:
        """False where something differs, None where only a sample was found again."""
        if self._drawn is not None:
            return _of_sample(asset, self._drawn)
        assert self._told is not None  # noqa: S101 - it is one of the two
        here = self._sums.result()
        apart = fingerprint.compare(self._told, here)
        named = ", ".join(apart.columns_overall[:_NAMED]) or "rows"
        counts = f"{apart.missing:,} rows missing, {apart.extra:,} extra, {apart.cells:,} cells"
        seen = "" if apart.none else f"{named} differ: at least {counts}"
        return Restored(step="values", subject=asset.name, ok=apart.none, rows=here.rows, seen=seen)


def _of_sample(asset: Asset, looked: Matching) -> Restored:
    drawn, lost, doubled = looked.sample, len(looked.missing()), len(looked.doubled())
    seen = f"{drawn.size:,} of {drawn.population:,} rows drawn at the source"
    if lost or doubled:
        seen += f": {lost:,} are not here, {doubled:,} stand here twice"
        return Restored(step="values", subject=asset.name, ok=False, rows=looked.rows, seen=seen)
    seen += ", all here; the other rows were never compared"
    return Restored(step="values", subject=asset.name, ok=None, rows=looked.rows, seen=seen)


def complete(where: str, steps: Sequence[Restored]) -> Iterator[Restored]:
    """What to say of a target that is not empty: nothing, unless all comparisons say that the bundle is restored there.

    So does one whose restore was interrupted after its last step, or that the same command was typed for again.
    """
    totals = [one.ok for one in steps if one.step == "totals"]
    if totals and all(totals) and not any(one.ok is False for one in steps):
        seen = "it holds this bundle already: nothing was put back, all was compared"
        yield Restored(step="resume", subject=where, seen=seen)
        yield from (one for one in steps if one.step in ("totals", "values"))
