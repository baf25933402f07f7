"""How do fields of COPY's text become numbers, days and moments? Loops for `postgres_kernels.py`.

Each takes the addresses of the data, of where its rows begin, of where the field before ends (0: there is none) and
where this one ends, then the first row and the one after the last; writes a value and a flag for each; gives how many
are NULL or odd. Odd is whatever is not in the form that the server writes, or that the type cannot hold.
"""

import numpy as np

from reversible.fingerprint.kernels_memory import counts_at, flags_at, ints_at, part, read64
from reversible_exporters.postgres_kernels_memory import borders, is_null
from reversible_exporters.postgres_loops import NULL, ODD, VALUE

_MINUS, _PLUS, _POINT, _ZERO, _COLON, _SPACE = 45, 43, 46, 48, 58, 32
_ZEROS, _TOPS = np.uint64(0x3030303030303030), np.uint64(0x8080808080808080)
_BEYOND_NINE = np.uint64(0x7676767676767676)  # sets the top bit of each byte from 10 to 127
_MOST_DIGITS = 18  # of a number that an int64 holds whatever its digits are
_DASHES_AT, _DASHES = np.uint64(0xFF0000FF00000000), np.uint64(0x2D00002D00000000)
_YEAR_AT, _MONTH_AT = np.uint64(0x00000000FFFFFFFF), np.uint64(0x0000FFFF00000000)
_NO_DAY = -(1 << 40)
_NOTHING, _ONE = np.uint64(0), np.uint64(1)
_2, _3, _4, _5, _6, _8, _9, _11, _12 = (np.uint64(n) for n in (2, 3, 4, 5, 6, 8, 9, 11, 12))
_28, _29, _30, _31, _48, _56, _100, _153 = (np.uint64(n) for n in (28, 29, 30, 31, 48, 56, 100, 153))
_365, _400, _10000 = np.uint64(365), np.uint64(400), np.uint64(10_000)


@part
def _eight(data, at, count):  # type: ignore[no-untyped-def]
    """The number in 1 to 8 digits; -1 when there are other bytes among them."""
    spare = np.uint64(8 * count - 8)
    return _number(read64(data + at) << (_56 - spare) | _ZEROS >> spare >> np.uint64(8))


@part
def _number(word):  # type: ignore[no-untyped-def]
    """The number in eight digits, the first one in the lowest byte; -1 when there are other bytes among them.

    Source: J. Abela, W. Mula and D. Lemire, "Quickly parsing eight digits" (2018): three multiplications.
    """
    word ^= _ZEROS
    if ((word + _BEYOND_NINE) | word) & _TOPS != _NOTHING:
        return np.int64(-1)
    word = (word * np.uint64(2561)) >> np.uint64(8)
    word = ((word & np.uint64(0x00FF00FF00FF00FF)) * np.uint64(6553601)) >> np.uint64(16)
    return np.int64(((word & np.uint64(0x0000FFFF0000FFFF)) * np.uint64(42949672960001)) >> np.uint64(32))


@part
def _digits(data, at, end):  # type: ignore[no-untyped-def]
    """The number in 1 to 18 digits; -1 when there are none, more, or other bytes. May read seven bytes beyond."""
    count = end - at
    if count <= 0 or count > _MOST_DIGITS:
        return np.int64(-1)
    if count <= 8:
        return _eight(data, at, count)
    last = _eight(data, end - 8, np.int64(8))
    if count <= 16:
        first = _eight(data, at, count - 8)
        return np.int64(-1) if first < 0 or last < 0 else first * 100000000 + last
    first, middle = _eight(data, at, count - 16), _eight(data, end - 16, np.int64(8))
    if first < 0 or middle < 0 or last < 0:
        return np.int64(-1)
    return (first * 100000000 + middle) * 100000000 + last


@part
def _large(data, at, end):  # type: ignore[no-untyped-def]
    """The number in 19 digits; -1 when an int64 does not hold it, or there are other bytes."""
    first, last = _digits(data, at, at + 1), _digits(data, at + 1, end)
    if first < 0 or last < 0:
        return np.int64(-1)
    if first == 9 and last > np.int64(223372036854775807):
        return np.int64(-1)
    return first * np.int64(1000000000000000000) + last


@part
def integers(data, starts, before, ends, first_row, end_row, out, low, high, flags):  # type: ignore[no-untyped-def]
    """Whole numbers from `low` to `high` as int64; gives how many are NULL or odd."""
    bytes_, value, flag = flags_at(data), counts_at(out), flags_at(flags)
    begin, end, skip = borders(starts, before, ends)
    missing = 0
    for row in range(first_row, end_row):
        at, to = begin[row] + skip, np.int64(end[row])
        value[row] = 0
        flag[row] = VALUE
        if is_null(bytes_, at, to):
            flag[row] = NULL
            missing += 1
            continue
        negative = bytes_[at] == _MINUS and to > at
        first = at + 1 if negative else at
        number = _large(data, first, to) if to - first == _MOST_DIGITS + 1 else _digits(data, first, to)
        found = -number if negative else number
        if number < 0 or found < low or found > high:
            flag[row] = ODD
            missing += 1
            continue
        value[row] = found
    return missing


