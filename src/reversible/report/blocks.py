"""What is a report made of, whatever it is printed with?

Sections hold blocks; a block says what it is and a template says how it looks. `form` of a cell:
text, number, foreign (the vendor's own string), english (a sentence without translation), code, verdict, status.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar


@dataclass(frozen=True)
class Cell:
    """One thing to read. `code` is the verdict or status behind the words; `ref` is the id of an element to jump to."""

    text: str
    form: str = "text"
    code: str = ""
    ref: str = ""


@dataclass(frozen=True)
class Paragraph:
    """One or more sentences; `tone` is "" or "note"."""

    kind: ClassVar[str] = "paragraph"
    cells: tuple[Cell, ...]
    tone: str = ""


@dataclass(frozen=True)
class Facts:
    """Names with what is known of each."""

    kind: ClassVar[str] = "facts"
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]


@dataclass(frozen=True)
class Items:
    """A list; `more` says what was left out."""

    kind: ClassVar[str] = "items"
    rows: tuple[tuple[Cell, ...], ...]
    more: str = ""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table with a caption. `folded` is the words that open it; "" leaves it open. `more` says what was left out."""

    kind: ClassVar[str] = "table"
    caption: str
    heads: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    folded: str = ""
    more: str = ""

    @property
    def numeric(self) -> tuple[bool, ...]:
        """Which columns hold numbers: their heads and cells stand to the right."""
        return tuple(any(row[n].form == "number" for row in self.rows) for n in range(len(self.heads)))


@dataclass(frozen=True)
class Commands:
    """Lines to paste into a shell."""

    kind: ClassVar[str] = "commands"
    lines: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One bar of a chart: positions in percent of the width. `marked`: the chart's marks speak of this bar."""

    label: str
    start: float
    width: float
    shown: str
    code: str = ""
    marked: bool = True


@dataclass(frozen=True, kw_only=True)
class Chart:
    """Horizontal bars on one scale. The table with the same numbers stands beside it.

    `marks` are vertical lines across the bars with their label: (position in percent, label).
    """

    kind: ClassVar[str] = "chart"
    id: str
    title: str
    description: str
    bars: tuple[Bar, ...]
    marks: tuple[tuple[float, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A part of a section with a heading of its own; folded ones open on a click or a jump to their id."""

    kind: ClassVar[str] = "entry"
    id: str
    title: tuple[Cell, ...]
    blocks: "tuple[Block, ...]"
    folded: bool = True


Block = Paragraph | Facts | Items | Table | Commands | Chart | Entry


@dataclass(frozen=True, kw_only=True)
class Section:
    """One of the catalogue's report sections."""

    id: str
    number: int | None
    title: str
    blocks: tuple[Block, ...] = field(default=())


def paragraph(*texts: str, tone: str = "") -> Paragraph:
    return Paragraph(tuple(Cell(one) for one in texts), tone)


def foreign(text: object) -> Cell:
    return Cell(str(text), "foreign")


def code(text: object) -> Cell:
    return Cell(str(text), "code")


def shorten(rows: Sequence[tuple[Cell, ...]], most: int) -> tuple[tuple[tuple[Cell, ...], ...], int]:
    """The first rows, and how many were left out."""
    return tuple(rows[:most]), max(0, len(rows) - most)
