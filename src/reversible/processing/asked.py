"""What is the graph given for the inputs of a golden set?"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reversible.golden import Column
from reversible.processing.raw import Processing

Rows = NDArray[np.int64]
Feeds = dict[str, NDArray[Any]]
_MOST = 64  # rows of a group in memory


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

    @property
    def uniform(self) -> bool:
        """Whether a row becomes the same whatever its batch, and all of them at once fit into memory."""
        return self._processing.alone and not any(one.is_ragged or one.field.is_bytes for one in self.columns)

    def words(self, name: str) -> str:
        """Where an input of the graph comes from, in words."""
        return self._processing.steps[name]

    def processed(self, name: str) -> bool:
        """Whether an input of the graph is made of texts or images, and not taken as it is."""
        return self._processing.steps[name].partition(":")[0].endswith(".json")

    def feeds(self, rows: Rows) -> Feeds:
        """What the graph is given for these rows, in one batch.

        Raises:
            BundleError: they never were one batch, or a value cannot be what the graph takes.
        """
        if not self.uniform:
            return self.of({one.field.name: one.take(rows) for one in self.columns})
        if self._whole is None:
            self._whole = self.of({one.field.name: one.values for one in self.columns})
        return {name: value[rows] for name, value in self._whole.items()}

    def of(self, given: Feeds) -> Feeds:
        """What the graph is given for values that were not asked. Raises as `feeds`."""
        return self._processing.feeds(given)

    def batches(self, rows: Rows, size: int) -> Iterator[tuple[Rows, Feeds]]:
        """The same, at most `size` rows at a time: as a caller would send them, texts filled to the longest."""
        for first in range(0, len(rows), size):
            for part in self._stackable(rows[first : first + size]):
                yield part, self.feeds(part)

    def groups(self, rows: Rows) -> Iterator[tuple[Rows, Feeds]]:
        """The same, row by row and nothing filled, in groups of tensors of one size."""
        if self.uniform:
            yield rows, self.feeds(rows)
            return
        made: dict[tuple[tuple[int, ...], ...], list[tuple[int, Feeds]]] = {}
        for row in rows.tolist():
            alone = self.feeds(np.array([row]))
            members = made.setdefault(tuple(value.shape for value in alone.values()), [])
            members.append((row, alone))
            if len(members) == _MOST:
                yield _joined(members)
                members.clear()
        for members in made.values():
            if members:
                yield _joined(members)

    def _stackable(self, rows: Rows) -> Iterator[Rows]:
        """Rows that can be one batch: of one size, in their order."""
        ragged = [one for one in self.columns if one.is_ragged]
        alone = any(one.field.is_bytes for one in self.columns) and not self._processing.one_size
        first = 0
        for place in range(1, len(rows) + 1):
            more = place < len(rows) and not alone
            if more and all(one.size(int(rows[first])) == one.size(int(rows[place])) for one in ragged):
                continue
            yield rows[first:place]
            first = place


def _joined(members: Sequence[tuple[int, Feeds]]) -> tuple[Rows, Feeds]:
    feeds = {name: np.concatenate([alone[name] for _, alone in members]) for name in members[0][1]}
    return np.array([row for row, _ in members], dtype=np.int64), feeds
