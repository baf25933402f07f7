"""How is a difference said, in the owner's names and language?"""

from collections.abc import Mapping

from reversible.comparison.classes import ROWS, Explanation, Kind, Plain
from reversible.comparison.results import ColumnSummary, Difference
from reversible.comparison.tables import shown

KINDS = {
    "en": {kind: str(kind) for kind in Kind} | {Kind.ULP: "last binary digits (ULP)", Kind.HOURS: "time zone"},
    "fr": {
        Kind.ROUNDING: "arrondi",
        Kind.TRUNCATION: "troncature",
        Kind.TRIMMING: "espaces au bord",
        Kind.NORMALISATION: "normalisation Unicode",
        Kind.NULL_FOR_EMPTY: "NULL au lieu du vide",
        Kind.EMPTY_FOR_NULL: "vide au lieu de NULL",
        Kind.NULL_FOR_NAN: "NULL au lieu de NaN",
        Kind.EXCEPTION_LOST: "valeur hors type perdue",
        Kind.NULL_FOR_VALUE: "NULL au lieu d’une valeur",
        Kind.VALUE_FOR_NULL: "valeur au lieu de NULL",
        Kind.CASE: "casse",
        Kind.HOURS: "fuseau horaire",
        Kind.DAY: "décalage d’un jour",
        Kind.SUB_SECOND: "fraction de seconde coupée",
        Kind.UNIT: "décalage d’une unité",
        Kind.ULP: "derniers chiffres binaires (ULP)",
        Kind.FLOAT: "passage par un flottant",
        Kind.ORDER: "tableau réordonné",
        Kind.MOJIBAKE: "mauvais encodage",
        Kind.ZERO: "signe du zéro",
        Kind.ZEROS: "zéros finaux",
        Kind.OVERFLOW: "débordement",
        Kind.INVERTED: "inversion",
        Kind.SWAPPED: "colonnes échangées",
        Kind.DUPLICATE: "ligne en double",
        Kind.MISSING: "ligne absente",
        Kind.EXTRA: "ligne en trop",
        Kind.TYPE: "autre type",
        Kind.OTHER: "autre",
    },
}


def said(one: Explanation, lang: str = "en", *, form: str = "{} ({})") -> str:
    """ "time zone +1 h", "truncation (-1 character)"; `form` puts the two together."""
    name, detail = KINDS[lang][one.kind], one.detail
    if lang == "fr":
        for english, french in _FRENCH:
            detail = detail.replace(english, french)
    if not detail:
        return name
    return f"{name} {detail}" if one.kind is Kind.HOURS else form.format(name, detail)


_FRENCH = (
    ("significant digits", "chiffres significatifs"), ("digit", "chiffre"), ("character", "caractère"),
    ("byte", "octet"), ("line ends", "fins de ligne"), ("and cut below a second", "et fraction de seconde coupée"),
    ("cut at", "coupé à"), ("sign", "signe"),
)  # fmt: skip


def named(row: Mapping[str, Plain], families: Mapping[str, str]) -> str:
    """ "commande=3, rang=1"."""
    return ", ".join(f"{name}={shown(value, families.get(name, ''))}" for name, value in row.items())


def change(one: Difference, lang: str = "en") -> str:
    """ "0.13 instead of 0.125 (rounding, 2 digits)"; for a whole row its class."""
    if one.explanation.kind in ROWS:
        return KINDS[lang][one.explanation.kind]
    family = one.families.get(one.column, "")
    left, right = apart(shown(one.left, family, most=1 << 20), shown(one.right, family, most=1 << 20))
    instead = {"en": "instead of", "fr": "au lieu de"}[lang]
    return f"{right} {instead} {left} ({said(one.explanation, lang, form='{}, {}')})"


def apart(left: str, right: str, *, most: int = 60) -> tuple[str, str]:
    """Two long texts cut around the place where they part, so that what is shown shows the difference."""
    if max(len(left), len(right)) <= most:
        return left, right
    at = next((n for n, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), min(len(left), len(right)))
    start = max(0, at - most // 2)

    def cut(text: str) -> str:
        piece = text[start : start + most - 2]
        return f"{'…' if start else ''}{piece}{'…' if start + most - 2 < len(text) else ''}"

    return cut(left), cut(right)


def summary(one: ColumnSummary, lang: str = "en") -> str:
    """ "15 cells, all: time zone +1 h"; several classes with their counts."""
    cells, every, rest = {
        "en": (f"{one.cells:,} cell{'s' if one.cells != 1 else ''}", "all", "not classified"),
        "fr": (f"{one.cells:,} cellule{'s' if one.cells > 1 else ''}".replace(",", " "), "toutes", "non classées"),
    }[lang]
    if len(one.kinds) == 1 and one.classified == one.cells:
        (only,) = one.kinds
        return f"{cells}, {every}: {said(only, lang)}" if one.cells > 1 else f"{cells}: {said(only, lang)}"
    listed = [f"{said(kind, lang)}: {count:,}" for kind, count in one.kinds.most_common(6)]
    others = one.classified - sum(count for _, count in one.kinds.most_common(6))
    listed += [f"…: {others:,}"] if others else []
    listed += [f"{rest}: {one.cells - one.classified:,}"] if one.cells > one.classified else []
    return f"{cells}: {', '.join(listed)}"
