"""Does the strict parser refuse all that two readers could read differently?"""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reversible.evidence import strict_json

REFUSED = {
    "a key twice": (b'{"a": 1, "a": 2}', "twice"),
    "a key twice, deep inside": (b'[{"b": {"a": 1, "a": 1}}]', "twice"),
    "a key twice, once escaped": (b'{"a": 1, "\\u0061": 2}', "twice"),
    "NaN": (b'{"a": NaN}', "NaN"),
    "infinity": (b"[Infinity]", "Infinity"),
    "minus infinity": (b"[-Infinity]", "-Infinity"),
    "a number beyond any float": (b"[1e999]", "larger"),
    "an integer without end": (b"[" + b"9" * 41 + b"]", "digits"),
    "a byte order mark": (b"\xef\xbb\xbf{}", "byte order mark"),
    "UTF-16": ("{}".encode("utf-16"), "UTF-8"),
    "broken UTF-8": (b'["\xc3\x28"]', "UTF-8"),
    "half a surrogate pair": (b'["\\ud800"]', "surrogate"),
    "half a surrogate pair in a key": (b'{"\\udc00": 1}', "surrogate"),
    "a raw half in UTF-8": (b'["\xed\xa0\x80"]', "UTF-8"),
    "deep nesting": (b"[" * 41 + b"]" * 41, "deeper"),
    "nesting that breaks a parser": (b"[" * 200_000, "deeper"),
    "two documents": (b"{}{}", "not JSON"),
    "a comment": (b"{} // a", "not JSON"),
    "a trailing comma": (b"[1,]", "not JSON"),
    "single quotes": (b"{'a': 1}", "not JSON"),
    "a raw line end in a text": (b'["a\nb"]', "not JSON"),
    "a leading zero": (b"[01]", "not JSON"),
    "nothing": (b"", "not JSON"),
}


@pytest.mark.parametrize(("content", "why"), REFUSED.values(), ids=REFUSED.keys())
def test_what_could_be_read_in_two_ways_is_refused(content: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        strict_json.parse(content)


def test_a_document_over_the_limit_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(ValueError, match="over 10 bytes"):
        strict_json.parse(b"[" * 11, limit=10)
    with pytest.raises(ValueError, match="over 10 bytes"):
        strict_json.parse_lines(b"1\n" * 6, limit=10)


def test_forty_levels_and_forty_digits_pass() -> None:
    assert strict_json.parse(b"[" * 40 + b"]" * 40)
    assert strict_json.parse(b"9" * 40) == int("9" * 40)


@pytest.mark.parametrize(
    ("content", "why"),
    [(b'{"a": 1}\n{"a": 2}', "cut short"), (b'{"a": 1}\n\n', "line 2"), (b"1\n[1,]\n", "line 2"), (b"\r\n", "line 1")],
)
def test_a_line_file_has_one_whole_value_a_line(content: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        strict_json.parse_lines(content)


texts = st.text(st.characters(exclude_categories=["Cs"]))
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**39), 10**39)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)


@given(json_values)
def test_what_we_write_is_read_back_the_same(value: object) -> None:
    assert strict_json.parse(strict_json.compact_bytes(value)) == value
    assert strict_json.parse_lines(strict_json.line_bytes([value, value])) == [value, value]


@given(st.binary(max_size=200))
def test_garbage_is_refused_or_read_as_the_standard_parser_reads_it(content: bytes) -> None:
    try:
        value = strict_json.parse(content)
    except ValueError:
        return
    assert json.loads(content) == value
