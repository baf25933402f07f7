"""What stands in this row of the catalogue, and is it what may stand there?

Every refusal names the clause (or section) and the key: "clauses.yaml: CLK-02: checks[0].op: ...".
"""

import difflib
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import date
from typing import Any, NoReturn

import yaml

from reversible.clauses.model import Text
from reversible.errors import UsageError

_HINT = "reinstall the tool, or name a catalogue that loads: reversible clauses"


def refuse(where: str, what: str) -> NoReturn:
    raise UsageError(f"clauses.yaml: {where}: {what}", hint=_HINT)


def parse(content: bytes) -> Any:
    """The YAML document in `content`, with every key written once.

    Raises:
        UsageError: it is not YAML, or a key stands twice in one mapping.
    """
    try:
        return yaml.load(content, Loader=_Loader)  # noqa: S506 - a safe loader
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise UsageError(f"clauses.yaml: not readable: {' '.join(str(error).split())}", hint=_HINT) from error


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc] # either is a safe loader
    """A safe loader that refuses a mapping with the same key twice: YAML would keep the last in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str | int):
                raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} is no text", key_node.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} twice", key_node.start_mark)
            seen.add(key)
        built: dict[Any, Any] = super().construct_mapping(node, deep=deep)
        return built


def near(word: object, known: Iterable[str]) -> str:
    """What to say of an id that nobody knows, with the nearest known one."""
    close = difflib.get_close_matches(str(word), list(known), n=1, cutoff=0.4)
    return f"{word!r} is unknown" + (f"; nearest: {close[0]}" if close else "")


class Row:
    """One mapping of the catalogue, read key by key; `done` refuses a key that nobody asked for."""

    def __init__(self, where: str, content: object) -> None:
        if not isinstance(content, Mapping):
            refuse(where, f"a mapping is expected, found {_kind(content)}")
        self.where = where
        self._content = content
        self._asked: set[str] = set()

    def __contains__(self, key: str) -> bool:
        return key in self._content

    def at(self, key: str) -> str:
        return f"{self.where}.{key}" if ": " in self.where else f"{self.where}: {key}"

    def take(self, key: str) -> Any:
        self._asked.add(key)
        if key not in self._content:
            refuse(self.at(key), "the key is missing")
        return self._content[key]

    def text(self, key: str, default: str | None = None) -> str:
        if default is not None and key not in self:
            return default
        value = self.take(key)
        if not isinstance(value, str) or (default is None and not value.strip()):
            refuse(self.at(key), f"a text is expected, found {_kind(value)}")
        return value

    def one_of(self, key: str, known: Collection[str]) -> str:
        value = self.take(key)
        if value not in tuple(known):
            refuse(self.at(key), near(value, known))
        return str(value)

    def some_of(self, key: str, known: Collection[str]) -> tuple[str, ...]:
        """A list, not empty, of known ids, each once."""
        items = self.items(key)
        for position, item in enumerate(items):
            if item not in tuple(known):
                refuse(f"{self.at(key)}[{position}]", near(item, known))
        if not items or len(set(items)) != len(items):
            refuse(self.at(key), "at least one id is expected, each once")
        return tuple(items)

    def items(self, key: str) -> list[Any]:
        value = self.take(key)
        if not isinstance(value, list):
            refuse(self.at(key), f"a list is expected, found {_kind(value)}")
        return value

    def names(self, key: str) -> list[str]:
        items = self.items(key)
        if not all(isinstance(one, str) for one in items) or len(set(items)) != len(items):
            refuse(self.at(key), "a list of texts is expected, each once")
        return items

    def rows(self, key: str) -> "Iterator[Row]":
        for position, item in enumerate(self.items(key)):
            yield Row(f"{self.at(key)}[{position}]", item)

    def named(self, key: str) -> "Iterator[tuple[str, Row]]":
        """A mapping of rows by id."""
        for name, item in self.mapping(key).items():
            yield name, Row(f"{key}.{name}", item)

    def mapping(self, key: str) -> Mapping[str, Any]:
        value = self.take(key)
        if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
            refuse(self.at(key), f"a mapping of texts is expected, found {_kind(value)}")
        return value

    def flag(self, key: str, *, default: bool) -> bool:
        return self.truth(key) if key in self else default

    def truth(self, key: str) -> bool:
        value = self.take(key)
        if not isinstance(value, bool):
            refuse(self.at(key), f"true or false is expected, found {_kind(value)}")
        return value

    def positive(self, key: str, *, most: int = 36_500) -> int:
        value = self.take(key)
        if type(value) is not int or not 0 < value <= most:
            refuse(self.at(key), f"a whole number from 1 to {most} is expected, found {value!r}")
        return value

    def day(self, key: str) -> date | None:
        if key not in self:
            return None
        value = self.text(key)
        try:
            return date.fromisoformat(value)
        except ValueError:
            refuse(self.at(key), f'a day is expected, "2027-01-12", found {value!r}')

    def both(self, key: str) -> Text:
        """A mapping with exactly `en` and `fr`."""
        row = Row(self.at(key), self.take(key))
        text = row.own_text()
        row.done()
        return text

    def own_text(self) -> Text:
        return Text(en=self.text("en"), fr=self.text("fr"))

    def drop_empty(self) -> None:
        self._asked |= {key for key, value in self._content.items() if value is None}

    def done(self) -> None:
        for key in self._content:
            if key not in self._asked:
                refuse(self.at(str(key)), f"the key {near(key, self._asked)}")


def _kind(value: object) -> str:
    return "nothing" if value is None else f"{type(value).__name__} {value!r}"[:60]
