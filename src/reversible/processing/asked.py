"""What is the graph given for the inputs of a golden set?"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reversible.golden import Column
from reversible.processing.raw import Processing

Rows = NDArray[np.int64]
Feeds = dict[str, NDArray[Any]]


class Asked:
    """The inputs of a golden set, as they were asked and as the graph takes them.

    Args:
        columns: The values of each row.
        processing: What makes tensors of them.
    """

    def __init__(self, columns: Sequence[Column], processing: Processing) -> None:
        self.columns = tuple(columns)
        self._processing = processing
        self._whole: Feeds | None = None

    @property
    def count(self) -> int:
        return len(self.columns[0].values)

    @property
    def first_of_equals(self) -> NDArray[np.bool_]:
        """Asking one input twice proves nothing more: only the first of equal rows counts."""
        seen: set[tuple[bytes, ...]] = set()
        first = np.zeros(self.count, dtype=bool)
        for row in range(self.count):
            key = tuple(one.content(row) for one in self.columns)
            first[row] = key not in seen
            seen.add(key)
        return first

    def feeds(self, rows: Rows) -> Feeds:
        """What the graph is given for these rows, in one batch.

        Raises:
            BundleError: they never were one batch, or a value cannot be what the graph takes.
        """
        if not self._uniform:
            return self._made(rows)
        if self._whole is None:
            self._whole = self._made(np.arange(self.count))
        return {name: value[rows] for name, value in self._whole.items()}

    def groups(self, rows: Rows) -> Iterator[tuple[Rows, Feeds]]:
        """The same, row by row and nothing filled, in groups of tensors of one size: the smallest first."""
        if self._uniform:
            yield rows, self.feeds(rows)
            return
        made: dict[tuple[tuple[int, ...], ...], list[tuple[int, Feeds]]] = {}
        for row in rows.tolist():
            alone = self._made(np.array([row]))
            made.setdefault(tuple(value.shape for value in alone.values()), []).append((row, alone))
        for shapes in sorted(made):
            members = made[shapes]
            names = list(members[0][1])
            joined = {name: np.concatenate([alone[name] for _, alone in members]) for name in names}
            yield np.array([row for row, _ in members]), joined

    @property
    def _uniform(self) -> bool:
        """Whether a row becomes the same whatever its batch."""
        return self._processing.alone and not any(one.is_ragged or one.field.is_bytes for one in self.columns)

    def _made(self, rows: Rows) -> Feeds:
        return self._processing.feeds({one.field.name: one.take(rows) for one in self.columns})
