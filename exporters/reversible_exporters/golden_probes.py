"""Which texts show that words are read as the vendor reads them?

A sample of ordinary texts says nothing of accents it does not have (research/models.md, section 3.5). So texts are
probed by construction: empty, long, unknown, in another case, without accents, composed and not, with emoji.
"""

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from reversible.golden import Column
from reversible_exporters.golden_questions import Questions

_VARIED = 12  # texts of which variants are asked
_LONG = 4000  # letters: beyond the 512 tokens of most models
_FIXED = {
    "empty": ("", " ", "\n\t "),
    "one letter": ("a", "É", "?", "7"),
    "accents": ("été", "Été à la crèche", "ÇA, C’EST À NOËL", "cœur sœur œuvre", "aïeul, naïf, Citroën"),
    "emoji": ("👍", "merci 🙏🏽 beaucoup", "👩‍👩‍👧 famille", "nul 😡😡😡"),
    "spaces": ("un\u00a0deux\u202ftrois", "fin  de   ligne\r\n", "zéro\u200blargeur"),
    "quotes": ("l’été", "l'été", "« cité »", "“cited”", "d'aujourd’hui"),
    "unknown": ("zzxqjkw vvbnq", "Здравствуйте", "नमस्ते दुनिया", "こんにちは世界", "مرحبا"),
    "numbers": ("12 345,67 €", "1e-7", "№ ½ ²", "+33 6 12 34 56 78"),
    "marks": ("<b>gras</b> &amp; co", "{\"clé\": 1}", "a,b;\"c\"", "https://exemple.fr/été?q=1#à", "[CLS] [MASK] </s>"),
}  # fmt: skip


def texts(given: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Text and origin ("probe: NFD"): fixed ones, and variants of some of those given."""
    for kind, fixed in _FIXED.items():
        for one in fixed:
            yield one, f"probe: {kind}"
    some = [given[row] for row in np.unique(np.linspace(0, len(given) - 1, min(_VARIED, len(given))).astype(int))]
    for one in some:
        yield one.upper(), "probe: upper case"
        yield one.lower(), "probe: lower case"
        yield one.title(), "probe: title case"
        yield without_accents(one), "probe: accents removed"
        yield unicodedata.normalize("NFD", one), "probe: NFD"
        yield f"{one} 🙂", "probe: emoji"
    for one in some[:2]:
        yield (f"{one} " * (_LONG // (len(one) + 1) + 1))[:_LONG], "probe: long"


def without_accents(text: str) -> str:
    """Letters alone, as a keyboard without accents writes them."""
    return "".join(one for one in unicodedata.normalize("NFD", text) if not unicodedata.combining(one))


def add(questions: Questions) -> Questions:
    """The same, with probes of their texts behind them; as they are where they hold no text.

    Other values of a probe are those of the first input, so that its text alone is unusual.
    """
    named = [one for one in questions.columns if one.field.is_text]
    if not named:
        return questions
    extra: list[tuple[str, str, str]] = []  # column, text, origin
    for one in named:
        known = [text for text in one.values.tolist() if text]
        extra += [(one.field.name, text, origin) for text, origin in texts(known or ["Bonjour à tous"])]
    columns = []
    for one in questions.columns:
        values = np.empty(questions.count + len(extra), dtype=one.values.dtype) if one.values.ndim == 1 else None
        added = [text if name == one.field.name else one.values[0] for name, text, _ in extra]
        if values is None:
            columns.append(replace(one, values=np.concatenate([one.values, np.stack(added)])))
            continue
        values[: questions.count] = one.values
        for place, value in enumerate(added):
            values[questions.count + place] = value
        columns.append(Column(field=one.field, values=values, column=one.column))
    return replace(
        questions,
        columns=tuple(columns),
        labels=(*questions.labels, *[None] * len(extra)),
        origins=(*questions.origins, *(origin for _, _, origin in extra)),
        probes=questions.probes + len(extra),
        plan=f"{questions.plan}; then {len(extra)} probes of texts",
    )
