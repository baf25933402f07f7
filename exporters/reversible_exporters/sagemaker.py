"""What models does a SageMaker account serve, and can they leave?

One asset per endpoint. Its model data is fetched and unpacked, turned into ONNX behind the fence, and the live
endpoint is asked its golden set. `witness` asks again by another route: one by one, as CSV, and fetches the model
data a second time.
"""

import hashlib
import json
import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

from pydantic import BaseModel

from reversible.assets import Asset, Kind
from reversible.errors import SourceError, UsageError
from reversible.golden import Column
from reversible.interfaces import Reachability, Witness
from reversible_exporters import (
    golden_inputs,
    golden_probes,
    golden_set,
    model_archive,
    model_document,
    model_reference,
)
from reversible_exporters.golden_questions import Questions
from reversible_exporters.model_conversions import ModelConversions
from reversible_exporters.sagemaker_calls import Calls, Golden, SageMakerSettings

if TYPE_CHECKING:
    from reversible.bundle.writer import BundleWriter

log = logging.getLogger(__name__)

_WITNESSED = 200


@dataclass(frozen=True, kw_only=True)
class _Endpoint:
    """What the control plane says of one endpoint; `data_url` is None and `obstacle` set when it cannot leave."""

    name: str
    documents: Mapping[str, Any]
    model_name: str
    data_url: str | None
    obstacle: str | None


