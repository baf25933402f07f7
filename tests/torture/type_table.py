"""Which PostgreSQL types, and which of their values, have been lost on some way out?

One readable table: each type as DDL writes it, its values as its input function reads them (None is NULL), and what
must be there first. `script` makes SQL of it: a table per type, with arrays of it beside its values.
"""

from collections.abc import Iterator
from dataclasses import dataclass

Value = str | None | tuple[str, int]  # (text, the first version that reads it)


@dataclass(frozen=True)
class Type:
    """A column type; `since` is the first version that has it; it needs an extension, or libxml."""

    ddl: str
    values: tuple[Value, ...]
    since: int = 13
    needs: str = ""
    array: str = ""  # the array's type where it is not DDL[]; "-" where there is none

    @property
    def slug(self) -> str:
        """The table's name: the type itself, quotes and all, because names must not matter."""
        return self.ddl

    def texts(self, major: int) -> list[str | None]:
        """The values that this version reads, NULL last."""
        known = [one[0] if isinstance(one, tuple) else one for one in self.values
                 if not isinstance(one, tuple) or one[1] <= major]  # fmt: skip
        return [*known, None]


EXTENSIONS = ("hstore", "ltree", "citext", "cube", "seg", "isn", "intarray", "vector", "lo")

SETUP = r"""
CREATE TYPE t.mood AS ENUM ('ok', 'mal', 'très "bien"', '', 'a,b', 'NULL', '{}');
CREATE TYPE t.point3 AS (x integer, "Y y" text, z numeric);
CREATE TYPE t.nest AS (p t.point3, ps t.point3[], m t.mood, at timestamptz);
CREATE TYPE t.one AS (a text);
CREATE DOMAIN t.positive AS numeric(12,3) CHECK (VALUE >= 0);
CREATE DOMAIN t.code AS t.positive;
CREATE DOMAIN t.word AS text CHECK (VALUE <> ';');
CREATE DOMAIN t.days AS date DEFAULT '2026-01-01';
CREATE DOMAIN t.list AS integer[] CHECK (array_ndims(VALUE) IS NULL OR array_ndims(VALUE) < 4);
CREATE DOMAIN t.triple AS t.point3;
CREATE DOMAIN t.raw AS bytea;
CREATE DOMAIN t.moods AS t.mood;
CREATE TYPE t.floatrange AS RANGE (subtype = float8);
CREATE TYPE t.textrange AS RANGE (subtype = text, collation = "C");
CREATE TYPE t.moodrange AS RANGE (subtype = t.mood);
CREATE FUNCTION t.f(integer, text) RETURNS integer LANGUAGE sql AS $$ SELECT $1 $$;
CREATE TABLE t."Or der""s" (id integer);
"""

_NUMBERS = ("0", "1", "-1")
_MOMENTS: tuple[Value, ...] = (
    "2026-11-24 10:00:00.000001", "infinity", "-infinity", "4713-01-01 00:00:00 BC", "294276-12-31 23:59:59.999999",
    "0001-01-01 00:00:00", "9999-12-31 23:59:59.999999", "10000-01-01 00:00:00", "1969-12-31 23:59:59.999999",
    "0001-12-31 23:59:59.999999 BC", "2026-10-25 02:30",
)  # fmt: skip
_RANGE = ("empty", "(,)")

