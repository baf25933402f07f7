"""Which Arrow types may hold a MySQL or MariaDB type? docs/type-mapping.md shows this table."""

import re

_TEXT = frozenset({"string", "large_string"})
_SIGNED = {
    "tinyint": {"int8", "int16", "int32", "int64"},
    "smallint": {"int16", "int32", "int64"},
    "mediumint": {"int32", "int64"},
    "int": {"int32", "int64"},
    "bigint": {"int64"},
}
_UNSIGNED = {
    "tinyint": {"int16", "int32", "int64"},
    "smallint": {"int32", "int64"},
    "mediumint": {"int32", "int64"},
    "int": {"int64"},
    "bigint": {"decimal128(20, 0)"},
}
_BINARY = {"binary", "large_binary"}
_OTHERS = {
    "year": {"int16", "int32", "int64"},
    "float": {"float", "double"},
    "double": {"double"},
    "date": {"date32[day]"},
    "time": {"time64[us]"},
    "datetime": {"timestamp[us]"},
    "timestamp": {"timestamp[us, tz=UTC]"},
    **dict.fromkeys(
        (
            "binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob", "vector", "geometry", "point",
            "linestring", "polygon", "multipoint", "multilinestring", "multipolygon", "geometrycollection",
            "geomcollection",
        ),
        _BINARY,
    ),
}  # fmt: skip


def permitted(source_type: str) -> frozenset[str]:
    """The Arrow types that hold every value of it; text always does, since the server's own text is exact."""
    match = re.fullmatch(r"([a-z]+)(?:\((.*)\))?( unsigned)?( zerofill)?(?: /\*.*\*/)?", source_type, re.DOTALL)
    if match is None:
        return _TEXT
    base, inside, unsigned = match[1], match[2], match[3]
    if base == "decimal" and inside:
        precision, _, scale = inside.partition(",")
        return _TEXT | {f"decimal128({precision}, {scale})"}
    if base == "bit":
        return _TEXT | {"decimal128(20, 0)" if inside == "64" else "int64"}
    integers = (_UNSIGNED if unsigned else _SIGNED).get(base, set())
    return _TEXT | integers | _OTHERS.get(base, set())
