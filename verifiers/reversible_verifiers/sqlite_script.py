"""Which statements does a script of SQLite's hold, and do they define what the source said they define?

SQLite keeps every definition as the text that created it, so the texts must be equal, letter by letter. Two readers cut
the script: our lexer, by SQLite's rules (https://www.sqlite.org/lang_keywords.html, complete.c), and SQLite's own
`sqlite3_complete`. Neither runs it.
"""

import re
import sqlite3
from collections.abc import Iterator, Mapping
from typing import Any

_TOKEN = re.compile(
    r"""
      (?P<space>\s+|--[^\n]*|/\*.*?(?:\*/|\Z))
    | (?P<quoted>'(?:[^']|'')*'|"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\])
    | (?P<word>[A-Za-z_\u0080-\U0010ffff][\w$\u0080-\U0010ffff]*)
    | (?P<other>[^'"`\[])
    """,
    re.VERBOSE | re.DOTALL,
)
_TRIGGER = re.compile(r"create( temp| temporary)? trigger ")


def statements(script: str) -> list[str]:
    """The statements by our lexer, without the semicolons at their ends.

    Raises:
        ValueError: the script ends inside a quote or a statement.
    """
    found: list[str] = []
    begin = at = 0
    words: list[str] = []
    while at < len(script):
        match = _TOKEN.match(script, at)
        if match is None:
            raise ValueError(f"a quote opened at character {at} is never closed")
        at = match.end()
        if match.lastgroup == "space":
            begin = at if not words else begin
            continue
        word = match[0].lower() if match.lastgroup in ("word", "other") else "x"
        # A trigger's body holds semicolons: it ends at "; END ;".
        inside = _TRIGGER.match(" ".join(words[:3]) + " ") and words[-2:] != [";", "end"]
        if word == ";" and not inside:
            if words:
                found.append(script[begin : match.start()].rstrip())
            begin, words = at, []
        else:
            words = [*words[:3], *words[3:][-1:], word] if len(words) > 4 else [*words, word]
    if words:
        raise ValueError("the script ends inside a statement")
    return found


def by_engine(script: str) -> list[str]:
    """The statements by SQLite's own tokenizer.

    Raises:
        ValueError: the script ends inside a statement.
    """
    found: list[str] = []
    begin = 0
    for match in re.finditer(";", script):
        piece = script[begin : match.end()]
        if sqlite3.complete_statement(piece):
            found.append(piece)
            begin = match.end()
    if _rest(script[begin:]):
        raise ValueError("the script ends inside a statement")
    return found


def _rest(text: str) -> str:
    return re.sub(r"--[^\n]*|/\*.*?\*/", "", text, flags=re.DOTALL).strip()


def altered(script: str, facts: Mapping[str, Any], kept: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(class, what) of each definition, setting and sequence value that is not as the source said it.

    Args:
        script: schema.sql.
        facts: The witness's.
        kept: database.json.

    Raises:
        ValueError, KeyError, TypeError: one of the three does not have its shape.
    """
    written = {_plain(one) for one in statements(script)}
    for kind, name, sql in facts["definitions"]:
        if _plain(sql) not in written:
            yield str(kind), f"{kind} {name}"
    for name, value in facts["settings"].items():
        if f"PRAGMA {name} = {value!r}" not in written:
            yield "setting", f"PRAGMA {name}"
    sequences = {one["name"]: one["last_value"] for one in kept["sequence_values"]}
    for name, last in facts["sequence_values"].items():
        if name not in sequences or sequences[name] != last:
            yield "sequence value", f"sequence value of {name}"


def expected(facts: Mapping[str, Any]) -> tuple[int, int]:
    """How many objects, in how many classes, the source named."""
    sequences, settings = facts["sequence_values"], facts["settings"]
    classes = {kind for kind, _, _ in facts["definitions"]}
    return (len(facts["definitions"]) + len(sequences) + len(settings),
            len(classes) + bool(sequences) + bool(settings))  # fmt: skip


def _plain(sql: str) -> str:
    return sql.strip().rstrip(";").rstrip()