TYPES: tuple[Type, ...] = (
    # numbers
    Type("smallint", (*_NUMBERS, "-32768", "32767")),
    Type("integer", (*_NUMBERS, "-2147483648", "2147483647")),
    Type("bigint", (*_NUMBERS, "-9223372036854775808", "9223372036854775807", "9007199254740993")),
    Type("oid", ("0", "1", "4294967295", "2147483648")),
    Type("real", ("0", "-0", "1e-45", "3.4028235e38", "16777217", "0.3", "NaN", "Infinity", "-Infinity",
                  "1.17549435e-38")),
    Type("double precision", ("0", "-0", "5e-324", "1.7976931348623157e308", "0.1", "0.30000000000000004", "NaN",
                              "Infinity", "-Infinity", "2.2250738585072014e-308", "9007199254740993", "1e23")),
    Type("numeric", ("0", "0.00", "1.10", "1.100", "NaN", ("Infinity", 14), ("-Infinity", 14), "1e-16383", "1e131071",
                     "123456789012345678901234567890.123456789012345678901234567890", "-0.0", "1e400")),
    Type("numeric(10,2)", ("0", "-99999999.99", "99999999.99", "NaN", "0.10", "0.01")),
    Type("numeric(18,0)", ("999999999999999999", "-999999999999999999", "NaN", "0")),
    Type("numeric(19,4)", ("999999999999999.9999", "-0.0001", "NaN", "0")),
    Type("numeric(38,8)", ("999999999999999999999999999999.99999999", "-0.00000001", "NaN", "0")),
    Type("numeric(38,38)", ("0.99999999999999999999999999999999999999", "-1e-38", "NaN", "0")),
    Type("numeric(39,2)", ("9999999999999999999999999999999999999.99", "-0.01", "NaN", "0")),
    Type("numeric(1000,500)", ("1e-500", "1e499", "NaN", "-1.5")),
    Type("numeric(5,-2)", ("99999", "-100", "NaN", "0"), since=15),
    Type("numeric(3,5)", ("0.00999", "-0.00001", "NaN", "0"), since=15),
    Type("money", ("-92233720368547758.08", "92233720368547758.07", "0", "-0.01", "1234567.89")),
    Type("boolean", ("true", "false")),
    # text
    Type("text", ("", " ", "NULL", r"\N", r"\.", '"', '""', "a\nb", "a\r\nb", "\t", ",", "'", "🙂🇫🇷", "e\u0301",
                  "\u0001\u001f\u007f", "\ufeffbom", "\u202e", "\\x00", "-0", "1e5", "NaN", "true", "2026-01-01",
                  "\n\\.\n")),
    Type("character varying", ("", "après ", "NULL", "\n")),
    Type("character varying(5)", ("", "éé🙂", "a    ", "\\.")),
    Type("character(5)", ("", "a", " a", "été", "a    ")),
    Type('"char"', ("", "a", "\\", "\t", '"', (r"\377", 16), "\x7f")),
    Type("name", ("", "NULL", "É", "x" * 63, "a b")),
    Type("bytea", (r"\x", r"\x00", r"\x0001feff0d0a", r"\x5c78", r"\x22")),
    # time
    Type("date", ("2026-11-24", "infinity", "-infinity", "4713-01-01 BC", "5874897-12-31", "0001-01-01", "9999-12-31",
                  "10000-01-01", "1969-12-31", "0001-12-31 BC", "2000-02-29")),
    Type("time", ("00:00", "24:00", "23:59:59.999999", "00:00:00.000001", "12:34:56.1")),
    Type("time(0)", ("00:00", "24:00", "12:34:56", "23:59:59.6")),
    Type("time(3)", ("00:00:00.001", "24:00", "12:34:56.1", "23:59:59.999")),
    Type("time with time zone", ("00:00Z", "24:00+14", "24:00-14", "23:59:59.999999-15:59", "01:02:03.4+05:30",
                                 "12:00+01:02:03")),
    Type("time(3) with time zone", ("00:00:00.001Z", "24:00+00", "12:34:56.1-03:30")),
    Type("timestamp", _MOMENTS),
    Type("timestamp(0)", ("2026-11-24 10:00", "infinity", "0044-03-15 12:00 BC", "9999-12-31 23:59:59")),
    Type("timestamp(3)", ("2026-11-24 10:00:00.123", "-infinity", "0001-01-01", "1969-12-31 23:59:59.999")),
    Type("timestamp with time zone", (*_MOMENTS, "2026-03-29 02:30:00+02", "2026-10-25 02:30:00+01")),
    Type("timestamp(0) with time zone", ("2026-11-24 10:00+01", "infinity", "0044-03-15 12:00+00 BC",
                                         "1800-01-01 12:00:01")),
    Type("interval", ("0", "1 mon 2 days 03:04:05.000006", "-178000000 years", "178000000 years", "1 mon -1 day",
                      "-00:00:00.000001", "720:00:00", "1 day", "24:00:00", "-1 mon +30 days", ("infinity", 17),
                      ("-infinity", 17), ("2562047788:00:54.775807", 15))),
    Type("interval year to month", ("1-2", "-1-2", "0")),
    Type("interval day to minute", ("1 02:03", "-1 02:03", "0")),
    Type("interval second(2)", ("1.23", "-0.01", "100000")),
    # identities, documents
    Type("uuid", ("00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff",
                  "123e4567-e89b-12d3-a456-426614174000")),
    Type("json", ('{"a" : 1,  "a":2}', "null", "123456789012345678901234567890.10", '{"big": 1e400}', '"\\u0001"', "[]",
                  ' "x" ', '{"a":\n1}', "-0")),
    Type("jsonb", ('{"a":1}', "null", "123456789012345678901234567890.10", '{"é": "\\u0001"}', "1.000", "-0.0", "[]",
                   '{"":{"":[]}}', "1e300", '"\\ud83d\\ude42"')),
    Type("jsonpath", ("$", "$.a", "strict $.\"a b\"[*] ? (@ > 1)", "$[last]", "1.5")),
    Type("xml", ("", "<a/>", "<a>é &amp; b</a>", "text", "<a/><b/>", "<a>\n</a>", '<?xml version="1.0"?><a/>',
                 "<!-- ; --><a b='\"'/>"), needs="libxml"),
    Type("bit", ("0", "1")),
    Type("bit(8)", ("00000000", "11111111", "10101010")),
    Type("bit(100)", ("1" * 100, "0" * 100)),
    Type("bit varying", ("", "0", "1", "0" * 65)),
    Type("bit varying(5)", ("", "0", "10101")),
    # network
    Type("inet", ("10.0.0.1", "10.0.0.1/8", "::1", "2001:db8::ff/64", "0.0.0.0/0", "::ffff:1.2.3.4", "10.0.0.1/32")),
    Type("cidr", ("10.0.0.0/8", "10.1.2.3/32", "::/0", "2001:db8::/32")),
    Type("macaddr", ("08:00:2b:01:02:03", "00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff")),
    Type("macaddr8", ("08:00:2b:01:02:03:04:05", "08:00:2b:01:02:03", "ff:ff:ff:ff:ff:ff:ff:ff")),
    # geometry
    Type("point", ("(1,2)", "(0,-0)", "(NaN,Infinity)", "(0.1,1e300)", "(5e-324,-1.7976931348623157e308)")),
    Type("line", ("{1,2,3}", "{0,1,-0.5}", "{1,0,0}")),
    Type("lseg", ("[(0,0),(1,1)]", "[(0.1,0),(0.1,0)]", "[(-0,NaN),(1,1)]")),
    Type("box", ("(1,1),(0,0)", "(0.1,0.2),(0.1,0.2)", "(Infinity,1),(-Infinity,0)"), array="box[]"),
    Type("path", ("[(0,0),(1,1)]", "((0,0),(1,1))", "((0.1,1e-300))")),
    Type("polygon", ("((0,0),(1,1),(1,0))", "((0.1,0.2))", "((0,0),(0,0))")),
    Type("circle", ("<(1,2),3>", "<(0,0),0>", "<(0.1,-0),1e300>")),
    # search
    Type("tsvector", ("", "a:1 b:2", "'a b':1A,3C 'c''d'", "'\\\\':1", "'é' 'z'")),
    Type("tsquery", ("", "a & b", "!a | ( b <-> c )", "'a b':*A", "a <3> b")),
    # ranges and multiranges
    Type("int4range", (*_RANGE, "[1,5)", "[1,1]", "(,5]", "[-2147483648,2147483647)")),
    Type("int8range", (*_RANGE, "[1,5)", "[9007199254740993,9007199254740995)")),
    Type("numrange", (*_RANGE, "[1.10,2.0]", "(1,)", "[NaN,NaN]")),
    Type("tsrange", (*_RANGE, "[2026-01-01,infinity)", '["0044-03-15 12:00:00 BC","2026-01-01 00:00:00.000001")')),
    Type("tstzrange", (*_RANGE, "[2026-01-01 00:00+01,)", "[-infinity,infinity]")),
    Type("daterange", (*_RANGE, "[2026-01-01,2026-01-01]", "[infinity,infinity]")),
    Type("t.floatrange", (*_RANGE, "[0.1,0.30000000000000004]", "[-0,NaN]")),
    Type("t.textrange", (*_RANGE, '["","a b"]', '["\\"",","]'.replace('"\\""', '"!"'), '["NULL",null]', '[a,"é,)"]')),
    Type("t.moodrange", (*_RANGE, "[ok,mal]", '["très \\"bien\\"",""]')),
    Type("int4multirange", ("{}", "{[1,2),[5,6)}", "{(,)}", "{[1,1]}"), since=14),
    Type("int8multirange", ("{}", "{[1,2),[9007199254740993,)}"), since=14),
    Type("nummultirange", ("{}", "{[1.10,2.0],(3,4)}"), since=14),
    Type("tsmultirange", ("{}", '{["2026-01-01 00:00","2026-01-02 00:00"),[2027-01-01,)}'), since=14),
    Type("tstzmultirange", ("{}", "{[2026-01-01 00:00+01,)}"), since=14),
    Type("datemultirange", ("{}", "{[2026-01-01,2026-01-02],(,1969-12-31)}"), since=14),
    Type("t.floatmultirange", ("{}", "{[0.1,0.2],[1,Infinity]}"), since=14),
    # the server's own
    Type("pg_lsn", ("0/0", "0/16AE7F8", "FFFFFFFF/FFFFFFFF")),
    Type("xid", ("0", "1", "4294967295")),
    Type("xid8", ("0", "18446744073709551615", "9223372036854775808")),
    Type("cid", ("0", "4294967295")),
    Type("tid", ("(0,0)", "(0,1)", "(4294967295,65535)")),
    Type("txid_snapshot", ("10:20:10,14,15", "1:1:", "10:20:")),
    Type("pg_snapshot", ("10:20:10,14,15", "1:1:", "10:20:")),
    Type("int2vector", ("", "1 2 3", "-32768 32767"), array="-"),
    Type("oidvector", ("", "1 2 3", "4294967295"), array="-"),
    Type("regclass", ("pg_catalog.pg_class", 't."Or der""s"', "0", "4294967295")),
    Type("regtype", ("integer", "t.mood", "integer[]", "t.point3", "0")),
    Type("regproc", ("t.f", "pg_catalog.now", "0", "-")),
    Type("regprocedure", ("t.f(integer,text)", "pg_catalog.sum(integer)", "0")),
    Type("regoper", ("pg_catalog.||/", "0")),
    Type("regoperator", ("+(integer,integer)", "-(NONE,integer)", "0")),
    Type("regnamespace", ("t", "pg_catalog", "0")),
    Type("regrole", ("postgres", "0")),
    Type("regcollation", ('"C"', "pg_catalog.\"default\"", "0")),
    Type("regconfig", ("pg_catalog.simple", "pg_catalog.french")),
    Type("regdictionary", ("pg_catalog.simple",)),
    Type("aclitem", ("postgres=r/postgres", "=U/postgres", "postgres=arwdDxt*/postgres")),
    Type("refcursor", ("", "c", '"')),
    # made by the user
    Type("t.mood", ("ok", "mal", 'très "bien"', "", "NULL", "{}", "a,b")),
    Type("t.positive", ("0", "999999999.999", "NaN")),
    Type("t.code", ("0.001", "NaN", "10")),
    Type("t.word", ("", "NULL", "é", "\n")),
    Type("t.days", ("infinity", "2026-11-24", "0044-03-15 BC")),
    Type("t.list", ("{}", "{1,NULL}", "[0:1]={1,2}", "{{1,2},{3,4}}")),
    Type("t.triple", ("(1,a,2)", '(,"",)')),
    Type("t.raw", (r"\x", r"\x00ff")),
    Type("t.moods", ("ok", "", "NULL")),
    Type("t.point3", ("(1,a,1.10)", "(,,)", '(,"",)', '(1,"a ""b"" \\\\ , ()",NaN)', '(1,"\n",1e400)')),
    Type("t.nest", ('("(1,a,2)","{""(1,b,3)"",NULL}",ok,infinity)', "(,,,)", '("(,,)",{},"","2026-01-01 00:00+01")')),
    Type("t.one", ("()", '("")', "(NULL)", '(" ")')),
    # arrays beyond those that every type above has
    Type("integer[]", ("{}", "{1,2,3}", "{NULL}", "[0:2]={7,8,NULL}", "{{1,2},{3,4}}", "[2:3][-1:0]={{1,2},{3,4}}"),
         array="-"),
    Type("text[]", ("{}", '{NULL,"NULL","","a,b","{}","\\"\\\\"}', '{{a,NULL},{"é","🙂"}}', '{" ","\n"}'), array="-"),
    Type("numeric[]", ("{}", "{1.10,NaN}", "{NULL,1e400}", "{1.100}"), array="-"),
    Type("date[]", ("{}", "{infinity,0044-03-15 BC}", "{NULL}"), array="-"),
    Type("bytea[]", ("{}", r'{"\\x00ff","\\x",NULL}'), array="-"),
    Type("boolean[]", ("{}", "{t,f,NULL}"), array="-"),
    Type("jsonb[]", ("{}", '{"{\\"a\\": 1.0}","null",NULL}'), array="-"),
    Type("integer[3][3]", ("{}", "{{{1}}}", "{{{{{{1}}}}}}"), array="-"),
    # extensions
    Type("hstore", ("", '"a"=>"1", "b"=>NULL', '"NULL"=>"NULL", ""=>""', '"a\\"b"=>"c,d=>e"'), needs="hstore"),
    Type("ltree", ("", "Top.Science", "a.b.c_1"), needs="ltree"),
    Type("lquery", ("*", "Top.*.!x|y{1,3}", "a@*"), needs="ltree"),
    Type("ltxtquery", ("a & b*@", "!x | y%"), needs="ltree"),
    Type("citext", ("", "Abc", "NULL", "ÉÉ"), needs="citext"),
    Type("cube", ("(1,2,3)", "(0),(1)", "(1e-300,0.1),(2,2)", "()"), needs="cube"),
    Type("seg", ("1.0", "1 .. 2", "~0.10", "<5.00", "1 .."), needs="seg"),
    Type("isbn", ("978-0-393-04002-9", "0-901690-54-6"), needs="isn"),
    Type("ean13", ("9780393040029", "978-0-11-000533-1"), needs="isn"),
    Type("query_int", ("1&2", "!(1|2)&3"), needs="intarray", array="query_int[]"),
    Type("vector", ("[1,2,3]", "[0.1,-0,1e-30]", "[3.4e38]"), needs="vector"),
    Type("vector(3)", ("[1,2,3]", "[0.3,16777217,-1e-38]"), needs="vector"),
    Type("halfvec", ("[1,2.5]", "[65504,-6e-08]"), needs="vector"),
    Type("sparsevec", ("{1:1.5,3:-2}/5", "{}/3"), needs="vector"),
    Type("lo", ("0", "4294967295"), needs="lo"),
)  # fmt: skip


