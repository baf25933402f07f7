"""A time-stamping authority on loopback: openssl's own, behind an HTTP server, with certificates of every bad kind."""

import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from reversible.evidence import der

_CONFIG = """\
[tsa]
default_tsa = own
[own]
serial = {folder}/serial
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
accuracy = secs:1
ess_cert_id_alg = sha256
"""
NOW = datetime.now(UTC)
SERVER_AUTH = ExtendedKeyUsageOID.SERVER_AUTH


@dataclass(frozen=True)
class Party:
    """A certificate and its key, as PEM files in `folder`."""

    name: str
    folder: Path
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

    @property
    def pem(self) -> Path:
        return self.folder / f"{self.name}.pem"

    @property
    def key_file(self) -> Path:
        return self.folder / f"{self.name}.key"


def party(
    folder: Path,
    name: str,
    issuer: Party | None = None,
    *,
    ca: bool = False,
    usage: tuple[x509.ObjectIdentifier, ...] = (ExtendedKeyUsageOID.TIME_STAMPING,),
    critical: bool = True,
    start: datetime = NOW - timedelta(days=400),
    end: datetime = NOW + timedelta(days=400),
    more: tuple[x509.ExtensionType, ...] = (),
    bits: int | None = None,
) -> Party:
    """Make a certificate: a root when nobody issues it, an authority's own when `ca` is false; RSA of `bits`."""
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey = ec.generate_private_key(ec.SECP256R1())
    if bits is not None:
        key = rsa.generate_private_key(65537, bits)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca, None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if usage and not ca:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usage), critical=critical)
    for extension in more:
        builder = builder.add_extension(extension, critical=True)
    made = builder.sign(key if issuer is None else issuer.key, hashes.SHA256())
    found = Party(name, folder, made, key)
    found.pem.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    found.key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return found


def reply(signer: Party, query: bytes, *, extra: Path | None = None) -> bytes:
    """What `openssl ts -reply` answers."""
    folder = signer.folder
    if not (folder / "serial").exists():
        (folder / "serial").write_text("01\n")
    (folder / "tsa.cnf").write_text(_CONFIG.format(folder=folder))
    (folder / "query.tsq").write_bytes(query)
    run(
        "openssl", "ts", "-reply", "-config", folder / "tsa.cnf", "-queryfile", folder / "query.tsq",
        "-signer", signer.pem, "-inkey", signer.key_file, "-out", folder / "reply.tsr",
        *(() if extra is None else ("-chain", extra)),
    )  # fmt: skip
    return (folder / "reply.tsr").read_bytes()


def token_of(signer: Party, info: bytes) -> bytes:
    """A token that openssl ts would refuse to make: TSTInfo of our own, signed by openssl cms with any certificate."""
    folder = signer.folder
    (folder / "info.der").write_bytes(info)
    run(
        "openssl", "cms", "-sign", "-binary", "-nodetach", "-cades", "-md", "sha256", "-outform", "DER", "-nosmimecap",
        "-econtent_type", "1.2.840.113549.1.9.16.1.4", "-in", folder / "info.der", "-signer", signer.pem,
        "-inkey", signer.key_file, "-out", folder / "made.der",
    )  # fmt: skip
    made = (folder / "made.der").read_bytes()
    return der.write(der.SEQUENCE, der.write(der.SEQUENCE, der.integer(0)), made)


def info_of(response: bytes) -> bytes:
    """TSTInfo inside a response."""
    signed = der.read(response).inside()[1].inside()[1].inside()[0]
    return signed.inside()[2].inside()[1].inside()[0].content


def run(*argv: object) -> bytes:
    done = subprocess.run([str(one) for one in argv], capture_output=True, check=False, timeout=30)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@dataclass(frozen=True)
class Server:
    url: str
    asked: list[bytes]


@contextmanager
def serving(
    answer: Callable[[bytes], bytes], *, status: int = 200, kind: str = "application/timestamp-reply"
) -> Iterator[Server]:
    """An HTTP server on loopback that answers every query so."""
    server = Server("", [])

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            query = self.rfile.read(int(self.headers["Content-Length"]))
            server.asked.append(query)
            content = answer(query)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield replace(server, url=f"http://127.0.0.1:{http.server_address[1]}/tsa")
    finally:
        http.shutdown()
        http.server_close()
        thread.join(5)
