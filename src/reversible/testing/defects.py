"""Does a comparison find every defect of a known set, say where each is and of what kind, and nothing else?

`plant` makes the copy of a lineitem-like table with one hundred defects; `score` holds a comparison against them.
The counts leave the number of rows as it was: ten rows doubled, ten dropped.
"""

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from reversible.comparison.results import Difference

KEY = ("l_orderkey", "l_linenumber")
_NOTES = ("", None, "livré à l'étage", "fragile", "naïve 🙂")


@dataclass(frozen=True)
class Defect:
    """One planted defect. `column` is "" for whole rows; `kind` is what a comparison must call it."""

    kind: str
    key: tuple[int, ...]
    column: str = ""
    left: Any = None
    right: Any = None


def lineitem(rows: int, *, seed: int = 7) -> pa.Table:
    """A table of lineitem's shape, where no TPC-H generator is at hand."""
    random = np.random.default_rng(seed)

    def money(low: int, high: int) -> pa.Array:
        cents = random.integers(low, high, rows)
        return pc.multiply(pa.array(cents).cast(pa.decimal128(19, 0)), pa.scalar(Decimal("0.01"))).cast(
            pa.decimal128(15, 2)
        )

    def day(first: int) -> pa.Array:
        return pa.array(random.integers(first, first + 2500, rows).astype(np.int32)).cast(pa.date32())

    def one_of(*words: str) -> pa.Array:
        return pa.array(words).take(pa.array(random.integers(0, len(words), rows)))

    number = np.arange(rows)
    comments = [f"carefully final deposits {n} sleep {n * 7919 % 10007}" for n in number.tolist()]
    return pa.table(
        {
            "l_orderkey": pa.array(number // 4 * 8 + 1), "l_partkey": pa.array(random.integers(1, 200_000, rows)),
            "l_suppkey": pa.array(random.integers(1, 10_000, rows)),
            "l_linenumber": pa.array((number % 4 + 1).astype(np.int32)), "l_quantity": money(100, 5100),
            "l_extendedprice": money(90_000, 10_500_000), "l_discount": money(0, 11), "l_tax": money(0, 9),
            "l_returnflag": one_of("A", "N", "R"), "l_linestatus": one_of("F", "O"), "l_shipdate": day(8036),
            "l_commitdate": day(8036), "l_receiptdate": day(8036),
            "l_shipinstruct": one_of("DELIVER IN PERSON", "COLLECT COD", "NONE", "TAKE BACK RETURN"),
            "l_shipmode": one_of("AIR", "FOB", "MAIL", "RAIL", "SHIP"), "l_comment": pa.array(comments),
        }
    )  # fmt: skip


def enriched(table: pa.Table, *, seed: int = 11) -> pa.Table:
    """The table with what TPC-H lacks: a timestamp in microseconds, a double, a text with NULL, '' and accents."""
    random = np.random.default_rng(seed)
    rows = table.num_rows
    moments = 1_600_000_000_000_000 + random.integers(0, 10**14, rows)
    notes = pa.array(_NOTES).take(pa.array(random.integers(0, len(_NOTES), rows)))
    return (
        table.append_column("l_updated_at", pa.array(moments).cast(pa.timestamp("us")))
        .append_column("l_weight", pa.array(random.lognormal(0, 3, rows)))
        .append_column("l_note", notes)
    )


def plant(table: pa.Table, *, seed: int = 13) -> tuple[pa.Table, list[Defect]]:
    """The damaged copy, its rows shuffled and its columns permuted, and the hundred defects.

    20 decimals moved by 0.01, 15 timestamps by 1 us, 15 NULL and '' exchanged, 10 rows doubled, 10 dropped, 10 texts
    cut by a character, 5 with a trailing space, 15 doubles moved by one ULP. No two share a row.
    """
    random = np.random.default_rng(seed)
    note = table["l_note"].to_numpy(zero_copy_only=False)
    empty = np.flatnonzero(np.array([value is None or value == "" for value in note]))
    swapped = random.choice(empty, 15, replace=False)
    free = np.setdiff1d(random.choice(table.num_rows, 400, replace=False), swapped)
    random.shuffle(free)
    at = iter(free.tolist())
    found: list[Defect] = []
    columns = {name: table[name] for name in table.column_names}

    def change(kind: str, column: str, rows: Iterable[int], new: Any) -> None:
        chosen = sorted(rows)
        old = columns[column].take(pa.array(chosen)).to_pylist()
        values = [new(value, n) for n, value in enumerate(old)]
        mask = np.zeros(table.num_rows, np.bool_)
        mask[chosen] = True
        plain = columns[column].combine_chunks()
        columns[column] = pa.chunked_array(
            [pc.replace_with_mask(_plain(plain), pa.array(mask), _plain(pa.array(values, plain.type)))]
        )
        for row, left, right in zip(chosen, old, values, strict=True):
            found.append(Defect(kind, _key(table, row), column, left, right))

    def some(count: int) -> list[int]:
        return [next(at) for _ in range(count)]

    cent = Decimal("0.01")
    change("decimal", "l_extendedprice", some(20), lambda value, _: value + cent)
    microsecond = np.timedelta64(1, "us").item()
    change("microsecond", "l_updated_at", some(15), lambda value, n: value + microsecond * (1 if n % 2 else -1))
    change("null for empty", "l_note", swapped.tolist(), lambda value, _: "" if value is None else None)
    change("truncation", "l_comment", some(10), lambda value, _: value[:-1])
    change("trimming", "l_comment", some(5), lambda value, _: value + " ")
    change("ulp", "l_weight", some(15), lambda value, n: float(np.nextafter(value, np.inf if n % 2 else -np.inf)))
    doubled, dropped = some(10), some(10)
    found += [Defect("duplicate", _key(table, row)) for row in doubled]
    found += [Defect("missing", _key(table, row)) for row in dropped]
    order = np.concatenate([np.setdiff1d(np.arange(table.num_rows), dropped), doubled])
    random.shuffle(order)
    names = list(table.column_names)
    random.shuffle(names)
    indices = pa.array(order)
    return pa.table({name: columns[name].take(indices) for name in names}), found


def score(planted: Sequence[Defect], seen: Iterable[Difference]) -> dict[str, Any]:
    """How many planted defects were found at their place, classified, and how many others were claimed.

    Args:
        planted: What `plant` returned.
        seen: What the comparison lists; all of it, not a sample.

    Returns:
        A defect is found when its row and column are listed, localised when both values are right too, classified
        when the class is one that explains it.
    """
    wanted = {(one.key, one.column): one for one in planted}
    found: Counter[str] = Counter()
    localised = classified = false = 0
    for line in seen:
        key = tuple(line.row[name] for name in KEY)
        defect = wanted.pop((key, line.column), None)  # type: ignore[arg-type]
        if defect is None:
            false += 1
            continue
        found[defect.kind] += 1
        localised += _plain_value(defect.left) == line.left and _plain_value(defect.right) == line.right
        classified += str(line.explanation.kind) in _ACCEPTED[defect.kind]
    return {
        "planted": len(planted), "found": sum(found.values()), "localised": localised, "classified": classified,
        "false": false, "by_kind": dict(found), "missed": [str(one) for one in wanted.values()],
    }  # fmt: skip


def _plain_value(value: Any) -> Any:
    """A moment as `comparison` has it: microseconds since 1970."""
    if isinstance(value, dt.datetime):
        return (value - dt.datetime(1970, 1, 1)) // dt.timedelta(microseconds=1)  # noqa: DTZ001 - no zone in it
    return value


_ACCEPTED = {
    "decimal": {"off by a unit"}, "microsecond": {"off by a unit"},
    "null for empty": {"null for empty", "empty for null"},
    "truncation": {"truncation"}, "trimming": {"trimming"}, "ulp": {"ulp"}, "duplicate": {"duplicate row"},
    "missing": {"missing row"},
}  # fmt: skip


def _plain(values: pa.Array) -> pa.Array:
    return values.cast(pa.string()) if pa.types.is_string_view(values.type) else values


def _key(table: pa.Table, row: int) -> tuple[int, ...]:
    return tuple(int(table[name][row].as_py()) for name in KEY)
