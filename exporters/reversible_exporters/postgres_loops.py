"""Which loops over COPY's messages are compiled, when are they worth their start, and what do their numbers mean?"""

import ctypes
import sys
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from reversible.fingerprint import compiled, mixing
from reversible.machine_code import Kernels, Loop

# What `receive` keeps, one int64 each: the message that waits for room, its length; how many came, and their bytes.
POINTER, LENGTH, CAME, SIZE = 0, 1, 2, 3
WAIT, FULL, FAILED = 0, 1, -3  # what it gives, besides libpq's -1 (no more) and -2 (an error)
NULL, VALUE, ODD = 0, 1, 2  # flags of a field; ODD: the loop does not know it
# How `columns` reads a column, one int64 each: the kind; where values and flags go; how many are NULL or odd, or -1
# when it could not; then what the kind needs: least and most; scale and most; nothing; 1 with a zone; where offsets and
# the bits of all bytes go; table, entries and sizes of the dictionary.
KIND, OUT, FLAGS, RESULT, MORE = 0, 1, 2, 3, 4
PROGRAM = 7
NOTHING, INTEGERS, DECIMALS, DATES, TIMESTAMPS, TEXTS, CODES = range(7)
MOST_ENTRIES, ENTRY, SLOTS = 255, 64, 1024  # of a dictionary: entries, bytes of one, places in its table

_WORTH_COMPILING = 512 << 20  # bytes of a table: what the loops save on it is what compiling them takes, some seconds
_WORTH_LOADING = 16 << 20  # that loading takes, a tenth of a second

_SOURCES = ("loops", "kernels", "kernels_memory", "kernels_texts", "kernels_values")
_KERNELS = Kernels(
    "reversible_exporters.postgres_kernels",
    ("receive", "split", "columns"),
    [
        *(Path(__file__).with_name(f"postgres_{name}.py") for name in _SOURCES),
        *(Path(str(one.__file__)) for one in (compiled, mixing)),
        Path(str(compiled.__file__)).with_name("kernels_memory.py"),
    ],
)


def loops(size_bytes: int) -> Mapping[str, Loop] | None:
    """The loops, where they pay for a table of so many bytes; compiled now if need be."""
    if size_bytes < _WORTH_LOADING:
        return None
    worth = size_bytes >= _WORTH_COMPILING or _KERNELS.loaded() is not None or _KERNELS.ready
    return _KERNELS.loops() if worth else None


@lru_cache(maxsize=1)
def libpq(module: str) -> tuple[int, int, int] | None:
    """The addresses of PQgetCopyData, PQconsumeInput and PQfreemem in the libpq that the driver has loaded.

    Found through the driver's own extension module, since a process may hold several libpq; None where it has none.
    """
    try:
        library = ctypes.CDLL(str(sys.modules[module].__file__))
        found = [getattr(library, name) for name in ("PQgetCopyData", "PQconsumeInput", "PQfreemem")]
    except (OSError, AttributeError):  # psycopg's pure Python form, or a libpq that hides its names
        return None
    get, consume, release = (int(ctypes.cast(one, ctypes.c_void_p).value or 0) for one in found)
    return get, consume, release