class SageMakerExporter:
    """Reads SageMaker's control plane, its runtime and the model data in S3; changes nothing."""

    Settings: ClassVar[type[BaseModel]] = SageMakerSettings

    def __init__(self, name: str, settings: SageMakerSettings) -> None:
        self.name = name
        self.settings = settings
        self._calls = Calls(name, settings)
        self._conversions = ModelConversions(self._calls.download, self._columns)
        self._described: dict[str, _Endpoint] = {}
        self._asked: dict[str, Questions] = {}  # by endpoint, once it was exported: the witness asks some of them again

    @property
    def endpoints(self) -> tuple[str, ...]:
        region = self.settings.region
        control = self.settings.endpoint_url
        urls = (
            [control] if control else [f"https://{api}.sagemaker.{region}.amazonaws.com" for api in ("api", "runtime")]
        )
        urls.append(self.settings.s3_endpoint_url or f"https://s3.{region}.amazonaws.com")
        return tuple(dict.fromkeys(_host_port(url) for url in urls))

    def check(self) -> Iterator[Reachability]:
        """List the endpoints, look at each one's model data, and ask one input of each that has a golden set."""
        names = list(self._names())
        yield Reachability(subject="sagemaker:ListEndpoints", ok=True, seen=f"{len(names)} endpoints")
        for missing in sorted(set(self.settings.golden) - set(names)):
            yield Reachability(
                subject=f"golden set of {missing}", ok=False, seen="there is no such endpoint",
                hint=f"aws sagemaker list-endpoints --region {self.settings.region}",
            )  # fmt: skip
        for name in names:
            endpoint = self._describe(name)
            if endpoint.data_url is None:
                yield Reachability(subject=name, ok=True, seen=f"cannot leave: {endpoint.obstacle}")
                continue
            yield _reached(f"model data of {name}", partial(self._seen, endpoint.data_url))
            if name in self.settings.golden:
                yield _reached(f"answer of {name}", partial(self._try_one, name))
            else:
                yield Reachability(
                    subject=f"golden set of {name}", ok=False, seen="the plan has none: nothing will be compared",
                    hint=f'add to the plan: [source.{self.name}.golden.{name}] inputs = "s3://bucket/inputs.parquet"',
                )  # fmt: skip

    def discover(self) -> Iterator[Asset]:
        """One model per endpoint, in the order of their names."""
        names = sorted(self._names())
        if missing := sorted(set(self.settings.golden) - set(names)):
            raise UsageError(
                f"source {self.name}: the plan has a golden set for {missing[0]}, and there is no such endpoint",
                hint=f"aws sagemaker list-endpoints --region {self.settings.region}",
            )
        for name in names:
            endpoint = self._describe(name)
            size = self._size(endpoint.data_url) if endpoint.data_url else None
            yield Asset(source=self.name, kind=Kind.MODEL, name=name, size_bytes=size, obstacle=endpoint.obstacle)

    def begin(self, assets: Sequence[Asset], into: "BundleWriter") -> None:
        """Fetch and convert models while other sources' assets are copied."""
        models = {asset.name: self._describe(asset.name).data_url for asset in assets if not into.has(_document(asset))}
        self._conversions.begin({name: url for name, url in models.items() if url is not None})

    def export(self, asset: Asset, into: "BundleWriter") -> None:
        """The model as ONNX with all that came with it, then the golden set; each is taken up where it ended."""
        try:
            self._export(asset, into)
        finally:
            self._conversions.drop(asset.name)

    def _export(self, asset: Asset, into: "BundleWriter") -> None:
        endpoint = self._leaving(asset)
        golden = self.settings.golden.get(asset.name)
        questions = self._questions(asset.name)
        if questions is not None:  # a dead endpoint is known before a large model is fetched
            questions = self._tried(questions, asset.name)
        if not into.has(_document(asset)):
            labelled = questions is not None and any(label is not None for label in questions.labels)
            self._export_model(endpoint, asset, into, golden=golden, labelled=labelled)
        if golden is None:
            return
        if questions is None:
            folder = into.path(asset.folder)
            questions = golden_inputs.made(
                folder, count=golden.count, batch_size=golden.batch_size, form=golden.form, probes=golden.probes
            )
            questions = self._tried(questions, asset.name)
        self._asked[asset.name] = questions
        if not into.has(f"{asset.folder}/golden/manifest.json"):
            golden_set.record(
                questions, self._calls.asker(asset.name), endpoint=asset.name, batch_size=golden.batch_size,
                about={
                    "region": self.settings.region, "model": endpoint.model_name, "model_data": endpoint.data_url,
                    "endpoint_config": endpoint.documents["endpoint_config"].get("EndpointConfigName"),
                    "decision": golden.decision,
                },
                folder=asset.folder, into=into,
            )  # fmt: skip
        if not into.has(f"{asset.folder}/golden/trace.json"):
            model_reference.keep(folder=asset.folder, into=into)

    def _tried(self, questions: Questions, name: str) -> Questions:
        """The questions, in the form in which the endpoint takes the first of them."""
        return golden_set.try_forms(questions, self._calls.asker(name), name, chosen=self.settings.golden[name].form)

    def stands(self, asset: Asset, into: "BundleWriter") -> bool:
        """Always: an endpoint has no snapshots: its answers were recorded, and their times with them."""
        return True

    def witness(self, asset: Asset) -> Witness:
        """The endpoint's answers to a sample, one by one as CSV, and the model data fetched a second time."""
        endpoint = self._leaving(asset)
        assert endpoint.data_url is not None  # noqa: S101 - _leaving says so
        with tempfile.TemporaryDirectory(prefix="reversible-witness-") as folder:
            archive = Path(folder) / "model.tar.gz"
            head = self._calls.download(endpoint.data_url, archive)
            with archive.open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            members = model_archive.digests(archive)
            labels = model_document.labels(model_archive.read(archive, "labels.json"))
            size = archive.stat().st_size
        tables = {}
        facts: dict[str, Any] = {
            "endpoint": endpoint.name,
            "endpoint_status": endpoint.documents["endpoint"].get("EndpointStatus"),
            "endpoint_config": endpoint.documents["endpoint_config"].get("EndpointConfigName"),
            "model": endpoint.model_name,
            "model_data": {"url": endpoint.data_url, "etag": head.get("ETag"), "sha256": sha256, "bytes": size},
            "members": members,
            "labels": labels,
        }
        method = "the model data was fetched a second time"
        if (questions := self._asked.get(asset.name) or self._given(asset.name)) is not None:
            answers, content_type = golden_set.sample(
                questions,
                self._calls.asker(asset.name),
                endpoint=asset.name,
                count=_WITNESSED,
                seed=f"witness:{asset.id}",
            )
            tables["answers"] = answers
            facts |= {"answers": answers.num_rows, "asked_as": content_type, "golden_inputs": questions.count}
            method = f"the live endpoint answered {answers.num_rows} inputs one by one; {method}"
        return Witness(method=method, facts=facts, tables=tables)

    def close(self) -> None:
        self._conversions.close()
        self._calls.close()

    # --- the model ---------------------------------------------------------------------------------------------

    def _export_model(
        self,
        endpoint: _Endpoint,
        asset: Asset,
        into: "BundleWriter",
        *,
        golden: Golden | None,
        labelled: bool,
    ) -> None:
        assert endpoint.data_url is not None  # noqa: S101 - _leaving says so
        with self._conversions.of(asset.name, endpoint.data_url) as model:
            log.info(
                "endpoint %s: %s converted by %s in the fence %s",
                asset.name, model.source, model.conversion.converter, model.conversion.fence,
            )  # fmt: skip
            originals = model.folder / "original"
            for member in model.members:
                _put_file(into, f"{asset.folder}/original/{member.path}", originals / member.path)
            for name in model.written:
                _put_file(into, f"{asset.folder}/{name}", model.folder / name)
            for member in model.members:
                if model_document.declares_processing(originals, member):
                    _put_file(into, f"{asset.folder}/processing/{member.name}", originals / member.path)
            into.put_json(f"{asset.folder}/endpoint.json", _plain(endpoint.documents))
            version = {
                "model": endpoint.model_name, "model_data": endpoint.data_url, "model_data_sha256": model.sha256,
                "etag": model.head.get("ETag"), "version_id": model.head.get("VersionId"),
            }  # fmt: skip
            document = model_document.build(
                originals,
                model.members,
                model.conversion,
                version=version,
                decision=golden.decision if golden else None,
                has_evaluation_set=labelled,
            )
            into.put_json(_document(asset), document)

    # --- what the vendor says ----------------------------------------------------------------------------------

    def _names(self) -> Iterator[str]:
        token: dict[str, str] = {}
        while True:
            page = self._calls.call("sagemaker", "list_endpoints", "the endpoints", MaxResults=100, **token)
            yield from (endpoint["EndpointName"] for endpoint in page["Endpoints"])
            if not page.get("NextToken"):
                return
            token = {"NextToken": page["NextToken"]}

    def _describe(self, name: str) -> _Endpoint:
        if name not in self._described:
            what = f"endpoint {name}"
            endpoint = self._calls.call("sagemaker", "describe_endpoint", what, EndpointName=name)
            config = self._calls.call(
                "sagemaker", "describe_endpoint_config", what, EndpointConfigName=endpoint["EndpointConfigName"]
            )
            variants = config.get("ProductionVariants", [])
            model_names = [variant["ModelName"] for variant in variants if variant.get("ModelName")]
            models = [self._calls.call("sagemaker", "describe_model", what, ModelName=one) for one in model_names]
            self._described[name] = _endpoint(name, endpoint, config, models)
        return self._described[name]

    def _leaving(self, asset: Asset) -> _Endpoint:
        endpoint = self._describe(asset.name)
        if endpoint.data_url is None:
            raise SourceError(f"endpoint {asset.name} cannot leave: {endpoint.obstacle}")
        return endpoint

    def _size(self, url: str) -> int | None:
        try:
            return int(self._calls.head(url)["ContentLength"])
        except SourceError as error:
            log.warning("%s: its size is not known: %s", url, error.message)  # the export names the fault again
            return None

    def _seen(self, url: str) -> str:
        return f"{self._calls.head(url)['ContentLength']} bytes"

    def _columns(self, name: str) -> Sequence[Column]:
        """What the original is asked too: the plan's own inputs."""
        questions = self._questions(name)
        return () if questions is None else questions.columns

    def _questions(self, name: str) -> Questions | None:
        """What the plan's file holds; None where the plan names none."""
        golden = self.settings.golden.get(name)
        if golden is None or golden.inputs is None:
            return None
        if golden.inputs.startswith("s3://"):
            content = self._calls.read(golden.inputs)
        else:
            content = golden_set.local_file(Path(golden.inputs))
        questions = Questions.read(content, f"golden inputs {golden.inputs}", form=golden.form)
        return golden_probes.add(questions) if golden.probes else questions

    def _given(self, name: str) -> Questions | None:
        """The same, in the form in which it is taken."""
        questions = self._questions(name)
        return None if questions is None else self._tried(questions, name)

    def _try_one(self, name: str) -> str:
        questions = self._given(name)
        if questions is None:
            return "its inputs will be made of what it takes"
        outputs, latency_s = golden_set.try_one(questions, self._calls.asker(name), name)
        return f"{outputs} numbers in {latency_s * 1e3:.0f} ms; {questions.count} golden inputs"


