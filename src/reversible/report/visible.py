"""What does a string from elsewhere really contain?

Names, places and error messages come from the vendor. One that holds a right-to-left override or an escape
sequence could show something else than what was measured, in a browser or on a terminal: such characters are
written out by their code point. Escaping for HTML comes after, and is the template's.
"""

import unicodedata

_HIDDEN = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"})  # control, format (bidi, zero width), unassigned ...
LONGEST = 400  # characters of one string: a cell may hold a megabyte


def visible(text: str, *, longest: int = LONGEST) -> str:
    """Write out every character that does not show itself: "a\\u202eb" becomes "a[U+202E]b"; cut what is too long."""
    cut = len(text) - longest
    kept = text[:longest] if cut > 0 else text
    if not kept.isprintable() or any(unicodedata.category(letter) in _HIDDEN for letter in kept if letter > "\x7f"):
        kept = "".join(f"[U+{ord(one):04X}]" if unicodedata.category(one) in _HIDDEN else one for one in kept)
    return f"{kept}[… +{cut}]" if cut > 0 else kept
