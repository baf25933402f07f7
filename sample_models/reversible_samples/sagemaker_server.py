"""What does unmodified boto3 reach when it asks for SageMaker?

A gateway on loopback, wire-compatible with the parts of SageMaker that an exit needs: the runtime's
InvokeEndpoint, and ListEndpoints, DescribeEndpoint, DescribeEndpointConfig and DescribeModel of the control plane.
Signatures are verified. Behind it each model answers on a port of its own, in the framework that it was made in.
"""

import hashlib
import hmac
import json
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from email.message import Message
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

from reversible_exporters import model_archive

ACCOUNT = "123456789012"
_LARGEST = 6 << 20  # bytes: the vendor's limit for one invocation
_PAGE = 10  # the vendor's default page
_LONGEST_PAGE = 100  # and its longest


class SageMaker:
    """The vendor's model platform, from `with` to the end of the block.

    Args:
        folder: Where the containers' files are unpacked.
        endpoints: Endpoint name -> the model data's S3 URL as the vendor names it; None: the vendor keeps it closed.
        models: One folder per endpoint, with its `model.tar.gz`.
        region, access_key, secret_key: What a caller must sign with.
        elsewhere: Endpoint name -> URL of a container that runs already; none is started for it.
        timeout_s: How long the gateway waits for a container (the vendor: 60 s).
    """

    def __init__(
        self,
        folder: Path,
        endpoints: Mapping[str, str | None],
        *,
        models: Path,
        region: str,
        access_key: str,
        secret_key: str,
        elsewhere: Mapping[str, str] | None = None,
        timeout_s: float = 60.0,
    ) -> None:
        self.folder = folder
        self.endpoints = dict(endpoints)
        self.region = region
        self._models = models
        self._key = (access_key, secret_key)
        self._elsewhere = dict(elsewhere or {})
        self._timeout_s = timeout_s
        self._stack = ExitStack()

    @property
    def endpoint_url(self) -> str:
        """For boto3's `endpoint_url`, of `sagemaker` and `sagemaker-runtime` alike."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        with ExitStack() as starting:
            own = [name for name in self.endpoints if name not in self._elsewhere]
            containers = starting.enter_context(_Containers([self._unpack(name) for name in own]))
            routes = {name: partial(containers.url, place) for place, name in enumerate(own)}
            routes |= {name: partial(str, url) for name, url in self._elsewhere.items()}
            plane = _ControlPlane(self.endpoints, region=self.region, started=time.time())
            face = _handler(routes, plane, region=self.region, key=self._key, timeout_s=self._timeout_s)
            self._server = ThreadingHTTPServer(("127.0.0.1", 0), face)
            self._server.daemon_threads = True
            threading.Thread(target=self._server.serve_forever, daemon=True).start()
            starting.callback(self._server.server_close)
            starting.callback(self._server.shutdown)
            self._stack = starting.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _unpack(self, name: str) -> Path:
        into = self.folder / name
        model_archive.unpack(self._models / name / "model.tar.gz", into)
        return into


class _Containers:
    """The models' process. They load while the vendor is up already, as a real endpoint's do: `url` waits."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = folders
        self._ports: list[int] = []
        self._one_at_a_time = threading.Lock()

    def url(self, place: int) -> str:
        """Where the model of one folder answers, once it does.

        Raises:
            ConnectionError: the process has ended.
        """
        assert self._process.stdout is not None  # noqa: S101 - for the type checker: it is a pipe
        with self._one_at_a_time:
            while len(self._ports) <= place:
                line = self._process.stdout.readline()
                if not line:
                    model = self._folders[len(self._ports)].name
                    raise ConnectionError(f"the container of {model} ended with status {self._process.wait()}")
                self._ports.append(int(line))
        return f"http://127.0.0.1:{self._ports[place]}"

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "reversible_samples.model_container", *map(str, self._folders)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.communicate()


