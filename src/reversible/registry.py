"""Which plugins are installed?"""

from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, cast

from reversible.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from reversible.interfaces import Converter, Exporter, Restorer, Verifier


def exporter(kind: str) -> "type[Exporter]":
    """The exporter class for a `kind` in a plan.

    Raises:
        UsageError: no installed plugin has that name.
    """
    known = _plugins("reversible.exporters")
    if kind not in known:
        raise UsageError(f"no exporter is called {kind!r}; installed: {', '.join(known)}", hint="reversible exporters")
    return cast("type[Exporter]", known[kind].load())


def exporter_kinds() -> tuple[str, ...]:
    return tuple(_plugins("reversible.exporters"))


def verifiers() -> "dict[str, Verifier]":
    """Every installed verifier by name, in a stable order."""
    return {name: cast("Verifier", point.load()()) for name, point in _plugins("reversible.verifiers").items()}


def converters() -> "dict[str, Converter]":
    """Every installed model converter by name, in a stable order."""
    return {name: cast("Converter", point.load()()) for name, point in _plugins("reversible.converters").items()}


def environments() -> dict[str, Any]:
    """Modules with `ENVIRONMENTS`, by name, and `install(name)`: where converters' frameworks live. Loaded here."""
    return {name: point.load() for name, point in _plugins("reversible.environments").items()}


def restorer(scheme: str) -> "Callable[..., Restorer]":
    """The restorer class, to be called with the URL and its options, for the scheme of a target's URL: "postgresql".

    Raises:
        UsageError: no installed plugin restores there.
    """
    known = _plugins("reversible.restorers")
    if scheme not in known:
        raise UsageError(f"nothing restores into {scheme!r}; installed: {', '.join(f'{name}://' for name in known)}")
    return cast("Callable[..., Restorer]", known[scheme].load())


def commands() -> dict[str, Any]:
    """Commands that other packages add to `reversible`, not loaded yet."""
    return dict(_plugins("reversible.commands"))


def _plugins(group: str) -> dict[str, EntryPoint]:
    found = sorted(entry_points(group=group), key=lambda point: (point.name, point.value))
    names = [point.name for point in found]
    if twice := {name for name in names if names.count(name) > 1}:
        raise UsageError(f"two installed packages both provide {group}: {', '.join(sorted(twice))}", hint="pip list")
    return {point.name: point for point in found}
