"""Which objects does a dump of a MySQL or MariaDB schema create, and as the server defines them?

The dump is cut as the client cuts it (DELIMITER lines) and the server reads it (backticks, backslashes, comments that
hold code: `/*!50003 ... */`). A later DROP takes an object away: mysqldump first makes a stand-in for each view.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

Name = tuple[str, ...]
Key = tuple[str, Name]

_TOKEN = re.compile(
    r"""
      (?P<space>\s+ | \#[^\n]* | --(?=\s|\Z)[^\n]* | /\*M!999999\\.*?\*/)
    | (?P<opened>/\*M?!\d*)                              # code that servers of that version run
    | (?P<comment>/\*.*?\*/)
    | (?P<closed>\*/)
    | (?P<string>'(?:[^'\\]|\\.|'')*' | "(?:[^"\\]|\\.|"")*")
    | (?P<body>\$(?P<tag>\w*)\$.*?\$(?P=tag)\$)       # of a routine in another language, in MySQL 9
    | (?P<name>`(?:[^`]|``)*`)
    | (?P<number>\d[\d.]*(?:[eE][+-]?\d+)?(?![\w$]))
    | (?P<word>[\w$\u0080-\U0010ffff]+)
    | (?P<other>[^'"`])
    """,
    re.VERBOSE | re.DOTALL,
)
_DELIMITER = re.compile(r"^[ \t]*DELIMITER[ \t]+(\S+)[ \t]*$", re.IGNORECASE | re.MULTILINE)
_ESCAPES = {"0": "\0", "b": "\b", "n": "\n", "r": "\r", "t": "\t", "Z": "\x1a"}
_KINDS = ("table", "view", "sequence", "trigger", "function", "procedure", "event", "library")
_INDEXES = ("primary", "unique", "fulltext", "spatial", "key", "index")


@dataclass(frozen=True)
class Token:
    """`text` is a keyword or an unquoted name as written, a quoted name or a string without its quotes, or a sign."""

    text: str
    kind: str  # "word", "name" (quoted), "string", "number", "sign"

    def says(self, *keywords: str) -> bool:
        return self.kind == "word" and self.text.lower() in keywords

    def same(self, other: "Token") -> bool:
        """Equal to the server: names and keywords without their case, quoted or not; strings and signs exactly."""
        if self.kind in ("word", "name") and other.kind in ("word", "name"):
            return self.text.casefold() == other.text.casefold()
        return self == other


def statements(script: str) -> Iterator[list[Token]]:
    """The statements of a script.

    Raises:
        ValueError: it ends inside a quote, a comment or a statement.
    """
    delimiter, at = ";", 0
    for match in [*_DELIMITER.finditer(script), None]:
        end = match.start() if match else len(script)
        yield from _section(script[at:end], delimiter)
        if match:
            delimiter, at = match[1], match.end()


def by_duckdb(script: str) -> int:
    """The number of statements, counted by DuckDB's regular expressions instead of our lexer."""
    import duckdb

    quotes = r"""`(?:[^`]|``)*`|'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.|"")*"|/\*[^!M].*?\*/|--[ \t][^\n]*|#[^\n]*"""
    quotes += r"|\$\w*\$.*?\$\w*\$"
    query = """
        WITH sections AS (
            SELECT unnest(regexp_split_to_array($script, '(?mi)^[ \\t]*DELIMITER[ \\t]+')) AS text,
                   generate_subscripts(regexp_split_to_array($script, '(?mi)^[ \\t]*DELIMITER[ \\t]+'), 1) AS place
        ), cut AS (
            SELECT CASE place WHEN 1 THEN ';' ELSE regexp_extract(text, '^\\S+') END AS mark,
                   CASE place WHEN 1 THEN text ELSE regexp_replace(text, '^\\S+', '') END AS body
            FROM sections
        )
        SELECT sum(len(list_filter(string_split(regexp_replace(body, $quotes, 'q', 'gs'), mark)[1:-2],
                                   lambda one: trim(regexp_replace(one, '\\s', '', 'g')) <> '')))::BIGINT
        FROM cut"""
    with duckdb.connect(
        config={"autoinstall_known_extensions": "false", "autoload_known_extensions": "false", "threads": "1"}
    ) as connection:
        row = connection.execute(query, {"script": script, "quotes": quotes}).fetchone()
    return int(row[0] or 0) if row else 0


def created(script: str) -> dict[str, Counter[Name]]:
    """Every object that is there after the script ran, by class: the names' parts. Classes as in the witness.

    Raises:
        ValueError: the script is not whole.
    """
    found: dict[str, Counter[Name]] = {}
    for kind, name in scopes(script):
        if kind != "column":
            found.setdefault(kind, Counter())[name] += 1
    return found


def altered(script: str, definitions: Sequence[tuple[str, Name, str]]) -> Iterator[Key]:
    """The objects that the script defines in other words than the server.

    Raises:
        ValueError: the script is not whole.
    """
    there = scopes(script)
    for kind, name, text in definitions:
        if not _holds(there.get((kind, name), ()), _tokens(text)):
            yield kind, name


def next_values(script: str) -> dict[str, int]:
    """The number that each AUTO_INCREMENT and each sequence gives next after the script ran, where the script says it.

    Raises:
        ValueError: the script is not whole.
    """
    found: dict[str, int] = {}
    for statement in statements(script):
        text = [token.text for token in statement]
        place = next((n for n, token in enumerate(statement) if token.says("setval")), None)
        if place is not None and statement[0].says("do", "select"):  # SETVAL(`name`, 17, 0)
            digits = "".join(text[text.index(",", place) + 1 : text.index(",", text.index(",", place) + 1)])
            found[_name(statement[place + 2 :])[0]] = int(digits)
        elif statement[0].says("create") and any(token.says("table") for token in statement[:4]):
            rest = _after(statement, "table")
            _, options = _items(rest)
            for n, token in enumerate(options[:-2]):
                if token.says("auto_increment"):
                    found[_name(rest)[0]] = int(options[n + 2].text)
    return found


