"""How is SageMaker called, and what does it say when it refuses?"""

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from reversible.equivalence import decisions
from reversible.errors import MissingSDKError, SourceError, UsageError
from reversible.secrets import Secret
from reversible.wire import IMAGES, JSON
from reversible_exporters import golden_requests, golden_set

T = TypeVar("T")

_BUSY = (
    "ThrottlingException",
    "ServiceUnavailable",
    "ServiceUnavailableException",
    "ModelNotReadyException",
    "SlowDown",
)
_ATTEMPTS = 5


class Golden(BaseModel):
    """How one endpoint is asked before it is left."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    inputs: str | None = Field(
        default=None,
        description='Parquet file with one column per input (numbers, lists, texts, images): "s3://bucket/key.parquet" '
        "or a local path; without one, inputs are made of what the model takes",
    )
    form: str = Field(
        default="",
        pattern=rf"^({'|'.join(golden_requests.FORMS)})?$",
        description='how it is asked: "instances", "objects", "inputs" (Hugging Face), "image"; by default what it '
        "takes",
    )
    count: int = Field(default=3072, ge=1, le=1_000_000, description="inputs that are made where no file is given")
    probes: bool = Field(
        default=True, description="whether texts are also probed: empty, long, accents, case, NFD, emoji, unknown words"
    )
    batch_size: int = Field(default=64, ge=1, le=4096, description="inputs per request")
    decision: str = Field(
        default="argmax", pattern=decisions.RULES,
        description='how an answer becomes a decision: "argmax" or "threshold:0.5" (on the last output); of a number '
        'that stays one: "value", or which others are as good, "within:0.5" (its unit) or "relative:0.01"',
    )  # fmt: skip


class SageMakerSettings(BaseModel):
    """The keys of a `kind = "sagemaker"` source. Without keys, boto3 finds its own credentials."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    region: str = Field(min_length=1, description="the vendor's region, for example eu-west-3")
    endpoint_url: str | None = Field(default=None, description="another address of control plane and runtime")
    s3_endpoint_url: str | None = Field(default=None, description="another address of the model data's S3")
    access_key: Secret | None = None
    secret_key: Secret | None = None
    golden: dict[str, Golden] = Field(default_factory=dict, description="per endpoint: what it is asked")
    timeout_s: float = Field(default=60.0, gt=0, le=3600, description="how long an endpoint may take to answer")


