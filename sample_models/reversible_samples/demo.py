"""Does it work, on this machine, from a live vendor to the signed evidence?"""

import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

import click

from reversible.cli.terminal import json_option, lang_option

if TYPE_CHECKING:
    from reversible_samples.s3_servers import MiniStack, SeaweedFS

_BUCKET, _MODELS, _EXIT = "comptoir-documents", "comptoir-modeles", "sortie"
_TRAINED = "trained"  # what the vendor's owner trained; kept from one demo to the next in the same directory
SECRETS = ("SHOP_PASSWORD", "VENDOR_ACCESS_KEY", "VENDOR_SECRET_KEY", "EU_ACCESS_KEY", "EU_SECRET_KEY")


@dataclass(frozen=True)
class Vendor:
    """The vendor while it lives: `stop` ends its servers; `admin_url` is the database owner's, with its password."""

    stop: Callable[[], None]
    admin_url: str = field(repr=False)


@click.command(
    epilog="""\b
Examples:
  reversible demo                      in ./reversible-demo, thrown away at the next demo unless --keep
  reversible demo /tmp/essai --lang fr
  reversible demo --sabotage           plants one fault of each family; must end FAILED, exit status 1"""
)
@click.argument("directory", metavar="[DIR]", type=click.Path(path_type=Path), default=Path("reversible-demo"))
@click.option("--sabotage", is_flag=True, help="Plant one fault of each family between export and verification.")
@click.option("--keep", is_flag=True, help="Refuse to replace an earlier demo in DIR.")
@json_option
@lang_option
def demo(directory: Path, sabotage: bool, keep: bool, as_json: bool, lang: str) -> int:
    """Start a vendor on this machine, leave it, stop it, and prove that everything still answers."""
    from reversible import plan
    from reversible.cli.dry_run import conclude
    from reversible.cli.terminal import follow
    from reversible.run import DryRun

    directory = directory.absolute()
    _clear(directory, keep=keep)
    with company(directory, lang=lang) as vendor:
        run = DryRun(plan.load(directory / "exit-plan.toml"), directory / "run", lang=lang)
        faults: tuple[str, ...] = ()
        for event in follow(run, lang=lang):
            if event.ended and event.phase == "export" and sabotage:
                from reversible_samples.sabotage import plant

                faults = plant(run.space.bundle)
            if event.ended and event.phase == "ship":
                vendor.stop()
                _say(lang, "The vendor is stopped.", "Le fournisseur est arrêté.")
    status = conclude(run, as_json=as_json, exit_zero=False, lang=lang, bilingual=True)
    if sabotage:
        _say(lang, "Planted faults:", "Fautes plantées :")
        for fault in faults:
            click.echo(f"  - {fault}", err=True)
    return status


@contextmanager
def company(directory: Path, *, lang: str) -> Iterator["Vendor"]:
    """The vendor and the European storage, up and full, and DIR/exit-plan.toml."""
    from reversible_samples import company as customer
    from reversible_samples.models import SAMPLES
    from reversible_samples.postgres_server import PostgresServer
    from reversible_samples.s3_servers import MiniStack, SeaweedFS
    from reversible_samples.sagemaker_server import SageMaker

    reader_password = secrets.token_urlsafe(18)
    with ExitStack() as europe, ExitStack() as vendor:
        _say(
            lang,
            "Starting the vendor: PostgreSQL, S3, a model endpoint …",
            "Démarrage du fournisseur : PostgreSQL, S3, modèles…",
        )
        training = vendor.enter_context(_Training(directory / _TRAINED))
        store, eu = MiniStack(directory / "vendor/s3"), SeaweedFS(directory / "europe/s3")
        vendor.callback(store.stop)
        europe.callback(eu.stop)
        endpoints = {name: f"s3://{_MODELS}/{name}/model.tar.gz" for name in SAMPLES}

        def serve_models() -> tuple[Path, SageMaker]:
            trained = training.finish()
            served = SageMaker(
                directory / "vendor/sagemaker", endpoints, models=trained,
                region=store.region, access_key=store.access_key, secret_key=store.secret_key,
            )  # fmt: skip
            return trained, vendor.enter_context(served)

        with ThreadPoolExecutor() as threads:  # each waits for a server more than it works
            european = threads.submit(_open_bucket, eu)
            serving = threads.submit(serve_models)
            filling = threads.submit(_fill_store, store)
            database = vendor.enter_context(PostgresServer(directory / "vendor/postgres"))
            rows = customer.load_database(database.url, reader_password)
            versions = filling.result()
            trained, models = serving.result()
            _upload_models(store, trained)
            european.result()
        os.environ |= {
            "SHOP_PASSWORD": reader_password,
            "VENDOR_ACCESS_KEY": store.access_key,
            "VENDOR_SECRET_KEY": store.secret_key,
            "EU_ACCESS_KEY": eu.access_key,
            "EU_SECRET_KEY": eu.secret_key,
        }
        text = _PLAN.format(
            database=database, store=store, models=models, eu=eu, bucket=_BUCKET, model_bucket=_MODELS, exit=_EXIT,
            reader=customer.READER, golden="\n".join(_golden(name) for name in endpoints),
        )  # fmt: skip
        (directory / "exit-plan.toml").write_text(text, encoding="utf-8")
        thousands = f"{rows:,}"
        in_french = thousands.replace(",", "\u202f")
        _say(
            lang,
            f"The customer holds {thousands} rows, {versions} documents and versions, {len(endpoints)} models.",
            f"Le client possède {in_french} lignes, {versions} documents et versions, {len(endpoints)} modèles.",
        )
        try:
            yield Vendor(stop=vendor.close, admin_url=database.url)
        finally:
            for name in SECRETS:
                os.environ.pop(name, None)


