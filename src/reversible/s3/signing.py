"""How does a request say who sends it: AWS Signature Version 4, in headers and in a URL?

Source:
    READ (AWS, "Authenticating Requests (AWS Signature Version 4)", Amazon S3 API Reference): canonical request,
    string to sign, signing key; S3 encodes the path once, and does not normalise it.
"""

import configparser
import hashlib
import hmac
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Self
from urllib.parse import quote

from reversible.errors import DestinationError

UNSIGNED = "UNSIGNED-PAYLOAD"
EMPTY = hashlib.sha256(b"").hexdigest()
_ALGORITHM = "AWS4-HMAC-SHA256"
_UNRESERVED = "-._~"  # besides letters and digits (RFC 3986 section 2.3)


@dataclass(frozen=True)
class Keys:
    """What requests are signed with; a `repr` shows none of it."""

    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    token: str | None = field(default=None, repr=False)

    @classmethod
    def found(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Those of the environment, else those of the profile AWS_PROFILE in the shared credentials file.

        Raises:
            DestinationError: there are none.
        """
        if environ.get("AWS_ACCESS_KEY_ID") and environ.get("AWS_SECRET_ACCESS_KEY"):
            return cls(environ["AWS_ACCESS_KEY_ID"], environ["AWS_SECRET_ACCESS_KEY"], environ.get("AWS_SESSION_TOKEN"))
        place = Path(environ.get("AWS_SHARED_CREDENTIALS_FILE") or Path.home() / ".aws/credentials")
        profile = environ.get("AWS_PROFILE") or "default"
        file = configparser.RawConfigParser()
        try:
            file.read(place, encoding="utf-8")
            section = file[profile]
            return cls(section["aws_access_key_id"], section["aws_secret_access_key"], section.get("aws_session_token"))
        except (KeyError, configparser.Error, UnicodeDecodeError):  # its error would quote the file
            raise DestinationError(
                f"no S3 credentials: neither in the environment nor as profile {profile} of {place}",
                hint="export AWS_ACCESS_KEY_ID=… AWS_SECRET_ACCESS_KEY=…, or set both keys of [destination.storage]",
            ) from None


def encoded_path(path: str) -> str:
    """A path as it is signed and sent: every byte but the unreserved and "/" as %XX."""
    return quote(path, safe=f"/{_UNRESERVED}")


def encoded_query(query: Mapping[str, str]) -> str:
    """The canonical query: sorted by encoded name."""
    pairs = sorted((quote(name, safe=_UNRESERVED), quote(value, safe=_UNRESERVED)) for name, value in query.items())
    return "&".join(f"{name}={value}" for name, value in pairs)


def signed(
    *, method: str, host: str, path: str, query: Mapping[str, str], headers: Mapping[str, str], payload: str,
    keys: Keys, region: str, at: datetime,
) -> dict[str, str]:  # fmt: skip
    """The headers that a request needs beside its own: date, payload's digest and signature.

    Args:
        host: With its port where it is not the scheme's own, as the Host header says it.
        path: Unencoded, from "/" on.
        headers: The request's own, names in lower case; all are signed.
        payload: SHA-256 of the body in hex, or one of the words that stand for it.
        at: Now, UTC.
    """
    more = {"x-amz-date": f"{at:%Y%m%dT%H%M%SZ}", "x-amz-content-sha256": payload}
    if keys.token:
        more["x-amz-security-token"] = keys.token
    every = {**headers, **more, "host": host}
    names = ";".join(sorted(every))
    request = _canonical(method, path, query, every, names, payload)
    credential = f"{keys.access_key}/{_scope(at, region)}"
    signature = _signature(request, keys=keys, region=region, at=at)
    return {
        **more,
        "authorization": f"{_ALGORITHM} Credential={credential}, SignedHeaders={names}, Signature={signature}",
    }


def presigned(
    *, method: str, host: str, path: str, keys: Keys, region: str, at: datetime, expires_s: int
) -> dict[str, str]:  # fmt: skip
    """The query of a URL that whoever holds it may use until it expires, without headers of its own."""
    query = {
        "X-Amz-Algorithm": _ALGORITHM,
        "X-Amz-Credential": f"{keys.access_key}/{_scope(at, region)}",
        "X-Amz-Date": f"{at:%Y%m%dT%H%M%SZ}",
        "X-Amz-Expires": str(expires_s),
        "X-Amz-SignedHeaders": "host",
    }
    if keys.token:
        query["X-Amz-Security-Token"] = keys.token
    request = _canonical(method, path, query, {"host": host}, "host", UNSIGNED)
    return {**query, "X-Amz-Signature": _signature(request, keys=keys, region=region, at=at)}


def _canonical(
    method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str], names: str, payload: str
) -> str:
    lines = "".join(f"{name}:{' '.join(headers[name].split())}\n" for name in sorted(headers))
    return "\n".join((method, encoded_path(path), encoded_query(query), lines, names, payload))


def _signature(request: str, *, keys: Keys, region: str, at: datetime) -> str:
    text = "\n".join(
        (_ALGORITHM, f"{at:%Y%m%dT%H%M%SZ}", _scope(at, region), hashlib.sha256(request.encode()).hexdigest())
    )
    key = f"AWS4{keys.secret_key}".encode()
    for part in (f"{at:%Y%m%d}", region, "s3", "aws4_request", text):
        key = hmac.digest(key, part.encode(), "sha256")
    return key.hex()


def _scope(at: datetime, region: str) -> str:
    return f"{at:%Y%m%d}/{region}/s3/aws4_request"
