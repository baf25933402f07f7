"""Which loops of the fingerprint are compiled, and who has them?"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from reversible.machine_code import Kernels, Loop

# The forms in which a column comes: addresses of low words, high words, flags of NULLs; of pairs of words and flags;
# of 32-bit integers, nothing, and flags; of cells in lanes 0 and 1, and an index of 64 or 32 bits.
WORDS, PAIRS, INTS, CELLS, CELLS32 = 0, 1, 2, 3, 4
FIELDS = 12  # of a column: form, of the key or not, three addresses, four seeds; where the key's words go, lie, count
SCRATCH = 8  # words for each row at work, beside its image
SHORT = 128  # bytes: `xxh3_128` leaves longer values out

_SOURCES = ("compiled", "kernels", "kernels_memory", "kernels_xxh3", "mixing", "sketch")


@dataclass(frozen=True)
class Loops:
    """The loops of `kernels.py`: they take whole numbers of 64 bits, mostly addresses, and give one back."""

    add: Loop
    xxh3_128: Loop


_KERNELS = Kernels(
    "reversible.fingerprint.kernels",
    tuple(Loops.__dataclass_fields__),
    [Path(__file__).with_name(f"{name}.py") for name in _SOURCES],
)


@lru_cache(maxsize=1)
def loops() -> Loops | None:
    """The compiled loops, compiled now if need be; None without numba or without a safe folder for the machine code."""
    found = _KERNELS.loops()
    return None if found is None else Loops(**found)


def needed() -> Loops:
    """The compiled loops.

    Raises:
        ModuleNotFoundError: there is no numba, or no safe place for its machine code.
    """
    found = loops()
    if found is None:
        raise ModuleNotFoundError("numba is not installed (extra `fast`), or has no folder that only we may write")
    return found


def loaded() -> Loops | None:
    """The same, if somebody has found them worth loading already."""
    return loops() if loops.cache_info().currsize else None


def ready() -> bool:
    """Whether `loops` would not have to compile anything."""
    return _KERNELS.ready
