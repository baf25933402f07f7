"""On which line of the plan does a key stand?

`tomllib` gives values without places. This scanner gives places without values: it walks the same text once and
notes the line of each key path. It reads what `tomllib` has already accepted, so it looks for the ends of things
and judges nothing.
"""

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType

KeyPath = tuple[str | int, ...]

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_SPACE = re.compile(r"[ \t]*")
_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SCALAR = re.compile(r"[^,\]}#\n]*")
_BASIC = re.compile(r'"(?:[^"\\\n]|\\.)*"')
_LITERAL = re.compile(r"'[^'\n]*'")
_BASIC_LINES = re.compile(r'"""(?:[^\\]|\\.)*?"""(?:""|")?', re.DOTALL)
_LITERAL_LINES = re.compile(r"'''.*?'''(?:''|')?", re.DOTALL)
_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.))")
_ESCAPES = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", "e": "\x1b"}


class Places:
    """The line of every key path in a TOML document, counted from 1.

    Array elements count as keys: `("source", "shop", "exclude", 0, "reason")`.
    """

    def __init__(self, text: str) -> None:
        """Walk `text`, a document that `tomllib.loads` accepts."""
        self._lines: Mapping[KeyPath, int] = MappingProxyType(_Scanner(text.replace("\r\n", "\n")).scan())

    def line(self, path: KeyPath) -> int:
        """The line of `path`, or of the nearest table around it when it is not written; 1 for the document."""
        while path and path not in self._lines:
            path = path[:-1]
        return self._lines.get(path, 1)

    def __contains__(self, path: KeyPath) -> bool:
        return path in self._lines

    def __iter__(self) -> Iterator[KeyPath]:
        return iter(self._lines)


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.found: dict[KeyPath, int] = {}
        self._counted_to = 0
        self._line = 1
        self._arrays: dict[KeyPath, int] = {}  # an array of tables -> how many tables it has so far

    def scan(self) -> dict[KeyPath, int]:
        table: KeyPath = ()
        while self._skip(_BLANK) < len(self.text):
            if self._take("[["):
                table = self._header(array=True)
            elif self._take("["):
                table = self._header(array=False)
            else:
                self._pair(table)
        return self.found

    def _header(self, *, array: bool) -> KeyPath:
        line = self._line_here()
        keys = self._keys()
        self._take("]]" if array else "]")
        path: KeyPath = ()
        for position, key in enumerate(keys):
            path = (*path, key)
            self.found.setdefault(path, line)
            if array and position == len(keys) - 1:
                self._arrays[path] = self._arrays.get(path, 0) + 1
            if path in self._arrays:  # [a.b] inside [[a]] belongs to the last table of `a`
                path = (*path, self._arrays[path] - 1)
                self.found.setdefault(path, line)
        if not array:
            self.found[path] = line  # the table's own header, not the first header that mentioned it
        return path

    def _pair(self, table: KeyPath) -> None:
        line = self._line_here()
        path = table
        for key in self._keys():
            path = (*path, key)
            self.found.setdefault(path, line)
        self._take("=")
        self._value(path)

    def _keys(self) -> list[str]:
        keys = [self._key()]
        while self._skip(_SPACE) < len(self.text) and self._take("."):
            keys.append(self._key())
        self._skip(_SPACE)
        return keys

    def _key(self) -> str:
        self._skip(_SPACE)
        begin = self.at
        for pattern in (_BASIC, _LITERAL, _BARE):
            if self._skip(pattern) > begin:
                word = self.text[begin : self.at]
                return word if pattern is _BARE else _unquoted(word)
        self.at += 1  # not a key: go on rather than stand still
        return ""

    def _value(self, path: KeyPath) -> None:
        self._skip(_SPACE)
        if self._take("["):
            self._array(path)
        elif self._take("{"):
            self._inline_table(path)
        else:
            begin = self.at
            for pattern in (_BASIC_LINES, _LITERAL_LINES, _BASIC, _LITERAL):
                if self._skip(pattern) > begin:
                    return
            self._skip(_SCALAR)

    def _array(self, path: KeyPath) -> None:
        position = 0
        while self._skip(_BLANK) < len(self.text) and not self._take("]"):
            before = self.at
            self.found[(*path, position)] = self._line_here()
            self._value((*path, position))
            position += 1
            self._skip(_BLANK)
            self._take(",")
            self.at += self.at == before

    def _inline_table(self, path: KeyPath) -> None:
        while self._skip(_BLANK) < len(self.text) and not self._take("}"):
            before = self.at
            self._pair(path)
            self._skip(_BLANK)
            self._take(",")
            self.at += self.at == before

    def _skip(self, pattern: re.Pattern[str]) -> int:
        if match := pattern.match(self.text, self.at):
            self.at = match.end()
        return self.at

    def _take(self, mark: str) -> bool:
        found = self.text.startswith(mark, self.at)
        self.at += len(mark) * found
        return found

    def _line_here(self) -> int:
        self._line += self.text.count("\n", self._counted_to, self.at)
        self._counted_to = self.at
        return self._line


def _unquoted(word: str) -> str:
    if word.startswith("'"):
        return word[1:-1]
    return _ESCAPE.sub(_character, word[1:-1])


def _character(match: re.Match[str]) -> str:
    digits = match[1] or match[2]
    return chr(int(digits, 16)) if digits else _ESCAPES.get(match[3], match[3])