class _Training:
    """The vendor's models in the making, in a process of its own while the databases are filled."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def finish(self) -> Path:
        """The folder that holds the models, a folder each."""
        said = self._process.communicate()[1]
        if self._process.returncode:
            raise RuntimeError(f"the sample models could not be trained: {said.strip()}")
        return self._folder

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "reversible_samples.models", str(self._folder)]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        return self

    def __exit__(self, *_: object) -> None:
        with self._process:  # closes its pipe and waits
            self._process.kill()


def _golden(name: str) -> str:
    return f'[source.models.golden.{name}]\ninputs = "s3://{_MODELS}/{name}/golden-inputs.parquet"\n'


def _open_bucket(eu: "SeaweedFS") -> None:
    eu.start()
    eu.client().create_bucket(Bucket=_EXIT)


def _fill_store(store: "MiniStack") -> int:
    """Start the vendor's storage and put the documents there; the number of object versions."""
    from reversible_samples import company as customer

    store.start()
    return customer.fill_bucket(store.client(), _BUCKET)


def _upload_models(store: "MiniStack", trained: Path) -> None:
    from reversible_samples.models import SAMPLES
    from reversible_samples.models.package import FILES

    s3 = store.client()
    s3.create_bucket(Bucket=_MODELS, CreateBucketConfiguration={"LocationConstraint": store.region})
    for name in SAMPLES:
        for file in FILES:
            s3.upload_file(str(trained / name / file), _MODELS, f"{name}/{file}")


def _clear(directory: Path, *, keep: bool) -> None:
    """Make room: only a directory that an earlier demo made is ever removed."""
    from reversible.errors import UsageError

    marker = directory / ".reversible-demo"
    if directory.exists() and any(directory.iterdir()):
        if keep or not marker.exists():
            raise UsageError(f"{directory} exists and is not empty", hint="reversible demo another-directory")
        for one in directory.iterdir():
            if one.is_dir() and not one.is_symlink():
                if one.name != _TRAINED:
                    shutil.rmtree(one)
            elif one != marker:
                one.unlink()
    directory.mkdir(parents=True, exist_ok=True)
    marker.touch()


def _say(lang: str, english: str, french: str) -> None:
    click.echo(french if lang == "fr" else english, err=True)


_PLAN = """\
version = 1

[contract]
title = "Boutique en ligne « Le Comptoir des Alpes »"
customer = "Le Comptoir des Alpes SAS"
provider = "Vendor Cloud (stand-in on this machine)"
reference = "DEMO-2026"
signed = 2026-01-15
languages = ["fr", "en"]

[clauses]
profiles = ["baseline", "ai"]

[[clauses.criterion]]            # stricter than the catalogue's default: these models are small
clause = "MOD-03"
metric = "model.max_abs_diff"
value = 0.0001
basis = "contract"

[facts]                          # read in the contract by a person: such numbers prove nothing alone
"contract.notice_days" = 60
"contract.transition_days" = 30
"dest.listed_count" = 2
"cost.budget_eur" = 5000

[source.boutique]
kind = "postgres"
url = "{database.reader_url}"
password = "${{SHOP_PASSWORD}}"
pg_dump = "{database.pg_dump}"

[source.documents]
kind = "s3"
bucket = "{bucket}"
region = "{store.region}"
endpoint_url = "{store.endpoint_url}"
access_key = "${{VENDOR_ACCESS_KEY}}"
secret_key = "${{VENDOR_SECRET_KEY}}"

[source.models]
kind = "sagemaker"
region = "{store.region}"
endpoint_url = "{models.endpoint_url}"
s3_endpoint_url = "{store.endpoint_url}"
access_key = "${{VENDOR_ACCESS_KEY}}"
secret_key = "${{VENDOR_SECRET_KEY}}"

{golden}
[destination]
kind = "local"                   # a laptop is not a European cloud: N3 at most
country = "FR"

[destination.storage]
url = "s3://{exit}/essai"
endpoint_url = "{eu.endpoint_url}"
region = "{eu.region}"
access_key = "${{EU_ACCESS_KEY}}"
secret_key = "${{EU_SECRET_KEY}}"

[exit]
triggers = ["the vendor closes the service", "price rise above 20 %", "loss of a qualification"]
scenarios = ["planned exit", "stressed exit: nobody answers at the vendor"]
alternatives = ["OVHcloud", "Scaleway"]
steps = ["export", "ship", "restore", "re-run the models", "accept", "erase at the vendor"]
success_criteria = ["every blocking clause PROVEN at N4"]
duration_hours = 0.5
next_rehearsal = 2027-05-24

[exit.roles]
owner = "CTO"
approver = "CEO"
"""
