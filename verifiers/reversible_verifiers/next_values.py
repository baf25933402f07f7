"""Does each sequence go on where it stood at the source?

No snapshot holds a sequence: an application may draw numbers between any two looks at it. So the witness looks twice,
before the export and after it, and the bundle's value must lie on the way from the one to the other. Where nobody drew
a number the two are one, and so must the bundle's be.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def astray(
    witnessed: Mapping[str, Mapping[str, Any]], kept: Sequence[Mapping[str, Any]], source_type: str | None
) -> Iterator[str]:
    """Say of each sequence that the source never stood where the bundle does, which comes next on either side.

    Args:
        witnessed: By name, the number that comes next before the export ("before") and after it ("next"), "increment",
            and whether it "cycles".
        kept: "sequence_values" of database.json.
        source_type: Of database.json.

    Raises:
        KeyError, TypeError, ValueError: a document is not as docs/bundle-format.md says.
    """
    by_name = {one["name"]: one for one in kept}
    for name, seen in witnessed.items():
        there = f"{seen['before']} .. {seen['next']}" if seen["before"] != seen["next"] else str(seen["next"])
        here = by_name.get(name)
        if here is None:
            yield f"{name}: not in the bundle, at the source {there}"
        elif here["increment"] != seen["increment"]:
            yield f"{name}: increment {here['increment']}, at the source {seen['increment']}"
        elif not _passed(following(here, source_type), seen):
            yield f"{name}: {following(here, source_type)} next, at the source {there}"


def following(kept: Mapping[str, Any], source_type: str | None) -> int | None:
    """The number that a sequence gives next once it is restored; None when the bundle does not tell."""
    if source_type != "postgresql":  # "last_value" is what AUTO_INCREMENT says: the next one
        return None if kept["last_value"] is None else int(kept["last_value"])
    if kept["last_value"] is None:  # never used
        return None if kept["start"] is None else int(kept["start"])
    return int(kept["last_value"]) + int(kept["increment"])


def _passed(value: int | None, seen: Mapping[str, Any]) -> bool:
    """Whether the sequence stood at this value on its way from `before` to `next`."""
    if value is None:
        return False
    step = int(seen["increment"]) or 1  # MariaDB's 0 means @@auto_increment_increment
    direction = 1 if step > 0 else -1
    here, end = (int(one - seen["before"]) * direction for one in (value, seen["next"]))
    if end < 0:  # it went back: over its end, or somebody set it
        return bool(seen["cycles"]) and (here >= 0 or here <= end)
    on_the_way = here % abs(step) == 0 or end % abs(step) != 0  # off the steps only where somebody set it
    return on_the_way and 0 <= here <= end
