"""Is the provider catalogue of the package whole?"""

from functools import lru_cache
from importlib import resources

import yaml
from pydantic import ValidationError

from reversible.errors import UsageError
from reversible.providers.model import Catalogue


def load(content: bytes | None = None) -> Catalogue:
    """The catalogue in `content`; the one that comes with the package when None.

    Raises:
        UsageError: it is not YAML of this shape, or does not agree with itself; the message names the place.
    """
    if content is None:
        content = (resources.files("reversible") / "catalogue/providers.yaml").read_bytes()
    return _load(content)


@lru_cache(maxsize=2)
def _load(content: bytes) -> Catalogue:
    try:
        return Catalogue.model_validate(yaml.safe_load(content))
    except yaml.YAMLError as error:
        raise UsageError(f"providers.yaml: {' '.join(str(error).split())[:200]}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UsageError(f"providers.yaml: {where or 'catalogue'}: {first['msg']}") from error