def scopes(script: str) -> dict[Key, Sequence[Token]]:
    """Where each object is defined: its statement, or its part of a CREATE TABLE. Columns are the class "column"."""
    found: dict[Key, Sequence[Token]] = {}
    for statement in statements(script):
        if statement[0].says("drop"):
            gone = _name(_after(statement, "table", "view", "sequence", *_KINDS))
            for key in [key for key in found if key[1][:1] == gone]:
                del found[key]
        elif statement[0].says("create"):
            place = next((n for n, token in enumerate(statement) if token.says(*_KINDS)), None)
            if place is None:
                continue  # CREATE DATABASE, USER, ...: not of this dump
            kind, rest = statement[place].text.lower(), statement[place + 1 :]
            found[kind, _name(rest)] = statement
            if kind == "table":
                found |= _of_table(_name(rest), rest)
    return found


def _of_table(table: Name, rest: Sequence[Token]) -> dict[Key, Sequence[Token]]:
    items, options = _items(rest)
    found: dict[Key, Sequence[Token]] = {}
    for item in items:
        first = item[0]
        if first.kind == "name":
            found["column", (*table, first.text)] = item
        elif first.says("constraint"):
            found["constraint", (*table, item[1].text)] = item
        elif first.says("primary"):
            found["index", (*table, "PRIMARY")] = item
        elif first.says(*_INDEXES):
            named = next(token for token in item if token.kind == "name")
            found["index", (*table, named.text)] = item
    starts = [
        n
        for n, token in enumerate(options[:-1])
        if token.says("partition") and options[n + 1].kind in ("name", "word") and not options[n + 1].says("by")
    ]
    for start, end in zip(starts, [*starts, len(options)][1:], strict=True):
        found["partition", (*table, options[start + 1].text)] = options[start:end]
    return found


def _items(rest: Sequence[Token]) -> tuple[list[list[Token]], Sequence[Token]]:
    """What stands between the commas of the first parentheses, and what follows them."""
    items: list[list[Token]] = [[]]
    depth = 0
    for n, token in enumerate(rest):
        sign = token.text if token.kind == "sign" else ""
        if sign == ")":
            depth -= 1
            if depth == 0:
                return [item for item in items if item], rest[n + 1 :]
        if sign == "," and depth == 1:
            items.append([])
        elif depth:
            items[-1].append(token)
        if sign == "(":
            depth += 1
    raise ValueError("a CREATE TABLE without its columns")


def _name(tokens: Sequence[Token]) -> Name:
    """The name that the tokens begin with, without the database."""
    n = 0
    while n < len(tokens) and tokens[n].says("if", "not", "exists"):
        n += 1
    while n + 2 < len(tokens) and tokens[n + 1] == Token(".", "sign"):
        n += 2
    if n >= len(tokens) or tokens[n].kind not in ("word", "name"):
        raise ValueError("a statement names nothing")
    return (tokens[n].text,)


def _after(tokens: Sequence[Token], *keywords: str) -> Sequence[Token]:
    for n, token in enumerate(tokens):
        if token.says(*keywords):
            return tokens[n + 1 :]
    return tokens[1:]


def _holds(scope: Sequence[Token], fragment: Sequence[Token]) -> bool:
    """Whether the fragment's tokens stand in the scope, in a row."""
    if not fragment:
        return False
    size = len(fragment)
    return any(
        all(one.same(other) for one, other in zip(scope[at : at + size], fragment, strict=True))
        for at in range(len(scope) - size + 1)
        if scope[at].same(fragment[0])
    )


# --- the lexer --------------------------------------------------------------------------------------------------


def _section(text: str, delimiter: str) -> Iterator[list[Token]]:
    words: list[Token] = []
    for token in _lexed(text, lambda at: text.startswith(delimiter, at), len(delimiter)):
        if token is not None:
            words.append(token)
        elif words:
            yield words
            words = []
    if words:
        raise ValueError("the script ends inside a statement")


def _tokens(fragment: str) -> list[Token]:
    return [token for token in _lexed(fragment, lambda _: False, 0) if token is not None]


def _lexed(text: str, ends: Callable[[int], bool], width: int) -> Iterator[Token | None]:
    """The tokens; None where a statement ends."""
    at = 0
    opened = False
    while at < len(text):
        if ends(at):
            yield None
            at += width
            continue
        match = _TOKEN.match(text, at)
        if match is None or (match.lastgroup == "other" and text.startswith("/*", at)):
            raise ValueError(f"a quote or comment opened at character {at} is never closed")
        kind, found = match.lastgroup or "", match[0]
        at = match.end()
        if kind == "opened":
            opened = True
        elif kind == "closed":
            if not opened:
                yield from (Token("*", "sign"), Token("/", "sign"))
            opened = False
        elif kind == "body":
            yield Token(found, "string")
        elif kind == "string":
            yield Token(_content(found), "string")
        elif kind == "name":
            yield Token(found[1:-1].replace("``", "`"), "name")
        elif kind in ("word", "number"):
            yield Token(found, kind)
        elif kind == "other":
            yield Token(found, "sign")
    if opened:
        raise ValueError("a comment is never closed")


def _content(string: str) -> str:
    quote = string[0]
    pieces = re.findall(r"\\.|''|\"\"|.", string[1:-1], re.DOTALL)
    return "".join(
        _ESCAPES.get(piece[1], piece[1]) if piece[0] == "\\" else quote if piece == quote * 2 else piece
        for piece in pieces
    )
