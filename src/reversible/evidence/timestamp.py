"""When did these bytes exist, according to somebody else than their author?

RFC 3161 tokens, read and checked offline. The token is a CMS message that must be exactly this: one signer, whose
certificate serves time stamping and nothing else, who signed the digest of our bytes together with a time; the
certificate chains to one that the reader pinned, and every certificate on the way was valid at that time. What is not
signed (the wrapper) is written the one way that we write it; what openssl refuses we refuse (tests compare).
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from reversible.evidence import der
from reversible.evidence.der import Element

LIMIT = 1 << 16  # bytes of a response; a token with two certificates takes 2,000
_CHAIN = 6  # certificates at most
_RSA_BITS = 2048  # at least
_GRANTED = der.write(der.SEQUENCE, der.integer(0))  # PKIStatusInfo: granted, and not a word more

_SIGNED_DATA, _TST_INFO = "1.2.840.113549.1.7.2", "1.2.840.113549.1.9.16.1.4"
_CONTENT_TYPE, _MESSAGE_DIGEST = "1.2.840.113549.1.9.3", "1.2.840.113549.1.9.4"
_SIGNING_CERTIFICATE = {"1.2.840.113549.1.9.16.2.12": "sha1", "1.2.840.113549.1.9.16.2.47": "sha256"}  # v1, v2
_DIGESTS = {
    "2.16.840.1.101.3.4.2.1": "sha256",
    "2.16.840.1.101.3.4.2.2": "sha384",
    "2.16.840.1.101.3.4.2.3": "sha512",
}
_SIGNATURES = {  # None: the digest is the signer's digestAlgorithm
    "1.2.840.10045.4.3.2": "sha256",
    "1.2.840.10045.4.3.3": "sha384",
    "1.2.840.10045.4.3.4": "sha512",
    "1.2.840.113549.1.1.1": None,
    "1.2.840.113549.1.1.11": "sha256",
    "1.2.840.113549.1.1.12": "sha384",
    "1.2.840.113549.1.1.13": "sha512",
}
_HASHES: dict[str, hashes.HashAlgorithm] = {
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}
_UNREADABLE = (x509.InvalidVersion, x509.DuplicateExtension, x509.ExtensionNotFound, UnsupportedAlgorithm, TypeError)
_KNOWN_EXTENSIONS = {"2.5.29.15", "2.5.29.19", "2.5.29.32", "2.5.29.37"}  # key usage, basic, policies, extended usage


class Unsupported(Exception):  # noqa: N818 - nothing is wrong with the token: we cannot judge it
    """The token uses an algorithm that we do not check."""


@dataclass(frozen=True, kw_only=True)
class Token:
    """A token whose own signature holds. Says nothing about who its signer is: `check_signer` does."""

    at: datetime
    digest: bytes  # SHA-256 of what was time-stamped
    nonce: int | None
    serial: int
    signer: x509.Certificate
    others: tuple[x509.Certificate, ...]

    @property
    def authority(self) -> str:
        """The signer's name, RFC 4514."""
        return self.signer.subject.rfc4514_string()


def request(message: bytes, nonce: int) -> bytes:
    """A TimeStampReq (RFC 3161, 2.4.1) over SHA-256 of the message, that asks for the signer's certificate."""
    algorithm = der.write(der.SEQUENCE, der.oid("2.16.840.1.101.3.4.2.1"), der.write(der.NULL))
    imprint = der.write(der.SEQUENCE, algorithm, der.write(der.OCTETS, hashlib.sha256(message).digest()))
    return der.write(der.SEQUENCE, der.integer(1), imprint, der.integer(nonce), der.write(der.BOOLEAN, b"\xff"))


def granted(response: bytes) -> bytes:
    """The authority's answer in the one form that we keep: status granted without words, and the token.

    Raises:
        ValueError: it was not granted, or it is no answer.
    """
    if len(response) > LIMIT:
        raise ValueError(f"the answer is over {LIMIT} bytes")
    parts = der.read(response).inside(der.SEQUENCE)
    try:
        status = parts[0].inside(der.SEQUENCE)[0].integer
    except IndexError as error:
        raise ValueError("it is no answer of a time-stamping authority") from error
    if status not in (0, 1) or len(parts) != 2:  # 1: granted with modifications, such as another policy
        raise ValueError(f"the authority refused: PKIStatus {status}")
    return der.write(der.SEQUENCE, _GRANTED, parts[1].whole)