class Calls:
    """boto3's clients of one source, made when they are first needed; every refusal becomes a SourceError.

    Threads may call it at once.
    """

    def __init__(self, name: str, settings: SageMakerSettings) -> None:
        self._name = name
        self._settings = settings
        self._clients: dict[str, Any] = {}
        self._one_at_a_time = threading.Lock()

    def call(self, service: str, operation: str, what: str, **arguments: Any) -> Mapping[str, Any]:
        """One call of one service; `what` is the thing's name in the message of a refusal."""
        return self._guard(what, lambda: dict(getattr(self._client(service), operation)(**arguments)))

    def asker(self, endpoint: str) -> golden_set.Ask:
        """Asks one endpoint."""

        def ask(body: bytes, content_type: str) -> golden_set.Answer:
            def invoke() -> golden_set.Answer:
                runtime = self._client("sagemaker-runtime")
                return golden_set.timed(
                    lambda: runtime.invoke_endpoint(
                        EndpointName=endpoint, Body=body, ContentType=content_type, Accept=_accepted(content_type)
                    )
                )

            return self._guard(f"endpoint {endpoint}", invoke)

        return ask

    def head(self, url: str) -> Mapping[str, Any]:
        bucket, key = _split(url)
        return self.call("s3", "head_object", url, Bucket=bucket, Key=key)

    def read(self, url: str) -> bytes:
        """A small object, whole."""
        bucket, key = _split(url)
        return self._guard(url, lambda: bytes(self._client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()))

    def download(self, url: str, target: Path, stop: threading.Event | None = None) -> Mapping[str, Any]:
        """Stream an object to a file, until `stop` is set; return what its GET said (ETag, version)."""
        bucket, key = _split(url)

        def fetch() -> Mapping[str, Any]:
            response: Mapping[str, Any] = self._client("s3").get_object(Bucket=bucket, Key=key)
            with target.open("wb") as file:
                for block in response["Body"].iter_chunks(1 << 20):
                    if stop is not None and stop.is_set():
                        break  # what arrived is short: refused below
                    file.write(block)
            return response

        head = self._guard(url, fetch)
        if target.stat().st_size != head["ContentLength"]:
            raise SourceError(f"{url}: {target.stat().st_size} bytes arrived of {head['ContentLength']}")
        return head

    def close(self) -> None:
        for client in self._clients.values():
            client.close()
        self._clients.clear()

    def _guard(self, what: str, call: Callable[[], T]) -> T:
        """Make the call; wait and ask again while the vendor is busy, and say in one line what it refused."""
        try:
            from botocore.exceptions import BotoCoreError, ClientError, ReadTimeoutError
        except ModuleNotFoundError as error:
            raise MissingSDKError("boto3", extra="aws") from error
        for attempt in range(_ATTEMPTS):
            try:
                return call()
            except ClientError as error:
                if error.response["Error"]["Code"] in _BUSY and attempt < _ATTEMPTS - 1:
                    time.sleep(0.2 * 2**attempt)
                    continue
                raise self._refused(what, error.response, error.operation_name) from error
            except ReadTimeoutError as error:
                raise SourceError(
                    f"{what}: no answer for {self._settings.timeout_s:g} s",
                    hint=f"give it longer in the plan: [source.{self._name}] timeout_s = 120",
                ) from error
            except BotoCoreError as error:
                raise SourceError(
                    f"{what}: {str(error).splitlines()[0][:300]}", hint="reversible check exit-plan.toml"
                ) from error
        raise AssertionError("the last attempt returned or raised")

    def _refused(self, what: str, response: Mapping[str, Any], operation: str) -> SourceError:
        code, message = response["Error"]["Code"], response["Error"].get("Message", "")
        name = what.removeprefix("endpoint ")
        if code == "ModelError":
            status = response.get("OriginalStatusCode", "?")
            said = " ".join(str(response.get("OriginalMessage", message)).split())[:200]
            text = f"{what}: its model answered {status}: {said!r}"
            hint = f"aws logs tail /aws/sagemaker/Endpoints/{name} --region {self._settings.region}"
            if isinstance(status, int) and 400 <= status < 500:
                return golden_set.RefusedError(text, hint=hint, status=status)
            return SourceError(text, hint=hint)
        if "AccessDenied" in code or code in ("403", "Forbidden"):
            service = "s3" if what.startswith("s3://") else "sagemaker"
            action = {"HeadObject": "GetObject"}.get(operation, operation)
            return SourceError(
                f"{what}: {operation} denied", hint=f'grant it: {{"Effect": "Allow", "Action": "{service}:{action}"}}'
            )
        return SourceError(
            f"{what}: {operation} answered {code}: {' '.join(message.split())[:300]}",
            hint=f"aws sagemaker list-endpoints --region {self._settings.region}",
        )

    def _client(self, service: str) -> Any:
        with self._one_at_a_time:
            if service not in self._clients:
                self._clients[service] = self._new_client(service)
            return self._clients[service]

    def _new_client(self, service: str) -> Any:
        try:
            import boto3
            from botocore.config import Config
        except ModuleNotFoundError as error:
            raise MissingSDKError("boto3", extra="aws") from error
        settings = self._settings
        url = settings.s3_endpoint_url if service == "s3" else settings.endpoint_url
        # An invocation is asked once: boto3's silent retries would falsify its latency and triple its time limit.
        attempts = 1 if service == "sagemaker-runtime" else _ATTEMPTS
        config = Config(
            retries={"mode": "standard", "total_max_attempts": attempts},
            connect_timeout=min(10.0, settings.timeout_s),
            read_timeout=settings.timeout_s,
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={"addressing_style": "path"} if url and service == "s3" else None,
        )
        keys: dict[str, str] = {}
        if settings.access_key is not None and settings.secret_key is not None:
            keys = {
                "aws_access_key_id": settings.access_key.reveal(key=f"source.{self._name}.access_key"),
                "aws_secret_access_key": settings.secret_key.reveal(key=f"source.{self._name}.secret_key"),
            }
        session = boto3.session.Session()
        return session.client(service, region_name=settings.region, endpoint_url=url, config=config, **keys)


def _accepted(content_type: str) -> str:
    """An answer in the request's own form, where it can be one."""
    return JSON if content_type in IMAGES else content_type


def _split(url: str) -> tuple[str, str]:
    bucket, _, key = url.removeprefix("s3://").partition("/")
    if not url.startswith("s3://") or not bucket or not key:
        raise UsageError(f"{url!r} is not the URL of an S3 object", hint="s3://bucket/key")
    return bucket, key
