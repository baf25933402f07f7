"""Which certificate authorities does a TLS connection to a storage trust?"""

import os
import ssl
from collections.abc import Mapping
from pathlib import Path

from reversible.errors import UsageError

# In this order: ours is the plan's ca_bundle; these are what the customer's other tools read.
_VARIABLES = ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")


def context(ca_bundle: str | None, environ: Mapping[str, str] = os.environ) -> ssl.SSLContext:
    """Certificates and host names are always verified, TLS 1.2 at least; there is no switch that turns this off.

    Args:
        ca_bundle: A PEM file of authorities, in place of the system's; else AWS_CA_BUNDLE, REQUESTS_CA_BUNDLE or
            SSL_CERT_FILE, the first that is set.

    Raises:
        UsageError: the file is not there, or holds no certificate; the message says who named it.
    """
    named = {"ca_bundle": ca_bundle, **{name: environ.get(name) for name in _VARIABLES}}
    origin, place = next(((name, value) for name, value in named.items() if value), ("", None))
    try:
        if place is not None and Path(place).is_dir():
            made = ssl.create_default_context(capath=place)
        else:
            made = ssl.create_default_context(cafile=place)
    except (OSError, ssl.SSLError) as error:
        raise UsageError(
            f"{origin}: {place} cannot be read as certificates: {error.strerror or error}",
            hint="name a PEM file with the authority's certificate",
        ) from error
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    return made
