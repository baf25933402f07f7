"""Do two sets of rows, read by two programs in two orders, hold the same values? See docs/fingerprint.md."""

from reversible.fingerprint.accumulator import Accumulator, bucket_of_rows, cell_hashes, fingerprint, row_hashes
from reversible.fingerprint.differences import Differences, compare
from reversible.fingerprint.families import arrow_type, family
from reversible.fingerprint.mixing import VERSION, mix, seed
from reversible.fingerprint.plan import MAX_BUCKETS, SKETCH_CELLS, Cells, Column, Plan, buckets_for
from reversible.fingerprint.sketch import Decoded, Image, Sketch
from reversible.fingerprint.sums import TableFingerprint
from reversible.fingerprint.words import words

__all__ = [
    "MAX_BUCKETS",
    "SKETCH_CELLS",
    "VERSION",
    "Accumulator",
    "Cells",
    "Column",
    "Decoded",
    "Differences",
    "Image",
    "Plan",
    "Sketch",
    "TableFingerprint",
    "arrow_type",
    "bucket_of_rows",
    "buckets_for",
    "cell_hashes",
    "compare",
    "family",
    "fingerprint",
    "mix",
    "row_hashes",
    "seed",
    "words",
]
