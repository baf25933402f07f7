"""How is an archive of arrays in a model's `golden/` folder opened, when the bundle is not trusted?"""

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from reversible.errors import BundleError

_LIMIT = 1 << 28  # bytes of the file


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """The arrays by name (NumPy's NpzFile), never unpickled.

    Raises:
        BundleError: the file is damaged or too large, or the block finds other arrays in it than it expects.
    """
    try:
        if path.stat().st_size > _LIMIT:
            raise BundleError(f"{path.name} is larger than {_LIMIT} bytes")
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            yield archive
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise BundleError(f"{path.name} cannot be read: {error}") from error
