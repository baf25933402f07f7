"""What does a CSV or JSON file say, cell by cell, in its own spelling? Two readers of each, without code in common.

CSV: ours (RFC 4180, nothing forgiven) and Arrow's. JSON: Python's and ours. Each gives the names of the columns, then
rows: a list with None for a missing value, `Written` or `Number` for what only has a spelling, `Fault` for what is
not a value.
"""

import json
import re
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv

from reversible.errors import SourceError
from reversible_exporters.tabular_schema import Declared
from reversible_exporters.tabular_values import Fault, Number, Written

Row = list[Any]
Rows = Iterator[Row]
_BOMS = {"utf-8": b"\xef\xbb\xbf", "utf-16-le": b"\xff\xfe", "utf-16-be": b"\xfe\xff"}
_TOO_FEW = "the row has fewer fields"
_TOO_MANY = "the row has more fields"


def text_of(path: Path, encoding: str) -> str:
    """The file as text, strictly; a byte-order mark is no part of it.

    Raises:
        SourceError: it is not in that encoding.
    """
    raw = path.read_bytes()
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError as error:
        near = raw[max(0, error.start - 10) : error.start + 10]
        raise SourceError(
            f"{path.name}: byte {error.start} is not {encoding}: {near!r}", hint='encoding = "latin-1", or what it is'
        ) from error
    except ValueError as error:
        raise SourceError(f"{path.name} is not {encoding}: {error}") from error
    return text.removeprefix("\ufeff")


def notes(path: Path, declared: Declared) -> list[str]:
    """What the text as a whole does not keep in typed columns."""
    raw = path.read_bytes()[:4]
    found = [f"a byte-order mark ({mark.hex()}) stands before the text" for mark in _BOMS.values()
             if raw.startswith(mark)][:1]  # fmt: skip
    text = text_of(path, declared.encoding)
    if declared.encoding != "utf-8":
        found.append(f"text is {declared.encoding} in the file and UTF-8 in the copy")
    if re.search("[\x80-\x9f]", text):
        found.append("control characters U+0080 to U+009F: the encoding may be windows-1252")
    return found


# --- CSV --------------------------------------------------------------------------------------------------------


def csv_by_us(path: Path, declared: Declared) -> tuple[list[str], Rows]:
    """Read by RFC 4180: a quote opens a field only at its beginning, and nothing but a delimiter follows its end.

    Raises:
        SourceError: the file breaks these rules, or is empty.
    """
    text = text_of(path, declared.encoding)
    records = _records(text, declared, path.name)
    first = next(records, None)
    if first is None:
        raise SourceError(f"{path.name} is empty: it names no columns")
    names = [str(one or "") for one, _ in first] if declared.header else list(declared.columns)
    _each_once(names, path.name)
    width = len(names)

    def rows() -> Rows:
        if not declared.header:
            yield _fitted(first, width, declared)
        for record in records:
            yield _fitted(record, width, declared)

    return names, rows()


def _each_once(names: Sequence[str], file: str) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SourceError(f"{file}: two columns are called {twice[0]!r}")


Field = tuple[str | None, bool]  # its text, and whether it stood in quotes


def _records(text: str, declared: Declared, file: str) -> Iterator[list[Field]]:
    mark = re.escape(declared.delimiter)
    field = re.compile(rf'(?:"((?:[^"]|"")*)"|([^"\r\n{mark}]*))({mark}|\r\n|\n|\r|\Z)')
    at, line = 0, 1
    record: list[Field] = []
    while at < len(text) or record:
        found = field.match(text, at)
        if found is None:
            raise SourceError(f"{file}: line {line}: a quote stands where none may, or is never closed")
        quoted, bare, end = found.groups()
        record.append((quoted.replace('""', '"'), True) if quoted is not None else (bare, False))
        line += found[0].count("\n")
        at = found.end()
        if end != declared.delimiter:
            yield record
            record = []
        elif at == len(text):
            yield [*record, ("", False)]
            return


