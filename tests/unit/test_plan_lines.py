"""The line of every key: the scanner agrees with tomllib about what is there, and with the writer about where."""

import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reversible.plan.places import KeyPath, Places

TABLES = """\
version = 1            # line 1

[a]
b.c = 1
"d.e" = 'x'
'f' = [1,
  # a comment, with ] and "
  { g = 2, h.i = [3] },
  "]", ]
j = \"\"\"
k = 1
[l]
\\\"\"\"\"\"\"
m = '''
[n]'''

[[a.o]]
p = 1
[a.o.q]
r = 1
[[a.o]]
[a.o.q]
r = 1
[[a.o.s]]
t = "\\""
[ "u" . 'v' ]
w = 1979-05-27 07:32:00
"""


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("version",), 1),
        (("a",), 3),
        (("a", "b"), 4),
        (("a", "b", "c"), 4),
        (("a", "d.e"), 5),
        (("a", "f"), 6),
        (("a", "f", 0), 6),
        (("a", "f", 1), 8),
        (("a", "f", 1, "g"), 8),
        (("a", "f", 1, "h", "i", 0), 8),
        (("a", "f", 2), 9),
        (("a", "j"), 10),
        (("a", "m"), 14),
        (("a", "o"), 17),
        (("a", "o", 0, "p"), 18),
        (("a", "o", 0, "q"), 19),
        (("a", "o", 1), 21),
        (("a", "o", 1, "q", "r"), 23),
        (("a", "o", 1, "s", 0, "t"), 25),
        (("u",), 26),
        (("u", "v", "w"), 27),
    ],
)
def test_every_way_to_write_a_key_has_its_line(path: KeyPath, line: int) -> None:
    assert Places(TABLES).line(path) == line


@pytest.mark.parametrize(
    ("path", "line"),
    [(("a", "gone"), 3), (("a", "o", 1, "q", "gone", "too"), 22), (("gone",), 1), ((), 1)],
)
def test_a_key_that_is_not_written_has_the_line_of_the_table_around_it(path: KeyPath, line: int) -> None:
    assert Places(TABLES).line(path) == line


def test_windows_line_ends_count_once() -> None:
    assert Places("a = 1\r\n\r\n[b]\r\nc = 2\r\n").line(("b", "c")) == 4


keys = st.one_of(st.sampled_from(["a", "b", "c-1", "0"]), st.text(max_size=6))
NUMBERS = ["1", "-2.5e3", "true", "nan", "0x1F", "1979-05-27T07:32:00Z", "07:32:00"]
TEXTS = ['"x"', "'y # ]'", '"\\" ]"', "''", '""', '""""""', '"""\n#"\n"""', "'''\n[x]\n'''"]
LONG_ENDS = ['"""a""""', "''''b'''", '"""\\\n  c\\""""']
scalars = st.sampled_from([*NUMBERS, *TEXTS, *LONG_ENDS])
gaps = st.sampled_from(["", " ", "\n", " # ], }\n", "\n\n\t", "#\n#'''\n"])


@st.composite
def quoted(draw: st.DrawFn, key: str) -> str:
    if draw(st.booleans()) and key.isascii() and key.replace("-", "").isalnum():
        return key
    if draw(st.booleans()) and key.isprintable() and "'" not in key:
        return f"'{key}'"
    return '"' + "".join(f"\\U{ord(c):08x}" if not c.isalnum() else c for c in key) + '"'


@st.composite
def values(draw: st.DrawFn, depth: int = 2) -> str:
    shape = draw(st.sampled_from(["scalar", "array", "table"] if depth else ["scalar"]))
    if shape == "array":
        items = draw(st.lists(values(depth - 1), max_size=3))
        body = "".join(f"{draw(gaps)}{item}{draw(gaps)}," for item in items)
        return f"[{body}{draw(gaps)}]"
    if shape == "table":
        names = draw(st.lists(keys, max_size=3, unique=True))
        return "{" + ", ".join(f"{draw(quoted(n))} = {draw(values(depth - 1))}" for n in names) + "}"
    return draw(scalars)


@st.composite
def documents(draw: st.DrawFn) -> tuple[str, dict[KeyPath, int]]:
    """A TOML text, and the line at which each key of its tables was written."""
    text = ""
    lines: dict[KeyPath, int] = {}
    names: list[str] = draw(st.lists(keys, max_size=3, unique=True))
    tables: list[KeyPath] = [(), *((name,) for name in names)]
    for table in tables:
        text += draw(gaps).replace(" ", "") + "\n"
        repeat = draw(st.integers(0, 3)) if table else 0
        for turn in range(max(1, repeat)):
            path: KeyPath = (*table, turn) if repeat else table
            if table:
                name = draw(quoted(str(table[0])))
                lines[path] = text.count("\n") + 1
                text += (f"[[ {name} ]]" if repeat else f"[{name}]") + draw(st.sampled_from(["\n", " # [x]\n"]))
            others = {str(one[0]) for one in tables if one}
            for key in draw(st.lists(keys, max_size=3, unique=True)):
                if path or key not in others:
                    dotted = draw(st.lists(st.sampled_from(["x", "y"]), max_size=2))
                    place: KeyPath = (*path, key, *dotted)
                    lines[place] = text.count("\n") + 1
                    name = " . ".join([draw(quoted(key)), *dotted])
                    text += f"{name} = {draw(values())}\n"
    return text, lines


def paths(value: Any, path: KeyPath = ()) -> Iterator[KeyPath]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield (*path, key)
        yield from paths(one, (*path, key))


@given(documents())
@example(('a = """"""\nb = [""""x""""]\n', {("a",): 1, ("b",): 2}))
def test_the_scanner_finds_the_keys_that_tomllib_finds_each_on_its_line(case: tuple[str, dict[KeyPath, int]]) -> None:
    text, lines = case

    places = Places(text)

    assert set(places) == set(paths(tomllib.loads(text)))
    assert {path: places.line(path) for path in lines} == lines


@given(st.text(alphabet="ab.=[]{}\"'\\# \n,1", max_size=40))
def test_on_any_text_the_scanner_ends_and_agrees_where_tomllib_reads_it(text: str) -> None:
    places = Places(text)

    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    assert set(places) == set(paths(document))
    assert all(1 <= places.line(path) <= text.count("\n") + 1 for path in places)
