"""Who vouches for the time, and does it answer?

The one module of the evidence that opens a socket: an HTTP POST to a time-stamping authority (RFC 3161, 3.4). What
it answers is checked like any token before it is kept: our nonce, our bytes, the pinned certificate.
"""

import http.client
import secrets
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509

from reversible.errors import DestinationError, EvidenceError, UsageError
from reversible.evidence import timestamp

TIMEOUT_S = 20.0
URL, CERTIFICATE = "REVERSIBLE_TSA_URL", "REVERSIBLE_TSA_CERTIFICATE"


@dataclass(frozen=True)
class Authority:
    """A time-stamping authority: where it is, and the certificates (its own, or a root's) that its tokens chain to."""

    url: str
    pinned: tuple[x509.Certificate, ...]

    def to_json(self) -> dict[str, Any]:
        """What a statement says of the authority that was to be asked."""
        return {"url": self.url, "certificates_sha256": sorted(map(timestamp.fingerprint, self.pinned))}


def configured(url: str | None, certificate: str | Path | None, environ: Mapping[str, str]) -> Authority | None:
    """The authority that the options name, or else the environment; None when neither does.

    Raises:
        UsageError: the address or the certificate is missing or cannot be used.
    """
    url, certificate = url or environ.get(URL) or None, certificate or environ.get(CERTIFICATE) or None
    if url is None and certificate is None:
        return None
    if url is None or certificate is None:
        raise UsageError(
            "a time-stamping authority is an address and the certificate that it is known by",
            hint="--tsa URL --tsa-certificate FILE.pem",
        )
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password:
        raise UsageError(f"{url!r} is not the address of a time-stamping authority", hint="--tsa http://host/path")
    return Authority(url, pinned(certificate))


def pinned(path: str | Path) -> tuple[x509.Certificate, ...]:
    """The certificates in a PEM file that the reader trusts for time.

    Raises:
        UsageError: there is no such file, or it holds something else.
    """
    try:
        return timestamp.certificates(Path(path).read_bytes())
    except OSError as error:
        raise UsageError(f"certificate {path}: {error.strerror}", hint=f"ls -l {path}") from error
    except ValueError as error:
        raise UsageError(f"certificate {path}: {error}", hint=f"openssl x509 -in {path} -noout -subject") from error


def ask(authority: Authority, message: bytes) -> bytes:
    """A token over `message`, in the form that is kept.

    Raises:
        DestinationError: the authority is away, or refuses: ask again later.
        EvidenceError: what it answered proves nothing about these bytes, or another authority signed it.
    """
    nonce = secrets.randbits(63)
    answer = _post(authority.url, timestamp.request(message, nonce))
    try:
        kept = timestamp.granted(answer)
        token = timestamp.read(kept)
        timestamp.check_about(token, message)
        if token.nonce != nonce:
            raise ValueError("it does not hold the number that was drawn for this request")
        timestamp.check_signer(token, authority.pinned)
    except (ValueError, timestamp.Unsupported) as error:
        raise EvidenceError(
            f"{authority.url}: its answer is no proof of time: {error}", hint="openssl ts -verify --help"
        ) from error
    return kept


def _post(url: str, query: bytes) -> bytes:
    asked = urllib.request.Request(url, query, {"Content-Type": "application/timestamp-query"})  # noqa: S310 - checked
    hint = "the dossier is whole without it: reversible evidence timestamp DOSSIER asks again"
    try:
        with urllib.request.build_opener(_NoRedirect).open(asked, timeout=TIMEOUT_S) as response:
            content: bytes = response.read(timestamp.LIMIT + 1)
            kind = response.headers.get_content_type()
    except (OSError, http.client.HTTPException) as error:  # URLError, HTTPError and timeouts are OSErrors
        raise DestinationError(f"time-stamping authority {url}: {error}", hint=hint) from error
    if kind != "application/timestamp-reply":
        raise DestinationError(f"time-stamping authority {url}: it answered with {kind}", hint=hint)
    return content


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_args: Any, **_kwargs: Any) -> None:
        """Nobody sends us elsewhere: the plan names the address."""
        return