def _fitted(record: list[Field], width: int, declared: Declared) -> Row:
    row: Row = [
        None if not quoted and text in declared.missing else Written(text) for text, quoted in record
    ]  # fmt: skip
    if len(row) < width:
        return [*row, *(Fault("", _TOO_FEW) for _ in range(width - len(row)))]
    if len(row) > width:
        rest = [text or "" for text, _ in record[width - 1 :]]
        return [*row[: width - 1], Fault(json.dumps(rest, ensure_ascii=False), _TOO_MANY)]
    return row


def csv_by_arrow(path: Path, declared: Declared) -> tuple[list[str], Rows]:
    """The same by Arrow's parser; rows with too few or too many fields are given as None: it does not read them.

    Raises:
        SourceError: Arrow refuses the file.
    """
    content = pa.py_buffer(text_of(path, declared.encoding).encode())
    ragged: list[int] = []

    def skip(row: Any) -> str:
        ragged.append(int(row.number))
        return "skip"

    names = None if declared.header else list(declared.columns)
    try:
        header = pyarrow.csv.read_csv(
            pa.BufferReader(content),
            read_options=pyarrow.csv.ReadOptions(column_names=names, block_size=content.size + 16, use_threads=False),
            parse_options=pyarrow.csv.ParseOptions(
                delimiter=declared.delimiter, newlines_in_values=True, ignore_empty_lines=False,
                invalid_row_handler=skip,
            ),
            convert_options=pyarrow.csv.ConvertOptions(
                default_column_type=pa.string(), null_values=list(declared.missing), strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        )  # fmt: skip
    except pa.ArrowException as error:
        raise SourceError(f"{path.name}: Arrow cannot read it: {_first_line(error)}") from error
    first = 2 if declared.header else 1  # Arrow counts the header as row 1
    return list(header.column_names), _with_gaps(header, {number - first for number in ragged})


def _with_gaps(table: pa.Table, gaps: set[int]) -> Iterator[Row]:
    columns = [column.to_pylist() for column in table.columns]
    read = zip(*columns, strict=True)
    total = table.num_rows + len(gaps)
    for number in range(total):
        if number in gaps:
            yield []
        else:
            yield [None if value is None else Written(value) for value in next(read)]


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


# --- JSON -------------------------------------------------------------------------------------------------------


def json_by_python(path: Path, declared: Declared, *, lines: bool) -> tuple[list[str], Rows]:
    """An array of objects, or one object a line, by Python's json; numbers keep their spelling.

    Raises:
        SourceError: it is not JSON, or not such.
    """
    text = text_of(path, "utf-8")
    decoder = json.JSONDecoder(
        parse_float=Number, parse_int=Number, parse_constant=_no_constant, object_pairs_hook=_pairs
    )
    return _objects(path.name, (_decoded(decoder, one, path.name, n) for n, one in _documents(text, lines)), lines)


def json_by_us(path: Path, declared: Declared, *, lines: bool) -> tuple[list[str], Rows]:
    """The same by a parser of ours, from RFC 8259's grammar.

    Raises:
        SourceError: as above.
    """
    text = text_of(path, "utf-8")
    return _objects(path.name, (_scanned(one, path.name, n) for n, one in _documents(text, lines)), lines)


def _documents(text: str, lines: bool) -> Iterator[tuple[int, str]]:
    if not lines:
        yield 1, text
        return
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip(" \t\r"):
            yield number, line


def _objects(file: str, documents: Iterator[Any], lines: bool) -> tuple[list[str], Rows]:
    found: list[Any] = list(documents)
    if not lines:
        if not isinstance(found[0], list):
            raise SourceError(f"{file}: not an array of objects")
        found = found[0]
    names: dict[str, None] = {}
    for number, one in enumerate(found, 1):
        if not isinstance(one, dict):
            raise SourceError(f"{file}: item {number} is not an object")
        names |= dict.fromkeys(one)
    return list(names), ([_cell(one.get(name)) for name in names] for one in found)


def _cell(value: Any) -> Any:
    """A nested value as JSON text: no declared type holds one."""
    if isinstance(value, dict | list):
        return Fault(_rendered(value), "a nested value")
    return value


def _rendered(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k, ensure_ascii=False)}: {_rendered(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_rendered, value)) + "]"
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, Fault):
        return value.source
    return json.dumps(value, ensure_ascii=False)