@part
def decimals(data, starts, before, ends, first_row, end_row, out, scale, most, flags):  # type: ignore[no-untyped-def]
    """Decimals with `scale` places as int128, from -`most` to `most` times 10**-scale; gives how many are NULL or odd.

    `most` has up to 18 digits.
    """
    bytes_, value, flag = flags_at(data), counts_at(out), flags_at(flags)
    begin, end, skip = borders(starts, before, ends)
    missing = 0
    for row in range(first_row, end_row):
        at, to = begin[row] + skip, np.int64(end[row])
        value[2 * row] = 0
        value[2 * row + 1] = 0
        flag[row] = VALUE
        if is_null(bytes_, at, to):
            flag[row] = NULL
            missing += 1
            continue
        negative = bytes_[at] == _MINUS and to > at
        first = at + 1 if negative else at
        number = np.int64(-1)
        if scale == 0:
            number = _digits(data, first, to)
        elif to - first >= scale + 2 and bytes_[to - scale - 1] == _POINT:
            point = to - scale - 1
            whole, places = _digits(data, first, point), _digits(data, point + 1, to)
            if places >= 0 and (whole == 0 or (whole > 0 and point - first + scale <= _MOST_DIGITS)):
                number = places
                for _ in range(scale):
                    whole *= 10
                number += whole
        if number < 0 or number > most:
            flag[row] = ODD
            missing += 1
            continue
        if negative:
            number = -number
        value[2 * row] = number
        value[2 * row + 1] = number >> 63
    return missing


# --- days -------------------------------------------------------------------------------------------------------


@part
def _day(data, at):  # type: ignore[no-untyped-def]
    """The days since 1970-01-01 of ten bytes, "2026-11-26"; `_NO_DAY` when they are no day of years 1 to 9999.

    Source: H. Hinnant, "chrono-Compatible Low-Level Date Algorithms", days_from_civil.
    """
    word = read64(data + at)
    if word & _DASHES_AT != _DASHES:
        return np.int64(_NO_DAY)
    digits = word & _YEAR_AT | word >> np.uint64(8) & _MONTH_AT | read64(data + at + 8) << np.uint64(48)
    number = _number(digits)
    if number < 0:
        return np.int64(_NO_DAY)
    number = np.uint64(number)
    year, month, day = number // _10000, number // _100 % _100, number % _100
    if year == _NOTHING or month == _NOTHING or month > _12 or day == _NOTHING:
        return np.int64(_NO_DAY)
    if day > _28:
        most = _31
        if month == _2:
            leap = year % _4 == _NOTHING and (year % _100 != _NOTHING or year % _400 == _NOTHING)
            most = _29 if leap else _28
        elif month in (_4, _6, _9, _11):
            most = _30
        if day > most:
            return np.int64(_NO_DAY)
    if month <= _2:
        year, month = year - _ONE, month + _12
    before = year * _365 + year // _4 - year // _100 + year // _400 + (_153 * (month - _3) + _2) // _5 + day
    return np.int64(before) - 719469


@part
def dates(data, starts, before, ends, first_row, end_row, out, flags):  # type: ignore[no-untyped-def]
    """Days as int32 since 1970-01-01; gives how many are NULL or odd."""
    bytes_, value, flag = flags_at(data), ints_at(out), flags_at(flags)
    begin, end, skip = borders(starts, before, ends)
    missing = 0
    for row in range(first_row, end_row):
        at, to = begin[row] + skip, np.int64(end[row])
        value[row] = 0
        flag[row] = VALUE
        if is_null(bytes_, at, to):
            flag[row] = NULL
            missing += 1
            continue
        day = _day(data, at) if to - at == 10 else np.int64(_NO_DAY)
        if day == _NO_DAY:
            flag[row] = ODD
            missing += 1
            continue
        value[row] = day
    return missing


@part
def timestamps(data, starts, before, ends, first_row, end_row, out, zoned, flags):  # type: ignore[no-untyped-def]
    """Microseconds as int64 since 1970-01-01 00:00, of "2026-11-26 23:59:59.123456"; `zoned`: with "+00" at its end.

    Gives how many are NULL or odd.
    """
    bytes_, value, flag = flags_at(data), counts_at(out), flags_at(flags)
    begin, end, skip = borders(starts, before, ends)
    missing = 0
    for row in range(first_row, end_row):
        at, to = begin[row] + skip, np.int64(end[row])
        value[row] = 0
        flag[row] = VALUE
        if is_null(bytes_, at, to):
            flag[row] = NULL
            missing += 1
            continue
        good = True
        if zoned != 0:
            to -= 3
            good = to > at and bytes_[to] == _PLUS and bytes_[to + 1] == _ZERO and bytes_[to + 2] == _ZERO
        length = to - at
        good = good and (length == 19 or (length > 20 and length <= 26 and bytes_[at + 19] == _POINT))
        if good:
            day = _day(data, at)
            hour, minute = _digits(data, at + 11, at + 13), _digits(data, at + 14, at + 16)
            second = _digits(data, at + 17, at + 19)
            good = day != _NO_DAY and bytes_[at + 10] == _SPACE and bytes_[at + 13] == _COLON
            good = good and bytes_[at + 16] == _COLON
            good = good and min(hour, minute, second) >= 0 and hour < 24 and max(minute, second) < 60
            micros = np.int64(0)
            if length > 19:
                micros = _digits(data, at + 20, to)
                good = good and micros >= 0
                for _ in range(26 - length):
                    micros *= 10
            if good:
                value[row] = (((day * 24 + hour) * 60 + minute) * 60 + second) * 1000000 + micros
        if not good:
            flag[row] = ODD
            missing += 1
    return missing
