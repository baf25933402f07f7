"""How does a value that may be of any storage class become a cell of a typed column, and come back the same?

A column gets the type of the class that most of its values have, as counted by the engine; the declared type only
settles a tie. A value of another class is an exception: NULL in the column and, in the sidecar, its class and value:

    integer:-5      real:0x1.8000000000000p+0      real:inf      text:the text itself      blob:00ff
    text-bytes:ff61         TEXT that is not valid in the database's encoding: its bytes
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from reversible_exporters.sqlite_session import Session, Undecodable, decoded, quoted
from reversible_exporters.table_parts import Block

CLASSES = ("integer", "real", "text", "blob")
ARROW = {"integer": pa.int64(), "real": pa.float64(), "text": pa.string(), "blob": pa.binary()}
FAMILY = {"integer": "int", "real": "float", "text": "text", "blob": "binary"}
_PYTHON: Mapping[str, type] = {"integer": int, "real": float, "text": str, "blob": bytes}
_BLOCK_BYTES = 8 << 20
_BLOCK_ROWS = 1 << 16
_PER_QUERY = 300  # columns: SQLite ends a select list at 2,000 fields, and each column takes five


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column as the pragmas describe it; `classes` counts its values, `longest` is among them in bytes."""

    name: str
    source_type: str
    nullable: bool
    stored: str  # the storage class that its typed column holds
    classes: Mapping[str, int] = field(default_factory=dict)
    default: str | None = None
    collation: str | None = None
    generated: str | None = None
    key_place: int = 0
    is_rowid: bool = False

    @property
    def quoted(self) -> str:
        return quoted(self.name)

    @property
    def family(self) -> str:
        return FAMILY[self.stored]

    @property
    def pure(self) -> bool:
        """Whether every value has the column's own class."""
        return not any(count for kind, count in self.classes.items() if kind in CLASSES and kind != self.stored)

    def has(self, kind: str) -> bool:
        return bool(self.classes[kind])

    def field(self) -> pa.Field:
        """The Parquet column; always nullable, since an exception leaves a NULL."""
        metadata = {"source_type": self.source_type, "family": self.family}
        return pa.field(self.name, ARROW[self.stored], metadata=metadata)


def affinity(declared: str) -> str:
    """The class that a declared type leans to: https://www.sqlite.org/datatype3.html, section 3.1, rules in order."""
    upper = declared.upper()
    if "INT" in upper:
        return "integer"
    if any(word in upper for word in ("CHAR", "CLOB", "TEXT")):
        return "text"
    if "BLOB" in upper or not upper:
        return "blob"
    return "real" if any(word in upper for word in ("REAL", "FLOA", "DOUB")) else "integer"


def natural(declared: str, classes: Mapping[str, int]) -> str:
    """The class of most values; a tie, and an empty column, go to the declared type's."""
    leaning = affinity(declared)
    return max(CLASSES, key=lambda kind: (classes[kind], kind == leaning))


def class_counts(session: Session, source: str, names: Sequence[str]) -> list[dict[str, int]]:
    """Per column: how many values of each class, and under "longest" the bytes of the longest text or blob."""
    found: list[dict[str, int]] = []
    for start in range(0, len(names), _PER_QUERY):
        chosen = names[start : start + _PER_QUERY]
        fields = [
            f"{', '.join(f'count(CASE typeof({c}) WHEN {kind!r} THEN 1 END)' for kind in CLASSES)},"
            f" coalesce(max(CASE WHEN typeof({c}) IN ('text', 'blob') THEN length(CAST({c} AS BLOB)) END), 0)"
            for c in map(quoted, chosen)
        ]
        values = session.rows(f"SELECT {', '.join(fields)} FROM {source}")[0]  # noqa: S608 - quoted names
        width = len(CLASSES) + 1
        for n in range(len(chosen)):
            found.append(dict(zip((*CLASSES, "longest"), values[n * width : (n + 1) * width], strict=True)))
    return found


# --- the export's route -----------------------------------------------------------------------------------------


