"""Did every row arrive, once?"""

from collections.abc import Iterator

from reversible.assets import Asset, Kind
from reversible.bundle.reader import Bundle
from reversible.findings import Finding
from reversible_verifiers import samples, table_files
from reversible_verifiers.samples import Compared

_PLACES = 20
_SUSPECTS = 200


class Rows:
    """Reconciles the rows in the Parquet files with the witness: by count, and bucket by bucket.

    The buckets see a dropped row beside a doubled one, which leave the count as it was. The witness's sketch names
    the rows, a dropped one too, whose key it keeps. In a table without a primary key a changed row counts as one
    missing and one extra. Of a table that was sampled the count is exact; a dropped row beside a doubled one shows only
    when the sample holds it.
    """

    metrics = frozenset({"data.rows_missing", "data.rows_extra"})
    kinds = frozenset({Kind.TABLE})

    def verify(self, asset: Asset, bundle: Bundle) -> Iterator[Finding]:
        """Two findings per table."""
        drawn = samples.of(asset, bundle)
        if drawn is not None:
            yield from _of_sample(asset, bundle, drawn)
            return
        source, copy, found = table_files.compared(asset, bundle)
        files = tuple(bundle.relative(part) for part in table_files.parts(asset, bundle))
        facts = {"expected": source.rows, "observed": copy.rows}
        located = table_files.located(asset, bundle)
        missing = max(found.missing, source.rows - copy.rows, located.rows[0])
        extra = max(found.extra, copy.rows - source.rows, located.rows[1])
        lost, gained = list(map(str, located.missing)), list(map(str, located.extra))
        if extra and not gained:
            named = table_files.suspects(asset, bundle, source.plan, found.surplus, most=_SUSPECTS)
            gained = [f"{asset.name} [{' | '.join(rows[:4])}]" for rows in named.values()]
        yield Finding(
            "data.rows_missing", asset.id, missing, unit="count", files=files, facts={**facts, "n": missing},
            seen="the source counted {expected} rows, the bundle holds {observed}; group by group, {n} are missing",
            places=tuple(lost[:_PLACES]) or ((asset.name,) if missing else ()),
        )  # fmt: skip
        yield Finding(
            "data.rows_extra", asset.id, extra, unit="count", files=files, facts={**facts, "n": extra},
            seen="the source counted {expected} rows, the bundle holds {observed}; group by group, {n} are extra",
            places=tuple(gained[:_PLACES]) or ((asset.name,) if extra else ()),
        )  # fmt: skip


def _of_sample(asset: Asset, bundle: Bundle, drawn: Compared) -> Iterator[Finding]:
    facts = {**drawn.facts, "expected": drawn.sample.population, "observed": drawn.rows}
    files = tuple(bundle.relative(part) for part in table_files.parts(asset, bundle))
    lost, gained = (tuple(map(str, rows)) for rows in (drawn.located.missing, drawn.located.extra))
    for metric, rows, places in (("data.rows_missing", drawn.missing, lost), ("data.rows_extra", drawn.extra, gained)):
        yield Finding(
            metric, asset.id, rows, unit="count", files=files, facts=facts, coverage=drawn.sample.share,
            seen="the source counted {expected} rows, the bundle holds {observed}; of {size} rows drawn with a declared"
            " seed, {misses} differ",
            places=places[:_PLACES] or ((asset.name,) if rows else ()),
        )  # fmt: skip