class _ControlPlane:
    """What the vendor says about its endpoints, in the AWS JSON 1.1 protocol's shapes."""

    def __init__(self, endpoints: Mapping[str, str | None], *, region: str, started: float) -> None:
        self._endpoints = dict(sorted(endpoints.items()))
        self._region = region
        self._started = started

    def answer(self, operation: str, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Raises LookupError for what is not there, ValueError for an operation that is not served."""
        served: dict[str, Callable[[Mapping[str, Any]], Mapping[str, Any]]] = {
            "ListEndpoints": self._list,
            "DescribeEndpoint": self._endpoint,
            "DescribeEndpointConfig": self._config,
            "DescribeModel": self._model,
        }
        if operation not in served:
            raise ValueError(operation)
        return served[operation](request)

    def _arn(self, kind: str, name: str) -> str:
        return f"arn:aws:sagemaker:{self._region}:{ACCOUNT}:{kind}/{name}"

    def _times(self, *names: str) -> dict[str, float]:
        return dict.fromkeys(names, round(self._started, 3))

    def _list(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        names = list(self._endpoints)
        first = int(request.get("NextToken") or 0)
        last = first + min(int(request.get("MaxResults") or _PAGE), _LONGEST_PAGE)
        rows = [
            {
                "EndpointName": name,
                "EndpointArn": self._arn("endpoint", name),
                "EndpointStatus": "InService",
                **self._times("CreationTime", "LastModifiedTime"),
            }
            for name in names[first:last]
        ]
        return {"Endpoints": rows, **({"NextToken": str(last)} if last < len(names) else {})}

    def _endpoint(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        name = self._known(request["EndpointName"], "endpoint")
        return {
            "EndpointName": name,
            "EndpointArn": self._arn("endpoint", name),
            "EndpointConfigName": f"{name}-config",
            "EndpointStatus": "InService",
            "ProductionVariants": [
                {"VariantName": "AllTraffic", "CurrentWeight": 1.0, "CurrentInstanceCount": 1, "DesiredWeight": 1.0}
            ],
            **self._times("CreationTime", "LastModifiedTime"),
        }

    def _config(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        name = self._known(request["EndpointConfigName"].removesuffix("-config"), "endpoint-config")
        variant = {
            "VariantName": "AllTraffic",
            "ModelName": f"{name}-model",
            "InitialInstanceCount": 1,
            "InstanceType": "ml.c7i.large",
            "InitialVariantWeight": 1.0,
        }
        return {
            "EndpointConfigName": f"{name}-config",
            "EndpointConfigArn": self._arn("endpoint-config", f"{name}-config"),
            "ProductionVariants": [variant],
            **self._times("CreationTime"),
        }

    def _model(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        name = self._known(request["ModelName"].removesuffix("-model"), "model")
        image = f"{ACCOUNT}.dkr.ecr.{self._region}.amazonaws.com/comptoir-inference:1.0.0"
        where = self._endpoints[name]
        return {
            "ModelName": f"{name}-model",
            "ModelArn": self._arn("model", f"{name}-model"),
            "PrimaryContainer": {"Image": image, "Mode": "SingleModel", **({"ModelDataUrl": where} if where else {})},
            "ExecutionRoleArn": f"arn:aws:iam::{ACCOUNT}:role/comptoir-models",
            "EnableNetworkIsolation": True,
            **self._times("CreationTime"),
        }

    def _known(self, name: str, kind: str) -> str:
        if name not in self._endpoints:
            raise LookupError(f'Could not find {kind} "{self._arn(kind, name)}".')
        return name


def signed(headers: Message, path: str, body: bytes, *, region: str, key: tuple[str, str]) -> bool:
    """Whether a POST carries a good AWS Signature Version 4 for SageMaker in `region`.

    Source: "AWS Signature Version 4 for API requests" (IAM user guide), steps 1 to 4, no query string.
    """
    scheme, _, rest = headers.get("Authorization", "").partition(" ")
    fields = dict(part.strip().split("=", 1) for part in rest.split(",") if "=" in part)
    scope = fields.get("Credential", "").split("/")
    date = headers.get("X-Amz-Date", "")
    if scheme != "AWS4-HMAC-SHA256" or scope != [key[0], date[:8], region, "sagemaker", "aws4_request"]:
        return False
    names = fields.get("SignedHeaders", "").split(";")
    if not {"host", "x-amz-date"} <= set(names):
        return False
    listed = "".join(f"{name}:{' '.join((headers.get(name) or '').split())}\n" for name in names)
    # 1. The canonical request: the path is encoded once more than it was sent.
    canonical = "\n".join(
        ["POST", urllib.parse.quote(path, safe="/-_.~"), "", listed, ";".join(names), hashlib.sha256(body).hexdigest()]
    )
    # 2., 3. The string to sign and the signing key.
    text = "\n".join([scheme, date, "/".join(scope[1:]), hashlib.sha256(canonical.encode()).hexdigest()])
    secret = f"AWS4{key[1]}".encode()
    for part in scope[1:]:
        secret = hmac.new(secret, part.encode(), hashlib.sha256).digest()
    # 4. The signature.
    expected = hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected, fields.get("Signature", ""))


def _handler(
    routes: Mapping[str, Callable[[], str]],
    plane: _ControlPlane,
    *,
    region: str,
    key: tuple[str, str],
    timeout_s: float,
) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = 1 << 16

        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def do_POST(self) -> None:  # the name that http.server calls
            size = int(self.headers.get("Content-Length", 0))
            path = urllib.parse.unquote(self.path)
            target = self.headers.get("X-Amz-Target", "")
            if size > _LARGEST:
                self.close_connection = True
                return self._refuse(413, "ValidationError", f"Request size exceeds {_LARGEST} bytes")
            body = self.rfile.read(size)
            if not signed(self.headers, path, body, region=region, key=key):
                message = "The request signature we calculated does not match the signature you provided."
                return self._refuse(403, "InvalidSignatureException", message)
            if target.startswith("SageMaker.") and path == "/":
                return self._control(target.removeprefix("SageMaker."), body)
            parts = path.split("/")
            if len(parts) == 4 and parts[1] == "endpoints" and parts[3] == "invocations":
                return self._invoke(parts[2], body)
            return self._refuse(404, "UnknownOperationException", "unknown operation")

        def _control(self, operation: str, body: bytes) -> None:
            try:
                answer = plane.answer(operation, json.loads(body or b"{}"))
            except LookupError as error:
                return self._refuse(400, "ValidationException", str(error.args[0]))
            except ValueError:
                return self._refuse(400, "UnknownOperationException", f"{operation} is not served here")
            return self._send(200, json.dumps(answer).encode(), {"Content-Type": "application/x-amz-json-1.1"})

        def _invoke(self, name: str, body: bytes) -> None:
            if name not in routes:
                return self._refuse(400, "ValidationError", f"Endpoint {name} of account {ACCOUNT} not found.")
            kept = {header: self.headers[header] for header in ("Content-Type", "Accept") if header in self.headers}
            try:
                request = urllib.request.Request(  # noqa: S310 - a container of ours, on loopback
                    f"{routes[name]()}/invocations", data=body, method="POST", headers=kept
                )
                with urllib.request.urlopen(request, timeout=timeout_s) as answer:  # noqa: S310
                    content, kind = answer.read(), answer.headers.get("Content-Type", "")
            except urllib.error.HTTPError as error:
                return self._model_error(error.code, error.read().decode("utf-8", "replace")[:500])
            except OSError as error:
                return self._model_error(0, f"the container does not answer: {error}")
            return self._send(200, content, {"Content-Type": kind, "x-Amzn-Invoked-Production-Variant": "AllTraffic"})

        def _model_error(self, status: int, message: str) -> None:
            """A container's refusal, in the vendor's words (ModelError, 424)."""
            side = "client" if 400 <= status < 500 else "server"
            document = {
                "ErrorCode": f"{side.upper()}_ERROR_FROM_MODEL",
                "LogStreamArn": "",
                "Message": f'Received {side} error ({status}) from primary with message "{message}".',
                "OriginalMessage": message,
                "OriginalStatusCode": status,
            }
            kind = {"Content-Type": "application/json", "x-amzn-ErrorType": "ModelError"}
            self._send(424, json.dumps(document).encode(), kind)

        def _refuse(self, status: int, error: str, message: str) -> None:
            body = json.dumps({"__type": error, "message": message, "Message": message}).encode()
            self._send(status, body, {"Content-Type": "application/x-amz-json-1.1", "x-amzn-ErrorType": error})

        def _send(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
            self.send_response(status)
            self.send_header("x-amzn-RequestId", str(uuid.uuid4()))
            self.send_header("Content-Length", str(len(body)))
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

    return Handler