def blocks(session: Session, source: str, columns: Sequence[Column]) -> Iterator[Block]:
    """The rows, as the driver hands the engine's own values over."""
    schema = pa.schema([column.field() for column in columns])
    wide = session.codec != "utf-8"  # the driver's UTF-16 conversion would mend a broken pair of surrogates
    fields = ", ".join(raw(column.quoted) if wide else column.quoted for column in columns)
    rows = session.connection.execute(f"SELECT {fields} FROM {source}")  # noqa: S608 - quoted names
    step = rows_at_once(columns)
    while fetched := rows.fetchmany(step):
        cells: list[Sequence[Any]] = list(zip(*fetched, strict=True))
        if wide:
            pairs = zip(cells[0::2], cells[1::2], strict=True)
            cells = [_from_raw(kinds, values, session.codec) for kinds, values in pairs]
        arrays, odd = [], []
        for column, values in zip(columns, cells, strict=True):
            array, exceptions = typed(values, column)
            arrays.append(array)
            odd += exceptions
        yield Block(pa.RecordBatch.from_arrays(arrays, schema=schema), sorted(odd))


def rows_at_once(columns: Sequence[Column]) -> int:
    """So many rows that even the longest values of all columns together stay within a block's bytes."""
    widest = sum(8 + column.classes.get("longest", 0) for column in columns)
    return max(1, min(_BLOCK_ROWS // max(1, len(columns) // 16), _BLOCK_BYTES // widest))


def raw(name: str) -> str:
    """SQL for the class of a value and the value, text as the bytes that lie in the file."""
    return f"typeof({name}), CASE typeof({name}) WHEN 'text' THEN CAST({name} AS BLOB) ELSE {name} END"


def _from_raw(kinds: Sequence[Any], values: Sequence[Any], codec: str) -> list[Any]:
    return [in_codec(value, codec) if kind == "text" else value for kind, value in zip(kinds, values, strict=True)]


def in_codec(raw: bytes, codec: str) -> str | Undecodable:
    """The bytes of a TEXT value as text, where they are valid."""
    if codec == "utf-8":
        return decoded(raw)
    try:
        return raw.decode(codec)
    except UnicodeDecodeError:
        return Undecodable(raw)


def typed(values: Sequence[Any], column: Column) -> tuple[pa.Array, list[tuple[int, str, str]]]:
    """The typed array, and what it cannot hold."""
    kind = _PYTHON[column.stored]
    if {type(value) for value in values} <= {kind, type(None)}:
        return pa.array(values, ARROW[column.stored]), []
    odd = [
        (row, column.name, spelled(value))
        for row, value in enumerate(values)
        if value is not None and type(value) is not kind
    ]
    kept = [value if type(value) is kind else None for value in values]
    return pa.array(kept, ARROW[column.stored]), odd


def spelled(value: int | float | str | bytes) -> str:
    """A value with its class, as the sidecar keeps it."""
    if isinstance(value, Undecodable):
        return f"text-bytes:{value.hex()}"
    if isinstance(value, bytes):
        return f"blob:{value.hex()}"
    if isinstance(value, float):
        return f"real:{value.hex()}"
    return f"integer:{value}" if isinstance(value, int) else f"text:{value}"


def unspelled(text: str) -> int | float | str | bytes | Undecodable:
    """The value that `spelled` wrote.

    Raises:
        ValueError: it wrote no such thing.
    """
    kind, colon, rest = text.partition(":")
    if kind == "text" and colon:
        return rest
    value: int | float | bytes | Undecodable
    if kind == "integer":
        value = int(rest)
    elif kind == "real":
        value = float.fromhex(rest)
    elif kind == "blob":
        value = bytes.fromhex(rest)
    elif kind == "text-bytes":
        value = Undecodable(bytes.fromhex(rest))
    else:
        raise ValueError(f"no storage class in {text[:40]!r}")
    if spelled(value) != text:
        raise ValueError(f"not how a value is spelled: {text[:40]!r}")
    return value