def _no_constant(word: str) -> Any:
    raise ValueError(f"{word} is not JSON")


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A key that stands there twice keeps all its values, as a fault: a reader that takes the last would lose one."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        found.setdefault(key, []).append(value)
    return {
        key: values[0]
        if len(values) == 1
        else Fault("[" + ", ".join(map(_rendered, values)) + "]", "the key stands there several times")
        for key, values in found.items()
    }


def _decoded(decoder: json.JSONDecoder, text: str, file: str, line: int) -> Any:
    try:
        return decoder.decode(text)
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{file}: document at line {line} is not JSON: {_first_line(error)}") from error


_TOKEN = re.compile(
    r'[ \t\r\n]*(?:([{}\[\],:])|"((?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*)"'
    r"|(-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)|(true|false|null)|(\Z))"
)
_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "/": "/"}
_WORDS = {"true": True, "false": False, "null": None}
_DEEPEST = 200


def _scanned(text: str, file: str, line: int) -> Any:
    try:
        tokens = _tokens(text)
        value = _value(next(tokens), tokens, 0)
        if next(tokens) != ("end", ""):
            raise ValueError("more follows after the value")
    except (ValueError, StopIteration) as error:
        raise SourceError(f"{file}: document at line {line} is not JSON: {_first_line(error)}") from error
    return value


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    at = 0
    for _ in count():
        found = _TOKEN.match(text, at)
        if found is None:
            raise ValueError(f"nothing of JSON at character {at}")
        sign, string, number, word, _end = found.groups()
        at = found.end()
        if sign:
            yield "sign", sign
        elif string is not None:
            yield "string", _unescaped(found[0].lstrip(" \t\r\n")[1:-1])
        elif number is not None:
            yield "number", number
        elif word is not None:
            yield "word", word
        else:
            yield "end", ""
            return


def _unescaped(text: str) -> str:
    def one(found: re.Match[str]) -> str:
        if found[1] is not None:
            high, low = int(found[1], 16), int(found[2], 16)
            return chr(0x10000 + ((high - 0xD800) << 10) + low - 0xDC00)
        return chr(int(found[3], 16)) if found[3] is not None else _ESCAPES[found[4]]

    pair = r"\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})"
    return re.sub(rf"{pair}|\\u([0-9a-fA-F]{{4}})|\\(.)", one, text)


def _value(token: tuple[str, str], tokens: Iterator[tuple[str, str]], depth: int) -> Any:
    kind, text = token
    if depth > _DEEPEST:
        raise ValueError("nested too deeply")
    if kind == "string":
        return text
    if kind == "number":
        return Number(text)
    if kind == "word":
        return _WORDS[text]
    if (kind, text) == ("sign", "["):
        return _array(tokens, depth)
    if (kind, text) == ("sign", "{"):
        return _object(tokens, depth)
    raise ValueError(f"{text or 'the end'} stands where a value should")


def _array(tokens: Iterator[tuple[str, str]], depth: int) -> list[Any]:
    found: list[Any] = []
    token = next(tokens)
    if token == ("sign", "]"):
        return found
    while True:
        found.append(_value(token, tokens, depth + 1))
        sign = next(tokens)
        if sign == ("sign", "]"):
            return found
        if sign != ("sign", ","):
            raise ValueError("an array lacks a comma or its end")
        token = next(tokens)


def _object(tokens: Iterator[tuple[str, str]], depth: int) -> dict[str, Any]:
    pairs: list[tuple[str, Any]] = []
    token = next(tokens)
    while token != ("sign", "}"):
        if token[0] != "string" or next(tokens) != ("sign", ":"):
            raise ValueError("an object lacks a key or its colon")
        pairs.append((token[1], _value(next(tokens), tokens, depth + 1)))
        sign = next(tokens)
        if sign == ("sign", "}"):
            break
        if sign != ("sign", ","):
            raise ValueError("an object lacks a comma or its end")
        token = next(tokens)
        if token == ("sign", "}"):
            raise ValueError("a comma stands before the end of an object")
    return _pairs(pairs)
