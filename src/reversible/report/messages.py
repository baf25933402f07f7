"""How is it said in French and in English?

English sentences are the keys: `locale/fr.po` translates them, `locale/en.po` holds what English itself needs
(plurals, names of metrics and units). Both are read as they stand, so that there is nothing to compile. Numbers and
dates are written by fixed patterns, so that two machines write the same bytes.
"""

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from importlib import resources
from typing import Any, NamedTuple

from reversible.findings import Scalar
from reversible.report.visible import visible

LANGUAGES = ("fr", "en")
NARROW, WIDE = "\u202f", "\u00a0"  # no-break spaces: thin and normal
_NAME = re.compile(r"\{([a-z_][a-z0-9_]*)\}")
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_GROUP = {"fr": NARROW, "en": ","}
_SECONDS = {"days": 86_400, "hours": 3_600}
_COMMA = {"fr": ",", "en": "."}

Forms = tuple[str, ...]  # one form, or singular and plural


class Key(NamedTuple):
    """A message's key: what it is about ("metric", "unit", or "" for a sentence), and the English."""

    context: str
    text: str


class Translator:
    """Says things in one language.

    Raises:
        ValueError: there is no catalogue for the language.
    """

    def __init__(self, lang: str) -> None:
        if lang not in LANGUAGES:
            raise ValueError(f"no catalogue for {lang!r}; there are: {', '.join(LANGUAGES)}")
        self.lang = lang
        self._messages = catalogue(lang)

    def knows(self, template: str, context: str = "") -> bool:
        """Whether the sentence can be said in this language; English always can."""
        return self.lang == "en" or Key(context, template) in self._messages

    def holds(self, context: str, text: str) -> bool:
        """Whether the catalogue itself holds it: only then are the words ours, whoever wrote the document."""
        return Key(context, text) in self._messages

    def text(self, template: str, facts: Mapping[str, Any] | None = None, **more: Any) -> str:
        """Translate an English template, then fill its {names}; the fact `n` chooses the plural.

        A template without translation stays English, a name without fact stays as it is: neither hides anything.
        """
        return self._say(Key("", template), {**(facts or {}), **more})

    def label(self, context: str, name: str) -> str:
        """The name of a metric, a unit, a phase ...; the identifier itself when it has no name."""
        return self._say(Key(context, name), {})

    def value(self, value: Any, unit: str = "") -> str:
        """A measured value with its unit: "100 %", "30 days", "yes"."""
        if value is None:
            return self.text("not recorded")
        if isinstance(value, bool):
            return self.scalar(value)
        if isinstance(value, (list, tuple)):
            return ", ".join(visible(str(one)) for one in value) or self.text("none")
        if unit in _SECONDS and isinstance(value, float) and 0 < value < 1:
            return self.duration(value * _SECONDS[unit])
        if isinstance(value, str) or Key("unit", unit) not in self._messages:
            return self.scalar(value)
        return self._say(Key("unit", unit), {"n": value})

    def scalar(self, value: Scalar) -> str:
        if isinstance(value, bool):
            return self.text("yes") if value else self.text("no")
        return visible(value) if isinstance(value, str) else self.number(value)

    def number(self, value: float) -> str:
        """Six significant digits: "1 234,5" or "1,234.5"; "1.2 × 10⁻⁷" when very small or very large."""
        if isinstance(value, int):
            return f"{value:,}".replace(",", _GROUP[self.lang]).replace("-", "−")
        if math.isnan(value):
            return "NaN"
        if math.isinf(value):
            return "∞" if value > 0 else "−∞"
        if value == 0:
            return "0"
        if not 1e-4 <= abs(value) < 1e15:
            mantissa, _, power = f"{value:.2e}".partition("e")
            shown = mantissa.rstrip("0").rstrip(".").replace(".", _COMMA[self.lang]).replace("-", "−")
            return f"{shown}{WIDE}×{WIDE}10{str(int(power)).translate(_SUPERSCRIPT)}"
        whole, _, rest = f"{abs(Decimal(f'{value:.6g}')):f}".partition(".")
        rest = rest.rstrip("0")
        sign = "−" if value < 0 else ""
        return (
            f"{sign}{self.number(int(whole))}{_COMMA[self.lang]}{rest}" if rest else f"{sign}{self.number(int(whole))}"
        )

    def size(self, size_bytes: int) -> str:
        """Bytes, in the decimal multiples that providers bill in."""
        units = ("o", "ko", "Mo", "Go", "To", "Po") if self.lang == "fr" else ("B", "kB", "MB", "GB", "TB", "PB")
        amount, step = float(size_bytes), 0
        while amount >= 1000 and step < len(units) - 1:
            amount, step = amount / 1000, step + 1
        shown = self.number(size_bytes if step == 0 else float(f"{amount:.3g}"))
        return f"{shown}{WIDE}{units[step]}"

    def duration(self, seconds: float) -> str:
        """Seconds in the two largest units that say something: "3.2 s", "4 min 05 s", "2 h 10 min", "3 d 4 h"."""
        if seconds < 60:
            return f"{self.number(float(f'{seconds:.3g}'))}{WIDE}s"
        minutes, left = divmod(round(seconds), 60)
        if minutes < 60:
            return f"{minutes}{WIDE}min{WIDE}{left:02d}{WIDE}s"
        hours, minutes = divmod(minutes, 60)
        if hours < 48:
            return f"{hours}{WIDE}h{WIDE}{minutes:02d}{WIDE}min"
        days, hours = divmod(hours, 24)
        return f"{self.number(days)}{WIDE}{'j' if self.lang == 'fr' else 'd'}{WIDE}{hours}{WIDE}h"

    def moment(self, iso: str) -> str:
        """An ISO time as a date and a time in UTC; what is not one is given back as it came."""
        from babel.dates import format_datetime

        at = _parse(iso)
        if at is None:
            return iso
        return f"{format_datetime(at, 'd MMMM y, HH:mm:ss', tzinfo=UTC, locale=self.lang)} UTC".replace(" ", WIDE)

    def day(self, iso: str) -> str:
        """An ISO date or time as a date; what is not one is given back as it came."""
        from babel.dates import format_date

        at = _parse(iso)
        return iso if at is None else format_date(at, "d MMMM y", locale=self.lang).replace(" ", WIDE)

    def catalogue_text(self, words: str) -> str:
        """A sentence of the clause catalogue, with this language's typography."""
        return typeset(words, self.lang)

    def _say(self, key: Key, facts: Mapping[str, Any]) -> str:
        forms = self._messages.get(key) or (typeset(key.text, "en"),)
        template = forms[-1] if len(forms) == 1 else forms[self._plural(facts.get("n"))]
        return _NAME.sub(lambda found: self._fact(found, facts), template)

    def _plural(self, n: Any) -> int:
        if isinstance(n, bool) or not isinstance(n, (int, float)):
            return 1
        return int(abs(n) >= 2) if self.lang == "fr" else int(n != 1)

    def _fact(self, found: re.Match[str], facts: Mapping[str, Any]) -> str:
        name = found.group(1)
        if name not in facts:
            return found.group(0)
        value = facts[name]
        if isinstance(value, str) and name.endswith("_at"):
            return self.moment(value)
        return self.value(value)


