"""How far was it shown?"""

from enum import Enum
from functools import total_ordering
from typing import Self


@total_ordering
class ProofLevel(Enum):
    """The ladder of the catalogue's `proof_levels`. A run has exactly one; a clause says which one it needs."""

    N0 = 0  # declared
    N1 = 1  # read
    N2 = 2  # extracted
    N3 = 3  # restored and re-run with no route to the source
    N4 = 4  # re-run at an independent, identified EU provider
    N5 = 5  # rehearsed inside the contractual clock, source cut, observed

    @classmethod
    def of(cls, name: str) -> Self:
        """The level called `name`, "N3".

        Raises:
            ValueError: there is no such level.
        """
        if name not in cls.__members__:
            raise ValueError(f"{name!r} is not a proof level; known: {', '.join(cls.__members__)}")
        return cls[name]

    def __lt__(self, other: object) -> bool:
        return self.value < other.value if isinstance(other, ProofLevel) else NotImplemented

    def __str__(self) -> str:
        return self.name