def read(response: bytes) -> Token:
    """The token in a response, once its own signature holds.

    Raises:
        ValueError: it is not a token of the form above; the message says what is wrong.
        Unsupported: it is signed by an algorithm that we do not check.
    """
    if len(response) > LIMIT:
        raise ValueError(f"the token is over {LIMIT} bytes")
    try:
        status, content_info = der.read(response).inside(der.SEQUENCE)
        if status.whole != _GRANTED:
            raise ValueError("its wrapper is not written the one way that we write it")
        kind, explicit = content_info.inside(der.SEQUENCE)
        (signed_data,) = explicit.inside(0xA0)
        version, digest_algorithms, encapsulated, *optional, signers = signed_data.inside(der.SEQUENCE)
        (signer,) = signers.inside(der.SET)
    except ValueError as error:
        raise ValueError(f"it is not a time-stamp token with one signer: {error}") from error
    try:
        return _token(kind, version, digest_algorithms, encapsulated, optional, signer)
    except IndexError as error:
        raise ValueError("a part of the token is empty") from error
    except _UNREADABLE as error:
        raise ValueError(f"a certificate in the token cannot be read: {error}") from error


def check_about(token: Token, message: bytes) -> None:
    """Show that the token is about these bytes.

    Raises:
        ValueError: it is not.
    """
    if token.digest != hashlib.sha256(message).digest():
        raise ValueError("it is about other bytes than these")


def check_signer(token: Token, pinned: Sequence[x509.Certificate]) -> None:
    """Show that the signer is a time-stamping authority below a pinned certificate, or a pinned one itself.

    Raises:
        ValueError: it is not: the certificate is for other uses, was not valid then, or chains to nothing pinned.
    """
    trusted = {_der(one) for one in pinned}
    try:
        _for_time_stamping(token.signer)
        reason = _path(token.signer, trusted, [*pinned, *token.others], token.at, [])
    except _UNREADABLE as error:
        raise ValueError(f"a certificate in the token cannot be read: {error}") from error
    if reason is not None:
        raise ValueError(reason)


def certificates(content: bytes) -> tuple[x509.Certificate, ...]:
    """The certificates of a PEM file that a reader pins.

    Raises:
        ValueError: it holds none, or something else.
    """
    try:
        return tuple(x509.load_pem_x509_certificates(content))
    except ValueError as error:
        raise ValueError("it holds no certificate in PEM") from error


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 of the certificate's DER, hex."""
    return hashlib.sha256(_der(certificate)).hexdigest()


# --- the token ---------------------------------------------------------------------------------------------------


def _token(
    kind: Element,
    version: Element,
    digest_algorithms: Element,
    encapsulated: Element,
    optional: Sequence[Element],
    signer: Element,
) -> Token:
    if kind.oid != _SIGNED_DATA or version.integer != 3:
        raise ValueError("it is not a time-stamp token: another content type or version")
    content_type, content = encapsulated.inside(der.SEQUENCE)
    if content_type.oid != _TST_INFO:
        raise ValueError(f"what is signed is of type {content_type.oid}, not TSTInfo")
    (octets,) = content.inside(0xA0)
    info = octets.of(der.OCTETS)
    certificates = _certificates(optional)
    algorithms = [_algorithm(one) for one in digest_algorithms.inside(der.SET)]
    certificate = _signed(signer, info, certificates, algorithms)
    return _info(info, certificate, certificates)


def _certificates(optional: Sequence[Element]) -> tuple[x509.Certificate, ...]:
    if not optional or optional[0].tag != 0xA0 or any(one.tag != 0xA1 for one in optional[1:]):
        raise ValueError("it does not hold its signer's certificate")
    found = [x509.load_der_x509_certificate(one.whole) for one in optional[0].inside()]
    if len(found) > _CHAIN:
        raise ValueError(f"it holds {len(found)} certificates")
    return tuple(found)