@cache
def catalogue(lang: str) -> Mapping[Key, Forms]:
    """The messages of `locale/LANG.po`; a fuzzy or an empty one counts as missing."""
    from babel.messages.pofile import read_po

    with resources.files(__package__).joinpath(f"locale/{lang}.po").open("rb") as file:
        found = read_po(file, locale=lang, abort_invalid=True)
    messages: dict[Key, Forms] = {}
    for message in found:
        text = message.id if isinstance(message.id, str) else message.id[0]
        forms = (message.string,) if isinstance(message.string, str) else tuple(message.string or ())
        said = tuple(typeset(form, lang) for form in forms)
        if text and not message.fuzzy and said and all(said):
            messages[Key(message.context or "", text)] = said
    return messages


def typeset(text: str, lang: str) -> str:
    """Curly apostrophes; in French also no-break spaces before ; : ! ? % and inside guillemets."""
    text = re.sub(r"(?<=\w)'(?=\w)", "’", text)
    if lang == "fr":
        text = re.sub(r" ([;!?%])", rf"{NARROW}\1", text)
        text = re.sub(r" ([:»])", rf"{WIDE}\1", text)
        text = re.sub(r"« ", f"«{WIDE}", text)
    return text.replace("{n} ", f"{{n}}{WIDE}")


def _parse(iso: str) -> datetime | None:
    try:
        at = datetime.fromisoformat(iso)
    except ValueError:
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)
