"""How is a fault in a plan said? File, line, key, what was found, what is allowed; never a secret."""

import difflib
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reversible.errors import UsageError
from reversible.plan.model import PATTERNS_IN_WORDS
from reversible.plan.places import KeyPath, Places
from reversible.secrets import holds_secret

MOST_FAULTS = 100  # more than anybody mends in one go; the rest is counted
LONGEST_FOUND = 60  # characters of a wrong value that are shown

_SECRET_KEY = re.compile(
    r"(?i)(?:^|[_-])(?:password|passwd|passphrase|pwd|secret|token|credentials?|(?:private|secret|access|api)[_-]?key)$"
)
_ALLOWED = {
    "bool_type": "true or false",
    "int_type": "a whole number",
    "float_type": "a number",
    "string_type": "text in quotes",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a table",
    "model_type": "a table",
    "date_type": "a date, such as 2026-11-24",
    "date_parsing": "a date, such as 2026-11-24",
    "date_from_datetime_parsing": "a date, such as 2026-11-24",
    "date_from_datetime_inexact": "a date, such as 2026-11-24",
    "finite_number": "a finite number",
}


@dataclass(frozen=True)
class Fault:
    """One thing wrong at one key; `said` is the rest of the line."""

    path: KeyPath
    said: str


@dataclass
class Faults:
    """The faults of one plan, gathered; one a key, in the order of the file.

    Args:
        document: The plan as `tomllib` read it.
    """

    document: Mapping[str, Any]
    _by_path: dict[KeyPath, Fault] = field(default_factory=dict)

    def add(self, path: KeyPath, said: str) -> None:
        """Note a fault; the first one at a key stands."""
        self._by_path.setdefault(path, Fault(path, said))

    def add_pydantic(self, errors: Sequence[Mapping[str, Any]], *, under: KeyPath = ()) -> None:
        """Note what pydantic found below the key `under`; several faults of one key are its alternatives."""
        by_path: dict[KeyPath, list[Mapping[str, Any]]] = {}
        for error in errors:
            by_path.setdefault(self._written_path((*under, *error["loc"]), error["type"]), []).append(error)
        for path, same in by_path.items():
            self.add(path, self._sentence(path, same))

    def raise_if_any(self, file: Path, places: Places) -> None:
        """One line a fault, in the order of the file.

        Raises:
            UsageError: there is a fault.
        """
        if not self._by_path:
            return
        ordered = sorted(self._by_path.values(), key=lambda fault: places.line(fault.path))
        lines = [f"{file}:{places.line(one.path)}: {key_text(one.path)}: {one.said}" for one in ordered[:MOST_FAULTS]]
        if len(ordered) > MOST_FAULTS:
            lines.append(f"{file}: and {len(ordered) - MOST_FAULTS} more faults")
        raise UsageError("\n".join(lines), hint=edit_hint(file, places.line(ordered[0].path)))

    def value(self, path: KeyPath) -> object:
        """What stands at `path`; None when nothing does."""
        value: Any = self.document
        for part in path:
            try:
                value = value[part]
            except (KeyError, IndexError, TypeError):
                return None
        return value

    def _written_path(self, location: KeyPath, kind: str) -> KeyPath:
        """pydantic's location without the names of its own alternatives: only keys that the file can hold."""
        path: KeyPath = ()
        for part in location:
            here = self.value(path)
            in_table = isinstance(here, Mapping) and part in here
            in_list = isinstance(here, list) and part in range(len(here))
            if in_table or in_list or (kind == "missing" and part == location[-1]):
                path = (*path, part)
        return path

    def _sentence(self, path: KeyPath, errors: Sequence[Mapping[str, Any]]) -> str:
        first = errors[0]
        if first["type"] == "missing":
            return "required, and missing"
        if first["type"] == "extra_forbidden":
            return "unknown key"
        if first["type"] == "literal_secret":
            return literal_secret(path)
        if first["type"] == "literal_password":
            return literal_password(path)
        closed = [word for error in errors if error["type"] in ("literal_error", "enum") for word in _expected(error)]
        found = self.value(path)
        if closed:
            return not_one_of(path, found, closed)
        if first["loc"][-1:] == ("[key]",):
            return f"found this name; allowed: {_allowed(first)}"
        allowed = list(dict.fromkeys(_allowed(error) for error in errors))
        said = f"found {describe(path, found)}; allowed: {' or '.join(allowed)}"
        if not {error["type"] for error in errors} <= set(_ALLOWED) and _repeats(path, said, found):
            return f"found {describe(path, found)}; not accepted"
        return said


