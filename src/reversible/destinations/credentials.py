"""Does the re-run hold a key to the source?"""

import os
import pwd
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

_PREFIXES = ("AWS_", "PG", "AZURE_", "GOOGLE_", "GCP_", "HF_", "DATABRICKS_", "SNOWFLAKE_")
_WORDS = ("SECRET", "TOKEN", "PASSWORD", "PASSWD", "CREDENTIAL", "API_KEY", "APIKEY", "PRIVATE_KEY")

# Where the vendors' own clients look by themselves, below a home directory.
PLACES = (
    ".aws", ".pgpass", ".pg_service.conf", ".azure", ".config/gcloud", ".databrickscfg", ".snowflake",
    ".boto", ".s3cfg", ".netrc", ".cache/huggingface/token",
)  # fmt: skip


def credentials(environment: Mapping[str, str]) -> list[str]:
    """Names of the variables and readable places that look like a credential; never a value."""
    names = sorted(
        f"${name}"
        for name in environment
        if name.upper().startswith(_PREFIXES) or any(word in name.upper() for word in _WORDS)
    )
    return [*names, *sorted({f"~/{place}" for home in _homes(environment) for place in PLACES if _holds(home / place)})]


def places_of_user() -> tuple[Path, ...]:
    """The places that exist in the user's own home: a fence hides them from the re-run."""
    return tuple(home / place for home in _homes(os.environ) for place in PLACES if (home / place).exists())


def _homes(environment: Mapping[str, str]) -> Iterator[Path]:
    """Both that the environment names and the account's own: clearing HOME alone takes nothing away."""
    found = [environment["HOME"]] if environment.get("HOME") else []
    with suppress(KeyError):  # a number without an account has no other home
        found.append(pwd.getpwuid(os.getuid()).pw_dir)
    yield from (Path(one) for one in dict.fromkeys(found))


def _holds(place: Path) -> bool:
    """Whether there is something to read; a hidden place is empty."""
    try:
        if place.is_dir():
            return any(place.iterdir())
        return place.stat().st_size > 0 and os.access(place, os.R_OK)
    except OSError:
        return False