def known(major: int, has: frozenset[str]) -> list[Type]:
    """The types that a server of this version has, with these extensions and perhaps libxml."""
    return [one for one in TYPES if one.since <= major and (not one.needs or one.needs in has)]


def script(types: list[Type], major: int, *, arrays: bool = True) -> Iterator[str]:
    """The SQL, one statement each: extensions, SETUP, a table per type: column v its values, column a arrays of it."""
    yield "CREATE SCHEMA t"
    for extension in sorted({one.needs for one in types} & set(EXTENSIONS)):
        yield f"CREATE EXTENSION {extension} WITH SCHEMA public"
    yield SETUP
    for one in types:
        name = _quoted(one.slug)
        array = f", a {one.array or one.ddl + '[]'}" if arrays and one.array != "-" else ""
        yield f"CREATE TABLE t.{name} (id integer PRIMARY KEY, v {one.ddl}{array})"
        for n, text in enumerate(one.texts(major), 1):
            yield f"INSERT INTO t.{name} VALUES ({n}, {'NULL' if text is None else _literal(text)})"  # noqa: S608
        if array:
            yield from _arrays(one, name)


def _arrays(one: Type, name: str) -> Iterator[str]:
    """None, nothing but NULL, NULL inside, another lower bound in two dimensions."""
    values = ["'{}'", "'{NULL}'"]
    if one.ddl != "t.list":  # an array of arrays is one array
        values.append(f"(SELECT array_agg(v ORDER BY id) FROM t.{name} WHERE id < 100)")  # noqa: S608
        values.append(f"array_fill((SELECT v FROM t.{name} ORDER BY id LIMIT 1), ARRAY[2, 2], ARRAY[-1, 3])")  # noqa: S608
    for n, value in enumerate(values, 101):
        yield f"INSERT INTO t.{name} (id, a) SELECT {n}, {value}"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "E'" + text.replace("\\", "\\\\").replace("'", "''") + "'"
