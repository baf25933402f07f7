"""Did every row arrive, once?"""

from collections.abc import Iterator

from reversible.assets import Asset, Kind
from reversible.bundle.reader import Bundle
from reversible.findings import Finding
from reversible_verifiers import table_files

_PLACES = 20
_SUSPECTS = 200


class Rows:
    """Reconciles the rows in the Parquet files with the witness: by count, and bucket by bucket.

    The buckets see a dropped row beside a duplicated one, which leave the count as it was. In a table without a
    primary key a changed row counts as one missing and one extra.
    """

    metrics = frozenset({"data.rows_missing", "data.rows_extra"})
    kinds = frozenset({Kind.TABLE})

    def verify(self, asset: Asset, bundle: Bundle) -> Iterator[Finding]:
        """Two findings per table."""
        source, copy, found = table_files.compared(asset, bundle)
        files = tuple(bundle.relative(part) for part in table_files.parts(asset, bundle))
        facts = {"expected": source.rows, "observed": copy.rows}
        missing = max(found.missing, source.rows - copy.rows)
        yield Finding(
            "data.rows_missing", asset.id, missing, unit="count", files=files, facts={**facts, "n": missing},
            seen="the source counted {expected} rows, the bundle holds {observed}; group by group, {n} are missing",
            places=(asset.name,) if missing else (),
        )  # fmt: skip
        extra = max(found.extra, copy.rows - source.rows)
        places: tuple[str, ...] = ()
        if extra:
            named = table_files.suspects(asset, bundle, source.plan, found.surplus, most=_SUSPECTS)
            places = tuple(f"{asset.name} [{' | '.join(rows[:4])}]" for rows in list(named.values())[:_PLACES])
        yield Finding(
            "data.rows_extra", asset.id, extra, unit="count", files=files, facts={**facts, "n": extra},
            seen="the source counted {expected} rows, the bundle holds {observed}; group by group, {n} are extra",
            places=places or ((asset.name,) if extra else ()),
        )  # fmt: skip
