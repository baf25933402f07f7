"""What does a sample of a table's rows say of its files?

The witness holds a sample where the plan says so (`sample_above_rows`): then nothing is known of the other rows but
how many they are and what the source's engine says of their columns. So every finding here covers a share below 1.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from reversible.assets import Asset
from reversible.bundle.reader import Bundle
from reversible.comparison import one_sided
from reversible.comparison.one_sided import Located
from reversible.comparison.sampling import hypergeometric_bound
from reversible.comparison.tables import Table
from reversible.errors import BundleError
from reversible.findings import Scalar
from reversible.fingerprint.sample import Matching, Sample
from reversible_verifiers import table_files
from reversible_verifiers.table_files import Files, Totals


@dataclass(frozen=True)
class Compared:
    """A sample held against the files.

    Attributes:
        sample: The rows that were drawn at the source.
        rows: The rows of the files.
        misses: How many rows of the sample the files lack.
        changed: How many of these are there with other values.
        doubled: How many rows of the files only double one of the sample.
        located: Where.
        totals: The files' own.
    """

    sample: Sample
    rows: int
    misses: int
    changed: int
    doubled: int
    located: Located
    totals: Totals

    @property
    def missing(self) -> int:
        """At least so many rows are missing: by the count, or among the sample's."""
        return max(0, self.sample.population - self.rows + self.doubled, self.misses - self.changed)

    @property
    def extra(self) -> int:
        """At least so many rows are extra: what the count allows beside those that are missing."""
        return self.rows - self.sample.population + self.missing

    @property
    def bound(self) -> float:
        """With 95 % confidence, no larger share of the source's rows is missing or changed; 1 without a sample.

        What the count alone shows to be missing is certain.
        """
        drawn = hypergeometric_bound(self.misses, self.sample.size, self.sample.population)
        return max(drawn, self.missing / self.sample.population)

    @property
    def facts(self) -> dict[str, Scalar]:
        """What a finding's sentence needs, and whoever draws the sample again."""
        return {
            "sampled": True, "size": self.sample.size, "population": self.sample.population, "misses": self.misses,
            "rate": self.sample.rate, "seed": self.sample.seed,
        }  # fmt: skip


def of(asset: Asset, bundle: Bundle) -> Compared | None:
    """The sample that the witness holds instead of a fingerprint, held against the files; None where it holds none.

    Raises:
        BundleError: the sample or a part cannot be read, or the witness holds a fingerprint beside it.
    """
    facts = bundle.witness(asset).facts
    if "sample" not in facts:
        return None
    if "fingerprint" in facts:
        raise BundleError(f"{asset.id}: the witness holds a sample and a fingerprint: one of them is not the source's")
    table_files.parts(asset, bundle)
    witness = sorted((bundle.root / "data/witness" / asset.slug).iterdir())
    return _compared(bundle.root, asset, table_files.stamped([*bundle.parts(asset), *witness]))


@lru_cache(maxsize=4)  # two verifiers ask in a row; the files in the key notice a change
def _compared(root: Path, asset: Asset, state: Files) -> Compared:
    bundle = Bundle.open(root)
    sample = _stored(asset, bundle)
    matching, totals = Matching(sample), Totals(sample.plan)
    for part in table_files.parts(asset, bundle):
        for cells, rows in table_files.batches(part, sample.plan):
            matching.add(cells, rows)
            totals.add(cells)
    table = Table(
        asset.name, tuple(table_files.parts(asset, bundle)), sample.plan.columns, {}, matching.rows, sample.plan.key
    )
    located, changed = one_sided.locate_drawn(matching, table)
    misses, doubled = len(matching.missing()), sum(matching.doubled().values())
    return Compared(sample, matching.rows, misses, changed, doubled, located, totals)


def _stored(asset: Asset, bundle: Bundle) -> Sample:
    witness = bundle.witness(asset)
    try:
        found = Sample.from_stored(witness.facts["sample"], witness.tables["sample"])
    except (KeyError, ValueError) as error:
        raise BundleError(f"{asset.id}: the witness's sample cannot be read: {error}") from error
    counted = witness.facts.get("rows")
    if counted != found.population:
        raise BundleError(f"{asset.id}: the witness counts {counted} rows, its sample {found.population}")
    return found
