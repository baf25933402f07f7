"""Does this JSON mean one thing only, to every reader?

Two readers that disagree about a document make a signature worthless: one checks what the other does not see. So
nothing is read that RFC 8259 leaves open: no key twice, no NaN or infinity, no number that a reader would round
away, no byte order mark, no half of a surrogate pair, no nesting that makes a parser fall over.
"""

import json
import math
from collections.abc import Iterable, Iterator
from typing import Any, NoReturn

LIMIT = 1 << 26  # bytes of one document
DEPTH = 40  # levels of nesting: ours stay below ten
DIGITS = 40  # of one integer: a 128-bit control total has 39


def parse(content: bytes, *, limit: int = LIMIT) -> Any:
    """The one value that the bytes mean.

    Raises:
        ValueError: they mean nothing, or not the same thing to everybody; the message says why.
    """
    if len(content) > limit:
        raise ValueError(f"it is over {limit} bytes")
    if content.startswith(b"\xef\xbb\xbf"):
        raise ValueError("it begins with a byte order mark")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not UTF-8: byte {error.start}") from error
    try:
        value = json.loads(
            text, object_pairs_hook=_once, parse_constant=_no_constant, parse_int=_integer, parse_float=_number
        )
    except RecursionError as error:
        raise ValueError(f"it is nested deeper than {DEPTH}") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not JSON: {error}") from error
    _look_through(value)
    return value


def parse_lines(content: bytes, *, limit: int = LIMIT) -> list[Any]:
    """The values of a JSON Lines file: one a line, every line ended, none blank.

    Raises:
        ValueError: as `parse`; the message names the line.
    """
    if len(content) > limit:
        raise ValueError(f"it is over {limit} bytes")
    if content and not content.endswith(b"\n"):
        raise ValueError("its last line is cut short")
    values = []
    for number, line in enumerate(content.split(b"\n")[:-1], start=1):
        try:
            values.append(parse(line))
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from error
    return values


def line_bytes(values: Iterable[Any]) -> bytes:
    """A JSON Lines file: keys sorted, so that same values are same bytes."""
    return b"".join(
        (json.dumps(value, ensure_ascii=False, sort_keys=True, allow_nan=False) + "\n").encode() for value in values
    )


def compact_bytes(value: Any) -> bytes:
    """One value on one line, keys sorted, no space: the only way that we write what is signed."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key[:60]!r} is there twice")
        found[key] = value
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _integer(digits: str) -> int:
    if len(digits.removeprefix("-")) > DIGITS:
        raise ValueError(f"an integer of over {DIGITS} digits")
    return int(digits)


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:40]} is larger than any number that a reader keeps")
    return value


def _look_through(value: Any) -> None:
    """Refuse what the parser lets through: depth, and halves of surrogate pairs written as escapes."""
    level = list(_containers([value]))
    for _ in range(DEPTH):
        if not level:
            return
        level = [inner for one in level for inner in _containers(_members(one))]
    if level:
        raise ValueError(f"it is nested deeper than {DEPTH}")


def _members(container: dict[str, Any] | list[Any]) -> Iterable[Any]:
    return (*container, *container.values()) if isinstance(container, dict) else container


def _containers(values: Iterable[Any]) -> Iterator[dict[str, Any] | list[Any]]:
    for value in values:
        if isinstance(value, dict | list):
            yield value
        elif isinstance(value, str):
            try:
                value.encode()
            except UnicodeEncodeError as error:
                raise ValueError("a text holds half of a surrogate pair") from error
