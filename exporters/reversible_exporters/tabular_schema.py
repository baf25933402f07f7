"""What does the owner say that a file's columns are?

A TOML file, or the same keys in a plan. A column is a type's name, or a table with the type and how its text is
written:

    format = "csv"                       # else by the file's name
    [columns]
    id = "int64"
    amount = "decimal(12,2)"
    paid_on = { type = "date", format = "%d/%m/%Y" }
    open = { type = "bool", true = "O", false = "N" }
"""

import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import pyarrow as pa
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from reversible.errors import UsageError

Format = Literal["csv", "json", "ndjson", "parquet", "avro", "orc", "xlsx"]
_SUFFIXES: dict[str, Format] = {
    ".csv": "csv", ".tsv": "csv", ".txt": "csv", ".json": "json", ".ndjson": "ndjson", ".jsonl": "ndjson",
    ".parquet": "parquet", ".avro": "avro", ".orc": "orc", ".xlsx": "xlsx", ".xlsm": "xlsx",
}  # fmt: skip
_DECIMAL = re.compile(r"decimal\((\d{1,2}),\s*(\d{1,2})\)")
_ARROW = {
    "int16": pa.int16(), "int32": pa.int32(), "int64": pa.int64(), "float64": pa.float64(), "bool": pa.bool_(),
    "date": pa.date32(), "time": pa.time64("us"), "timestamp": pa.timestamp("us"),
    "timestamptz": pa.timestamp("us", "UTC"), "text": pa.string(), "binary": pa.binary(),
}  # fmt: skip
_FAMILY = {"int16": "int", "int32": "int", "int64": "int", "float64": "float"}
_MAX_PRECISION = 38


def _known(name: str) -> str:
    found = _DECIMAL.fullmatch(name)
    if found and not 0 <= int(found[2]) <= int(found[1]) <= _MAX_PRECISION:
        raise ValueError("decimal(p,s) with 0 <= s <= p <= 38")
    if not found and name not in _ARROW:
        raise ValueError(f"one of {', '.join(_ARROW)}, decimal(p,s)")
    return name


def _as_table(value: Any) -> Any:
    return {"type": value} if isinstance(value, str) else value


class ColumnType(BaseModel):
    """One column: its type, and how text spells it where that is not ISO 8601 or true and false."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: Annotated[str, AfterValidator(_known)]
    format: str | None = Field(None, description='of a date, time or timestamp, as strptime takes it: "%d/%m/%Y"')
    true: str = "true"
    false: str = "false"

    @property
    def arrow(self) -> pa.DataType:
        return pa.decimal128(*self.digits) if self.digits else _ARROW[self.type]

    @property
    def family(self) -> str:
        """The fingerprint's family."""
        return f"decimal:{self.digits[1]}" if self.digits else _FAMILY.get(self.type, self.type)

    @property
    def digits(self) -> tuple[int, int] | None:
        """Precision and scale of a decimal."""
        found = _DECIMAL.fullmatch(self.type)
        return (int(found[1]), int(found[2])) if found else None


_COLUMN: dict[str, Any] = {  # what an editor may offer: a type's name, or the table
    "anyOf": [
        {"type": "string"},
        {
            "type": "object", "required": ["type"], "additionalProperties": False,
            "properties": {key: {"type": "string"} for key in ColumnType.model_fields},
        },
    ]
}  # fmt: skip


class Declared(BaseModel):
    """The declared schema of one kind of file. A column that is neither declared nor left out is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    columns: dict[str, Annotated[ColumnType, BeforeValidator(_as_table), WithJsonSchema(_COLUMN)]] = Field(min_length=1)
    leave_out: tuple[str, ...] = Field((), description="columns of the file that stay in the original only")
    format: Format | None = Field(None, description="by the file's name when left out")
    encoding: str = Field("utf-8", description="of a CSV file; never guessed")
    delimiter: str = Field(",", min_length=1, max_length=1, description="of a CSV file")
    header: bool = Field(True, description="of a CSV or Excel file: whether the first row names the columns")
    missing: tuple[str, ...] = Field(("",), description="what a CSV field without quotes holds when there is no value")
    sheet: str | None = Field(None, description="of an Excel file; needed when it has several")

    @model_validator(mode="after")
    def _sound(self) -> "Declared":
        if set(self.leave_out) & set(self.columns):
            raise ValueError("a column is both declared and left out")
        try:
            "x".encode(self.encoding)
        except LookupError as error:
            raise ValueError(f"no encoding is called {self.encoding!r}") from error
        return self

    def format_of(self, name: str) -> Format:
        """The declared format, or the one that the file's name says.

        Raises:
            UsageError: neither says one.
        """
        found = self.format or _SUFFIXES.get(Path(name).suffix.lower())
        if found is None:
            raise UsageError(f"{name}: nothing says its format", hint=f'format = "csv" (or {", ".join(_SUFFIXES)})')
        return found


def load(path: Path) -> Declared:
    """Read a schema file.

    Raises:
        UsageError: it is not there, or does not say what columns there are.
    """
    try:
        return Declared.model_validate(tomllib.loads(path.read_bytes().decode()))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    except ValidationError as error:
        said = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()[:5])
        raise UsageError(f"{path}: {said}") from error
    except ValueError as error:
        raise UsageError(f"{path} is not TOML: {error}") from error
