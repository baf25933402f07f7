"""Names are read from statements, not from comments, and a script that is cut short is refused."""

from collections import Counter

import pytest

from reversible_verifiers import sql_statements
from reversible_verifiers.sql_statements import Unbalanced

CASES = [
    ('CREATE TABLE s.t (id integer, "A;b" text DEFAULT \';\');',
     {"table": [("s", "t")], "default": [("s", "t", "A;b")]}),
    ("CREATE TABLE s.t (a int CONSTRAINT x CHECK (a > 0), CONSTRAINT y NOT NULL a);",
     {"table": [("s", "t")], "constraint": [("s", "t", "x")]}),
    ("CREATE TABLE s.t (a int GENERATED ALWAYS AS (1 + 1) STORED, b int GENERATED ALWAYS AS IDENTITY);",
     {"table": [("s", "t")], "default": [("s", "t", "a")]}),
    ("CREATE UNIQUE INDEX i ON ONLY s.t USING btree (a);", {"index": [("s", "i")]}),
    ("CREATE FUNCTION s.f() RETURNS int LANGUAGE sql AS $x$ SELECT ';$$'; $x$;", {"function": [("s", "f")]}),
    ("CREATE FUNCTION s.f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 2; END;",
     {"function": [("s", "f")]}),
    ("ALTER TABLE ONLY s.t ADD CONSTRAINT k PRIMARY KEY (id);", {"constraint": [("s", "t", "k")]}),
    ("ALTER TABLE s.t ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (SEQUENCE NAME s.q START WITH 1);",
     {"sequence": [("s", "q")]}),
    ("COMMENT ON COLUMN s.t.a IS 'it''s; -- no comment';", {"comment": [("s", "t", "a")]}),
    ("COMMENT ON CONSTRAINT k ON DOMAIN s.d IS 'x';", {"comment": [("s", "d", "k")]}),
    ("CREATE TRIGGER g BEFORE UPDATE OF a ON s.t FOR EACH ROW EXECUTE FUNCTION s.f();", {"trigger": [("s", "t", "g")]}),
    ("-- CREATE TABLE s.t (a int);\n/* CREATE /* nested */ VIEW s.v */ SET x = 1;", {}),
    ("\\restrict key\nCREATE SCHEMA \"É\";\n\\unrestrict key\n", {"schema": [("É",)]}),
    ("GRANT SELECT ON TABLE s.t TO a; GRANT a TO b;", {"grant": [("s", "t")]}),
    ("COMMENT ON FUNCTION s.f(integer) IS E'\\'; CREATE VIEW s.v AS';", {"comment": [("s", "f")]}),
]  # fmt: skip


@pytest.mark.parametrize(("sql", "expected"), CASES)
def test_names_are_read_from_statements(sql: str, expected: dict[str, list[tuple[str, ...]]]) -> None:
    found = sql_statements.created(sql)

    assert found == {kind: Counter(names) for kind, names in expected.items()}


@pytest.mark.parametrize(
    "sql", ["CREATE TABLE s.t (a int;", "SELECT 'x;", 'SELECT "x', "SELECT $$ x", "/* x", "SELECT 1"]
)
def test_a_script_that_is_cut_short_is_refused(sql: str) -> None:
    with pytest.raises(Unbalanced):
        list(sql_statements.statements(sql))


def test_what_is_missing_is_counted_with_its_multiplicity() -> None:
    expected = {"function": Counter({("s", "f"): 2}), "view": Counter({("s", "v"): 1})}
    found = {"function": Counter({("s", "f"): 1}), "view": Counter({("s", "v"): 1})}

    assert sql_statements.missing(expected, found) == {"function": [("s", "f")]}