def _endpoint(
    name: str, endpoint: Mapping[str, Any], config: Mapping[str, Any], models: Sequence[Mapping[str, Any]]
) -> _Endpoint:
    """What can leave is one variant of one container whose model data the owner holds; the rest is named."""
    documents = {"endpoint": endpoint, "endpoint_config": config, "models": list(models)}
    obstacle, url = None, None
    containers = [
        container
        for model in models
        for container in (model.get("Containers") or [model.get("PrimaryContainer") or {}])
    ]
    if len(models) != 1:
        obstacle = f"it spreads its answers over {len(models)} models: no single model gives them"
    elif len(containers) != 1:
        obstacle = f"it chains {len(containers)} containers: what passes between them is not exported"
    else:
        url = containers[0].get("ModelDataUrl")
        if not url:
            obstacle = "the vendor keeps its model data: there is an image, and no file that its customer can read"
        elif not url.startswith("s3://") or url.endswith("/"):
            obstacle, url = f"its model data is not one S3 object: {url}", None
    return _Endpoint(
        name=name, documents=documents, model_name=str(models[0].get("ModelName")) if models else "",
        data_url=url or None, obstacle=obstacle,
    )  # fmt: skip


def _document(asset: Asset) -> str:
    """The last part that an exported model gets."""
    return f"{asset.folder}/model.json"


def _reached(subject: str, look: Callable[[], str]) -> Reachability:
    try:
        return Reachability(subject=subject, ok=True, seen=look())
    except (SourceError, UsageError) as error:
        return Reachability(subject=subject, ok=False, seen=error.message, hint=error.hint)


def _put_file(into: "BundleWriter", path: str, source: Path) -> None:
    with source.open("rb") as file, into.part(path) as stream:
        while block := file.read(1 << 20):
            stream.write(block)


def _plain(documents: Mapping[str, Any]) -> Any:
    """boto3's answers as JSON: times as ISO text, and without the trace of the call itself."""
    without = {
        key: [_unmarked(one) for one in value] if isinstance(value, list) else _unmarked(value)
        for key, value in documents.items()
    }
    return json.loads(json.dumps(without, default=lambda value: value.isoformat()))


def _unmarked(document: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key != "ResponseMetadata"}


def _host_port(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port or (443 if parts.scheme == 'https' else 80)}"
