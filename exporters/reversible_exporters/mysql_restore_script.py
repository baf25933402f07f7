"""Which statements does a dump hold, as the client would send them?"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

_PIECE = re.compile(
    r"""`(?:[^`]|``)*` | '(?:[^'\\]|\\.|'')*' | "(?:[^"\\]|\\.|"")*" | (?:--(?=\s)|\#)[^\n]*
      | \$(?P<tag>\w*)\$.*?\$(?P=tag)\$ | /\*(?![!M]).*?\*/ | (?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)
_DELIMITER = re.compile(r"^[ \t]*DELIMITER[ \t]+(\S+)[ \t]*$", re.IGNORECASE | re.MULTILINE)
_CODE = re.compile(r"/\*(?:M?!\d*)|\*/")
_ACCOUNT = r"(?:`(?:[^`]|``)*`|'[^']*'|\w+)"
_DEFINER = re.compile(rf"(?:/\*!\d+\s+)?DEFINER\s*=\s*{_ACCOUNT}@{_ACCOUNT}(?:\s*\*/)?")
_KIND = re.compile(
    r"\bCREATE\b.*?\b(TABLE|VIEW|SEQUENCE|TRIGGER|FUNCTION|PROCEDURE|EVENT|LIBRARY)\s+(?:IF NOT EXISTS\s+)?"
    r"(`(?:[^`]|``)*`|[^\s(]+)",
    re.IGNORECASE | re.DOTALL,
)


@dataclass(frozen=True)
class Statement:
    """One statement: `kind` is "create", "set" or "other"; `subject` says what it makes."""

    sql: str
    kind: str
    subject: str

    @property
    def is_late(self) -> bool:
        """Whether rows must be there first: a trigger would fire on them, an event change them."""
        return self.subject.startswith(("trigger ", "event "))

    def without_definer(self) -> "Statement":
        return replace(self, sql=_DEFINER.sub("", self.sql, count=1))


def statements(script: str) -> Iterator[Statement]:
    """The statements, without their delimiters.

    Raises:
        ValueError: the script ends inside a quote or a statement.
    """
    delimiter, at = ";", 0
    for match in [*_DELIMITER.finditer(script), None]:
        section = script[at : match.start() if match else len(script)]
        for sql in _cut(section, delimiter):
            yield _statement(sql)
        if match:
            delimiter, at = match[1], match.end()


def _cut(section: str, delimiter: str) -> Iterator[str]:
    begin = at = 0
    while at < len(section):
        if section.startswith(delimiter, at):
            if section[begin:at].strip():
                yield section[begin:at].strip()
            at += len(delimiter)
            begin = at
            continue
        match = _PIECE.match(section, at)
        if match is None or (match["other"] and match["other"] in "`'\""):
            raise ValueError(f"a quote opened at character {at} is never closed")
        at = match.end()
    if re.sub(r"/\*M!999999\\.*?\*/|--[^\n]*", "", section[begin:]).strip():
        raise ValueError("the script ends inside a statement")


def _statement(sql: str) -> Statement:
    sql = re.sub(r"\A\s*/\*M!999999\\.*?\*/", "", sql).strip()
    plain = _DEFINER.sub("", _CODE.sub(" ", sql[:4000]), count=1).strip()
    found = _KIND.match(plain)
    if found:
        return Statement(sql, "create", f"{found[1].lower()} {found[2]}")
    return Statement(sql, "set" if re.match(r"SET\b", plain, re.IGNORECASE) else "other", plain[:60])
