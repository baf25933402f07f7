"""Do two sets of rows, read by two programs in two orders, hold the same values? See docs/fingerprint.md."""

from reversible.fingerprint.sums import (
    MAX_BUCKETS,
    VERSION,
    Cells,
    Column,
    Differences,
    Plan,
    TableFingerprint,
    bucket_of_rows,
    buckets_for,
    compare,
    family,
    fingerprint,
    mix,
    row_hashes,
    seed,
    words,
)

__all__ = [
    "MAX_BUCKETS",
    "VERSION",
    "Cells",
    "Column",
    "Differences",
    "Plan",
    "TableFingerprint",
    "bucket_of_rows",
    "buckets_for",
    "compare",
    "family",
    "fingerprint",
    "mix",
    "row_hashes",
    "seed",
    "words",
]