def key_text(path: KeyPath) -> str:
    """A key path as TOML writes it: source.shop.exclude[0].reason, facts."contract.notice_days"."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            bare = re.fullmatch(r"[A-Za-z0-9_-]+", part)
            text += ("." if text else "") + (part if bare else printable(part))
    return text or "the plan"


def printable(text: str) -> str:
    """Text between quotes, on one line, without anything that a terminal would obey."""
    cut = text if len(text) <= LONGEST_FOUND else text[: LONGEST_FOUND - 1] + "…"
    safe = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut)
    return f'"{safe}"' if "'" in safe else f"'{safe}'"


def describe(path: KeyPath, found: object) -> str:
    """What stands at a key, as far as it may be shown."""
    if isinstance(found, bool):
        return "true" if found else "false"
    if isinstance(found, int | float):
        return "a number" if secret_key(path) else str(found)[:LONGEST_FOUND]
    if isinstance(found, str):
        return printable(found) if _shown(path, found) else "text"
    if isinstance(found, Mapping):
        return "a table"
    if isinstance(found, list):
        return f"a list of {len(found)}" if found else "an empty list"
    return "nothing" if found is None else str(found)


def not_one_of(path: KeyPath, found: object, allowed: Iterable[str]) -> str:
    """A word that is not on a closed list, with the nearest one that is."""
    words = list(dict.fromkeys(allowed))
    shown = describe(path, found)
    if isinstance(found, str) and not secret_key(path) and not holds_secret(found):
        shown = printable(found)
    said = f"found {shown}; allowed: {', '.join(words)}"
    return said + did_you_mean(found, words)


def unknown_key(path: KeyPath, known: Iterable[str]) -> str:
    """A key that nobody reads."""
    words = sorted(known)
    return f"unknown key; allowed: {', '.join(words)}" + did_you_mean(path[-1], words)


def did_you_mean(found: object, words: Sequence[str]) -> str:
    near = difflib.get_close_matches(str(found)[:200], words, n=1) if isinstance(found, str) else []
    if near == [found]:  # "1" in quotes where the number 1 is meant
        return "; without the quotes"
    return f"; did you mean '{near[0]}'?" if near else ""


def literal_secret(path: KeyPath) -> str:
    return f'found a secret in clear (not shown); allowed: a reference, such as "${{{variable(path)}}}"'


def literal_password(path: KeyPath) -> str:
    return f"found a password in clear (not shown); allowed: a reference in its place, such as ${{{variable(path)}}}"


def variable(path: KeyPath) -> str:
    """A name for the environment variable that could hold what stands at `path`: SHOP_PASSWORD."""
    words = [part for part in path if isinstance(part, str)][-2:]
    name = re.sub(r"[^A-Za-z0-9]+", "_", "_".join(words)).strip("_").upper()
    return name if name and not name[0].isdigit() else f"SECRET_{name}".rstrip("_")


def secret_key(path: KeyPath) -> bool:
    """Whether the key's own name says that it holds a secret."""
    names = [part for part in path if isinstance(part, str)]
    return bool(names) and _SECRET_KEY.search(names[-1]) is not None


def edit_hint(file: Path, line: int) -> str:
    return f"${{EDITOR:-vi}} +{line} {shlex.quote(str(file))}"


def _shown(path: KeyPath, found: str) -> bool:
    """Text below [source] and the storage may be a secret in the wrong place: it is never repeated."""
    private = path[:1] == ("source",) or path[:2] == ("destination", "storage")
    public = path[:1] == ("source",) and len(path) > 2 and path[2] in ("kind", "include", "exclude")
    return (public or not private) and not secret_key(path) and not holds_secret(found)


def _allowed(error: Mapping[str, Any]) -> str:
    context = error.get("ctx", {})
    if error["type"] == "too_short":
        return f"at least {context['min_length']}"
    if error["type"] == "string_pattern_mismatch" and context["pattern"] in PATTERNS_IN_WORDS:
        return PATTERNS_IN_WORDS[context["pattern"]]
    return _ALLOWED.get(error["type"]) or re.sub(
        r"^(?:Input should be|Value error,|Assertion failed,) *", "", " ".join(str(error["msg"]).split())
    )


def _expected(error: Mapping[str, Any]) -> list[str]:
    expected = str(error.get("ctx", {}).get("expected", ""))
    return re.findall(r"'([^']*)'", expected) or [expected]


def _repeats(path: KeyPath, said: str, found: object) -> bool:
    """Whether a sentence quotes what may not be shown, as a plugin's own may: in whole, in part or escaped."""
    for leaf in _leaves(found):
        pieces = [_letters(leaf) or leaf, *re.findall(r"[^\W_]{3,}", leaf)]
        if not _shown(path, leaf) and any(piece and (piece in said or piece in _letters(said)) for piece in pieces):
            return True
    return False


def _letters(text: str) -> str:
    return re.sub(r"[\W_]+", "", text)


def _leaves(value: object) -> list[str]:
    """Every text in a value."""
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return [leaf for one in inner for leaf in _leaves(one)]