def _signed(
    signer: Element, info: bytes, certificates: Iterable[x509.Certificate], algorithms: list[str]
) -> x509.Certificate:
    """The certificate whose key signed `info`: RFC 5652, 5.3 to 5.6."""
    parts = signer.inside(der.SEQUENCE)
    if len(parts) != 6:
        raise ValueError("its signer has no signed attributes, or unsigned ones")
    version, identifier, digest_algorithm, attributes, signature_algorithm, signature = parts
    digest_oid = _algorithm(digest_algorithm)
    if digest_oid not in _DIGESTS:
        raise Unsupported(f"digest {digest_oid}")
    if algorithms != [digest_oid]:
        raise ValueError("the digest that it announces is not the one that its signer uses")
    digest = _DIGESTS[digest_oid]
    certificate = _named(version, identifier, certificates)
    said = _attributes(attributes)
    if said.get(_CONTENT_TYPE) != [der.oid(_TST_INFO)]:
        raise ValueError("its signer signed another type of content")
    if said.get(_MESSAGE_DIGEST) != [der.write(der.OCTETS, hashlib.new(digest, info).digest())]:
        raise ValueError("its signer signed another content")
    _names_its_certificate(said, certificate)
    _verify(certificate, signature_algorithm, digest, signature.of(der.OCTETS), der.write(der.SET, attributes.content))
    return certificate


def _algorithm(identifier: Element) -> str:
    """An AlgorithmIdentifier without parameters, or with NULL for them: nothing in it that no signature covers."""
    name, *parameters = identifier.inside(der.SEQUENCE)
    if [one.whole for one in parameters] not in ([], [der.write(der.NULL)]):
        raise ValueError(f"the algorithm {name.oid} has parameters")
    return name.oid


def _named(version: Element, identifier: Element, certificates: Iterable[x509.Certificate]) -> x509.Certificate:
    for one in certificates:
        if identifier.tag == der.SEQUENCE and version.integer == 1:
            issuer, serial = identifier.inside()
            if serial.integer == one.serial_number and issuer.whole == one.issuer.public_bytes():
                return one
        elif identifier.tag == 0x80 and version.integer == 3:
            keys = one.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
            if keys.digest == identifier.content:
                return one
    raise ValueError("it does not hold its signer's certificate")


def _attributes(attributes: Element) -> dict[str, list[bytes]]:
    found: dict[str, list[bytes]] = {}
    for one in attributes.inside(0xA0):
        name, values = one.inside(der.SEQUENCE)
        if name.oid in found:
            raise ValueError(f"the signed attribute {name.oid} is there twice")
        found[name.oid] = [value.whole for value in values.inside(der.SET)]
    return found


def _names_its_certificate(said: dict[str, list[bytes]], certificate: x509.Certificate) -> None:
    """RFC 5816: what is signed names the certificate, or another one for the same key could be put in its place."""
    seen = False
    for name, default in _SIGNING_CERTIFICATE.items():
        for value in said.get(name, ()):
            first = der.read(value).inside(der.SEQUENCE)[0].inside(der.SEQUENCE)[0].inside(der.SEQUENCE)
            digest = default
            if first[0].tag == der.SEQUENCE:
                oid = _algorithm(first.pop(0))
                if oid not in _DIGESTS:
                    raise Unsupported(f"digest {oid}")
                digest = _DIGESTS[oid]
            if first[0].of(der.OCTETS) != hashlib.new(digest, _der(certificate), usedforsecurity=False).digest():
                raise ValueError("what its signer signed names another certificate")
            seen = True
    if not seen:
        raise ValueError("what its signer signed names no certificate")


def _verify(certificate: x509.Certificate, algorithm: Element, digest: str, signature: bytes, message: bytes) -> None:
    oid = _algorithm(algorithm)
    if oid not in _SIGNATURES:
        raise Unsupported(f"signature algorithm {oid}")
    used = _HASHES[_SIGNATURES[oid] or digest]
    key = certificate.public_key()
    try:
        if isinstance(key, ec.EllipticCurvePublicKey) and oid.startswith("1.2.840.10045."):
            key.verify(signature, message, ec.ECDSA(used))
        elif isinstance(key, rsa.RSAPublicKey) and oid.startswith("1.2.840.113549.") and key.key_size >= _RSA_BITS:
            key.verify(signature, message, padding.PKCS1v15(), used)
        else:
            raise ValueError("its signature algorithm is not one for its signer's key, or the key is too short")
    except InvalidSignature as error:
        raise ValueError("its signature does not hold") from error


