"""Which objects does a dump of a PostgreSQL schema create?

The dump is cut into statements and words as PostgreSQL's lexer does (quotes, dollar quotes, comments), and names are
read from the statements themselves: pg_dump's "-- Name: ..." comments may stay when a statement is gone.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

Name = tuple[str, ...]

_TOKEN = re.compile(
    r"""
      (?P<space>\s+ | --[^\n]*)
    | (?P<comment>/\*)
    | (?P<meta>^\\(?:un)?restrict[^\n]*)                # psql's own line in pg_dump's output
    | (?P<string>(?:[bBxXnN])?'(?:[^']|'')*' | [eE]'(?:[^'\\]|\\.|'')*' )
    | (?P<dollar>\$(?P<tag>[A-Za-z_\u0080-\uffff]?[\w\u0080-\uffff]*)\$.*?\$(?P=tag)\$)
    | (?P<quoted>[uU]&"(?:[^"]|"")*" | "(?:[^"]|"")*")
    | (?P<word>[A-Za-z_\u0080-\U0010ffff][\w$\u0080-\U0010ffff]*)
    | (?P<number>\d[\d.]*(?:[eE][+-]?\d+)?)
    | (?P<other>[^\s'"])
    """,
    re.VERBOSE | re.DOTALL | re.MULTILINE,
)
_COMMENT_TARGETS = frozenset(
    {
        "table", "column", "view", "index", "sequence", "schema", "type", "domain", "function", "procedure",
        "aggregate", "extension", "statistics",
    }
)  # fmt: skip


@dataclass(frozen=True)
class Word:
    """`text` is a name as the catalogs hold it (unquoted, folded), a keyword in lower case, a sign or a literal."""

    text: str
    kind: str  # "word", "name" (quoted), "literal", "sign"

    def __eq__(self, other: object) -> bool:
        return self.text == other if isinstance(other, str) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.text)

    @property
    def names(self) -> bool:
        return self.kind in ("word", "name")


class Unbalanced(ValueError):  # noqa: N818 - it says what is wrong
    """A quote or a parenthesis is opened and never closed: the text is cut short or is not SQL."""


def statements(sql: str) -> Iterator[list[Word]]:
    """The statements of a script.

    Raises:
        Unbalanced: it ends inside a quote, a comment, parentheses or a statement.
    """
    words: list[Word] = []
    depth = body = 0
    for word in _words(sql):
        if word.kind == "sign" and word.text in "()":
            depth += 1 if word.text == "(" else -1
        if word.kind == "word":
            if word == "atomic" and words and words[-1] == "begin":  # a SQL function's body holds semicolons
                body = 1
            elif body:
                body += {"case": 1, "end": -1}.get(word.text, 0)
        if word.kind == "sign" and word.text == ";" and not body:
            if depth:
                raise Unbalanced("a statement ends inside parentheses")
            if words:
                yield words
            words = []
        else:
            words.append(word)
    if words or depth:
        raise Unbalanced("the script ends inside a statement")


def created(sql: str) -> dict[str, Counter[Name]]:
    """Every object that the script creates, by class: the names' parts. Classes as in the exporter's witness.

    Raises:
        Unbalanced: the script is not whole.
    """
    found: dict[str, Counter[Name]] = {}
    for words in statements(sql):
        for kind, name in _of_statement(words):
            found.setdefault(kind, Counter())[name] += 1
    return found


def scopes(sql: str) -> dict[tuple[str, Name], list[Sequence[Word]]]:
    """Where each object is defined, by class and name: its statement, or its part of a CREATE TABLE's body.

    Columns are the class "column". A function has as many scopes as it has signatures.

    Raises:
        Unbalanced: the script is not whole.
    """
    found: dict[tuple[str, Name], list[Sequence[Word]]] = {}
    for words in statements(sql):
        inside: set[tuple[str, Name]] = set()
        if _begins(words, "create"):
            rest = _without(words[1:], "unlogged")
            if _begins(rest, "table"):
                table = _name(rest[1:])
                for item in _items(rest):
                    named = {("column", (*table, item[0].text)), *_of_item(table, item)}
                    inside |= named
                    for key in named:
                        found.setdefault(key, []).append(item)
        for key in _of_statement(words):
            if key not in inside:
                found.setdefault(key, []).append(words)
    return found


def holds(scope: Sequence[Word], fragment: Sequence[Word]) -> bool:
    """Whether the fragment's words stand in the scope, in a row."""
    wanted = [word.text for word in fragment]
    texts = [word.text for word in scope]
    return any(texts[at : at + len(wanted)] == wanted for at in range(len(texts) - len(wanted) + 1))


def words_of(fragment: str) -> list[Word]:
    """A fragment of SQL as words, without the semicolon at its end.

    Raises:
        Unbalanced: a quote is never closed.
    """
    words = list(_words(fragment))
    return words[:-1] if words and words[-1].kind == "sign" and words[-1].text == ";" else words


def _words(sql: str) -> Iterator[Word]:
    at = 0
    while at < len(sql):
        match = _TOKEN.match(sql, at)
        if match is None:
            raise Unbalanced(f"a quote opened at character {at} is never closed")
        at = match.end()
        kind = match.lastgroup if match.lastgroup != "tag" else "dollar"
        text = match[0]
        if kind == "comment":
            at = _end_of_comment(sql, at)
        elif kind == "quoted":
            yield Word(text[text.index('"') + 1 : -1].replace('""', '"'), "name")
        elif kind == "word":
            yield Word(text.lower() if text.isascii() else _fold(text), "word")
        elif kind in ("string", "dollar", "number"):
            yield Word(text, "literal")
        elif kind == "other":
            yield Word(text, "sign")


def _fold(text: str) -> str:
    """PostgreSQL folds ASCII letters only, in UTF-8."""
    return "".join(letter.lower() if letter.isascii() else letter for letter in text)


def _end_of_comment(sql: str, at: int) -> int:
    depth = 1
    for match in re.compile(r"/\*|\*/").finditer(sql, at):
        depth += 1 if match[0] == "/*" else -1
        if depth == 0:
            return match.end()
    raise Unbalanced("a comment is never closed")


# --- statements to names ----------------------------------------------------------------------------------------


def _of_statement(words: Sequence[Word]) -> Iterator[tuple[str, Name]]:
    if words[0] == "create":
        yield from _created(_without(words[1:], "or", "replace"))
    elif words[0] == "alter" and len(words) > 2 and words[1] == "table":
        yield from _altered(_without(words[2:], "only", "if", "exists"))
    elif words[0] == "comment":
        yield from _commented(words[2:])
    elif words[0] == "grant":
        target = _after(words, "on") if any(word == "on" for word in words) else words  # else a role's membership
        if _begins(target, "table") or _begins(target, "sequence"):
            yield "grant", _name(target[1:])


def _created(words: Sequence[Word]) -> Iterator[tuple[str, Name]]:
    words = _without(words, "unlogged", "unique", "recursive", "trusted", "constraint", "temporary")
    kind, rest = words[0].text, words[1:]
    if kind == "materialized":
        yield "materialized view", _name(_without(rest[1:], "if", "not", "exists"))
    elif kind == "foreign" and rest[0] == "table":
        yield "foreign table", _name(rest[1:])
    elif kind == "table":
        table = _name(rest)
        yield "table", table
        yield from _of_table_body(table, rest)
    elif kind in ("schema", "view", "sequence", "type", "extension"):
        yield kind, _name(_without(rest, "if", "not", "exists"))
    elif kind == "domain":
        domain = _name(rest)
        yield "domain", domain
        for n, word in enumerate(rest):
            if word == "constraint" and word.kind == "word" and rest[n + 2] == "check":
                yield "domain constraint", (*domain, rest[n + 1].text)
    elif kind in ("function", "procedure", "aggregate"):
        yield "function", _name(rest)
    elif kind == "index":
        on = _after(rest, "on")
        yield "index", (*_name(_without(on, "only"))[:-1], rest[0].text)
    elif kind == "trigger":
        yield "trigger", (*_name(_after(rest[1:], "on")), rest[0].text)
    elif kind == "policy":
        yield "policy", (*_name(_after(rest[1:], "on")), rest[0].text)
    elif kind == "rule":
        yield "rule", (*_name(_after(rest[1:], "to")), rest[0].text)


def _of_table_body(table: Name, words: Sequence[Word]) -> Iterator[tuple[str, Name]]:
    for item in _items(words):
        yield from _of_item(table, item)


def _of_item(table: Name, item: Sequence[Word]) -> Iterator[tuple[str, Name]]:
    for n, word in enumerate(item[:-1]):
        if word.kind != "word":
            continue
        if word == "constraint" and not _begins(item[n + 2 :], "not"):
            yield "constraint", (*table, item[n + 1].text)
        elif n and (word == "default" or _begins(item[n:], "generated", "always", "as", "(")):  # not "as identity"
            yield "default", (*table, item[0].text)


def _items(words: Sequence[Word]) -> Iterator[list[Word]]:
    """What stands between the commas of the first parentheses."""
    depth = 0
    item: list[Word] = []
    for word in words:
        sign = word.text if word.kind == "sign" else ""
        if sign == ")":
            depth -= 1
            if depth == 0:
                break
        if sign == "," and depth == 1:
            yield item
            item = []
        elif depth:
            item.append(word)
        if sign == "(":
            depth += 1
    if item:
        yield item


def _altered(words: Sequence[Word]) -> Iterator[tuple[str, Name]]:
    table = _name(words)
    rest = words[2 * len(table) - 1 :]
    if _begins(rest, "add", "constraint"):
        yield "constraint", (*table, rest[2].text)
    elif _begins(rest, "attach", "partition"):
        yield "partition", _name(rest[2:])
    elif _begins(rest, "alter", "column"):
        if _begins(rest[3:], "set", "default"):
            yield "default", (*table, rest[2].text)
        for n in range(len(rest)):
            if _begins(rest[n:], "sequence", "name"):
                yield "sequence", _name(rest[n + 2 :])


def _commented(words: Sequence[Word]) -> Iterator[tuple[str, Name]]:
    kind, rest = words[0].text, words[1:]
    if kind == "materialized" or (kind == "foreign" and rest[0] == "table"):
        yield "comment", _name(rest[1:])
    elif kind in _COMMENT_TARGETS:
        yield "comment", _name(rest)
    elif kind in ("constraint", "trigger", "policy", "rule"):
        yield "comment", (*_name(_without(_after(rest[1:], "on"), "domain")), rest[0].text)


def _begins(words: Sequence[Word], *texts: str) -> bool:
    """Whether these keywords and signs stand first."""
    first = words[: len(texts)]
    return len(first) == len(texts) and all(
        word.text == text and word.kind in ("word", "sign") for word, text in zip(first, texts, strict=True)
    )


def _without(words: Sequence[Word], *keywords: str) -> Sequence[Word]:
    """The words after any of these that stand first."""
    n = 0
    while n < len(words) and words[n].kind == "word" and words[n].text in keywords:
        n += 1
    return words[n:]


def _after(words: Sequence[Word], keyword: str) -> Sequence[Word]:
    for n, word in enumerate(words):
        if word.kind == "word" and word == keyword:
            return words[n + 1 :]
    raise Unbalanced(f"a statement lacks {keyword.upper()}")


def _name(words: Sequence[Word]) -> Name:
    """The dotted name that the words begin with."""
    parts: list[str] = []
    n = 0
    while n < len(words) and words[n].names:
        parts.append(words[n].text)
        if not _begins(words[n + 1 :], "."):
            break
        n += 2
    return tuple(parts)


def missing(expected: Mapping[str, Counter[Name]], found: Mapping[str, Counter[Name]]) -> dict[str, list[Name]]:
    """What is expected and not found, by class."""
    lacking = {kind: sorted((names - found.get(kind, Counter())).elements()) for kind, names in expected.items()}
    return {kind: names for kind, names in lacking.items() if names}
