"""What does a dump of the schema ask a server to do, one statement at a time, and what must wait for the rows?

`pg_dump --schema-only` writes what rows need (its section "pre-data"), then what needs rows (its section "post-data":
indexes, constraints, triggers, rules, policies), then grants. The bundle holds both in one file; this module finds
the seam. The lexical rules are of https://www.postgresql.org/docs/18/sql-syntax-lexical.html.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from reversible.errors import BundleError

_HEADER = re.compile(r"-- (?:Data for )?Name: (?P<name>.*); Type: (?P<kind>[A-Z ]+); Schema: (?P<schema>.*?); Owner: ")
_AFTER_ROWS = frozenset({
    "INDEX", "INDEX ATTACH", "CONSTRAINT", "CHECK CONSTRAINT", "FK CONSTRAINT", "TRIGGER", "EVENT TRIGGER", "RULE",
    "POLICY", "ROW SECURITY", "STATISTICS", "PUBLICATION", "PUBLICATION TABLE", "PUBLICATION TABLES IN SCHEMA",
    "SUBSCRIPTION",
})  # fmt: skip
# A second sign beside the header's, which a role's hostile name could imitate.
_AFTER_ROWS_BEGINS = re.compile(
    r"CREATE (UNIQUE )?INDEX|CREATE (CONSTRAINT |EVENT )?TRIGGER|CREATE (OR REPLACE )?(RULE|VIEW)|CREATE POLICY"
    r"|CREATE (STATISTICS|PUBLICATION|SUBSCRIPTION)|ALTER (TABLE|FOREIGN TABLE|DOMAIN|INDEX|PUBLICATION) "
)
_TOKEN = re.compile(
    r"""(?P<line>--[^\n]*)|(?P<block>/\*)|(?P<escaped>[eE]'(?:[^'\\]|\\.|'')*')|(?P<string>'(?:[^']|'')*')
    |(?P<quoted>"(?:[^"]|"")*")|(?P<dollar>\$(?:[^\W\d][^\W]*)?\$)|(?P<word>[^\W\d][\w$]*)|(?P<end>;)|(?P<open>[(\[])
    |(?P<close>[)\]])|(?P<other>\d[\w.]*|\s+|.)""",
    re.DOTALL | re.VERBOSE,
)
_META = re.compile(r"\\[a-z]+[^\n]*\n?")  # psql's own: \restrict, \unrestrict


@dataclass(frozen=True, kw_only=True)
class Statement:
    """One statement of the dump; `kind` and `name` as pg_dump's header says, "" for what stands before the first."""

    sql: str
    kind: str
    name: str
    schema: str

    @property
    def subject(self) -> str:
        """What a line about it names: "TABLE torture.client"."""
        return " ".join(self.sql.split())[:80] if not self.kind else f"{self.kind} {self._place}{self.name}"

    @property
    def _place(self) -> str:
        return "" if self.schema in ("", "-") else f"{self.schema}."

    @property
    def is_setting(self) -> bool:
        """Whether it sets up the session and leaves nothing behind: to be run again by every new session."""
        return re.match(r"SET |SELECT pg_catalog\.set_config\(", self.sql) is not None

    @property
    def needs_rows(self) -> bool:
        return self.kind in _AFTER_ROWS and _AFTER_ROWS_BEGINS.match(self.sql) is not None


def split(sql: str) -> tuple[list[Statement], list[Statement]]:
    """The statements before the rows and those after them, both in the dump's order.

    Raises:
        BundleError: the dump is cut short.
    """
    found = list(statements(sql))
    seam = next((n for n, one in enumerate(found) if one.needs_rows or one.kind == "ACL"), len(found))
    return found[:seam], found[seam:]


def statements(sql: str) -> Iterator[Statement]:
    """Every statement, without comments and psql's own commands.

    Raises:
        BundleError: the dump is cut short.
    """
    place = 0
    header = {"name": "", "kind": "", "schema": ""}
    while place < len(sql):
        if meta := _META.match(sql, place):
            place = meta.end()
            continue
        token = _TOKEN.match(sql, place)
        assert token is not None  # noqa: S101 - the last alternative matches anything
        kind = token.lastgroup
        if kind == "line":
            named = _HEADER.match(token[0])
            header = dict(named.groupdict()) if named else header
            place = token.end()
        elif kind == "block":
            place = _end_of_comment(sql, place)
        elif token[0].isspace() or kind == "end":
            place = token.end()
        else:
            end = _end_of_statement(sql, place)
            yield Statement(sql=sql[place:end], **header)
            place = end


def _end_of_statement(sql: str, place: int) -> int:
    depth = body = 0  # of brackets; of BEGIN ATOMIC ... END and the CASE ... END inside it
    before = ""
    while place < len(sql):
        token = _TOKEN.match(sql, place)
        assert token is not None  # noqa: S101
        kind, text, place = token.lastgroup, token[0], token.end()
        if kind == "block":
            place = _end_of_comment(sql, token.start())
        elif kind == "dollar":
            place = _after(sql, text, place)
        elif kind == "end" and not depth and not body:
            return place
        elif kind in ("open", "close"):
            depth += 1 if kind == "open" else -1
        elif kind == "word":
            word = text.upper()
            if (word == "ATOMIC" and before == "BEGIN") or (body and word == "CASE"):
                body += 1
            elif body and word == "END":
                body -= 1
            before = word
        elif text in ("'", '"'):
            break  # its other end is missing
    raise BundleError("schema.sql is cut short: its last statement has no end")


def _end_of_comment(sql: str, place: int) -> int:
    depth = 0
    for edge in re.finditer(r"/\*|\*/", sql[place:]):
        depth += 1 if edge[0] == "/*" else -1
        if not depth:
            return place + edge.end()
    raise BundleError("schema.sql is cut short inside a comment")


def _after(sql: str, tag: str, place: int) -> int:
    end = sql.find(tag, place)
    if end < 0:
        raise BundleError("schema.sql is cut short inside a dollar-quoted text")
    return end + len(tag)