def _info(content: bytes, signer: x509.Certificate, others: tuple[x509.Certificate, ...]) -> Token:
    """TSTInfo: RFC 3161, 2.4.2."""
    version, _policy, imprint, serial, at, *optional = der.read(content).inside(der.SEQUENCE)
    algorithm, digest = imprint.inside(der.SEQUENCE)
    if version.integer != 1 or _DIGESTS.get(_algorithm(algorithm)) != "sha256":
        raise ValueError("it is not about a SHA-256")
    order = [one.tag for one in optional]
    if order != sorted(set(order), key=_OPTIONAL.index) or 0xA1 in order:
        raise ValueError("its optional fields are out of order, or it has an extension")
    nonce = next((one.integer for one in optional if one.tag == der.INTEGER), None)
    return Token(
        at=_time(at.of(der.TIME)), digest=digest.of(der.OCTETS), nonce=nonce, serial=serial.integer, signer=signer,
        others=others,
    )  # fmt: skip


_OPTIONAL = (der.SEQUENCE, der.BOOLEAN, der.INTEGER, 0xA0, 0xA1)  # accuracy, ordering, nonce, tsa, extensions


def _time(content: bytes) -> datetime:
    """RFC 3161: GeneralizedTime in UTC, the fraction of a second without a zero at its end."""
    text = content.decode("ascii")
    whole, _, fraction = text.removesuffix("Z").partition(".")
    if not text.endswith("Z") or len(whole) != 14 or not whole.isdigit() or fraction.endswith("0"):
        raise ValueError(f"{text!r} is not a time")
    if ("." in text) != bool(fraction) or (fraction and not fraction.isdigit()):
        raise ValueError(f"{text!r} is not a time")
    at = datetime.strptime(whole, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    return at + timedelta(microseconds=int(fraction[:6].ljust(6, "0") or 0))


# --- the signer's certificate ------------------------------------------------------------------------------------


def _for_time_stamping(certificate: x509.Certificate) -> None:
    """RFC 3161, 2.3: the extended key usage is critical and names time stamping alone."""
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    except x509.ExtensionNotFound:
        usage = None
    if usage is None or not usage.critical or list(usage.value) != [x509.oid.ExtendedKeyUsageOID.TIME_STAMPING]:
        raise ValueError(f"the certificate of {_name(certificate)} is not for time stamping alone")


def _path(
    current: x509.Certificate,
    trusted: set[bytes],
    pool: Sequence[x509.Certificate],
    at: datetime,
    below: list[x509.Certificate],
) -> str | None:
    """None when a path leads to a trusted certificate, else why none does."""
    if not current.not_valid_before_utc <= at <= current.not_valid_after_utc:
        return f"the certificate of {_name(current)} was not valid on {at.isoformat()}"
    if any(one.critical and one.oid.dotted_string not in _KNOWN_EXTENSIONS for one in current.extensions):
        return f"the certificate of {_name(current)} has a critical extension that we do not know"
    if below and not _may_issue(current, len(below) - 1):
        return f"{_name(current)} may not issue certificates"
    if _der(current) in trusted:
        return None
    reason = f"{_name(current)} was issued by no authority that you pinned"
    if len(below) < _CHAIN:
        for issuer in pool:
            if issuer not in (current, *below) and _issued(current, issuer):
                further = _path(issuer, trusted, pool, at, [*below, current])
                if further is None:
                    return None
                reason = further
    return reason


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _may_issue(certificate: x509.Certificate, intermediates: int) -> bool:
    found = {one.oid: one.value for one in certificate.extensions}
    basic = found.get(x509.BasicConstraints.oid)
    usage = found.get(x509.KeyUsage.oid)
    if not isinstance(basic, x509.BasicConstraints) or not basic.ca:
        return False
    if basic.path_length is not None and basic.path_length < intermediates:
        return False
    return not isinstance(usage, x509.KeyUsage) or usage.key_cert_sign


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


def _name(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string() or "?"
