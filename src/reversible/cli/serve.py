"""Does a model of the bundle answer its callers again, with nothing of the vendor's?"""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from reversible.cli.terminal import json_option, lang_option, print_json

if TYPE_CHECKING:
    from reversible.assets import Asset
    from reversible.bundle.reader import Bundle
    from reversible.serving import Replayed

_WORDS = {
    "en": {
        "none": "No request was recorded at the endpoint: nothing to hold it against.",
        "asked": "{requests:,} recorded requests ({inputs:,} inputs) were sent again, byte for byte.",
        "same": "All are answered in the same shape, with the same decisions; largest difference {diff:.3g}.",
        "open": "All are answered in the same shape; largest difference {diff:.3g}. Each answer is one number, and"
        " no threshold makes a decision of it: NOTHING SHOWS HERE that it is the same.",
        "changed": "{count:,} inputs get ANOTHER DECISION; largest difference {diff:.3g}.",
        "refused": "REFUSED", "reshaped": "ANOTHER SHAPE",
        "speed": "Median {here:.2f} ms here, {there:.2f} ms when recorded (over the network then).",
        "serving": "{name} answers at {url}/invocations (Ctrl-C ends it)",
        "judge": "Whether it is equivalent: reversible verify {bundle}",
    },
    "fr": {
        "none": "Aucune requête n'a été enregistrée au point d'accès : rien à quoi le comparer.",
        "asked": "{requests:,} requêtes enregistrées ({inputs:,} entrées) ont été renvoyées, octet pour octet.",
        "same": "Toutes ont la même forme de réponse et les mêmes décisions ; plus grand écart {diff:.3g}.",
        "open": "Toutes ont la même forme de réponse ; plus grand écart {diff:.3g}. Chaque réponse est un seul nombre,"
        " et aucun seuil n'en fait une décision : RIEN NE MONTRE ICI qu'elle est la même.",
        "changed": "{count:,} entrées reçoivent UNE AUTRE DÉCISION ; plus grand écart {diff:.3g}.",
        "refused": "REFUSÉE", "reshaped": "AUTRE FORME",
        "speed": "Médiane {here:.2f} ms ici, {there:.2f} ms à l'enregistrement (par le réseau alors).",
        "serving": "{name} répond à {url}/invocations (Ctrl-C l'arrête)",
        "judge": "S'il est équivalent : reversible verify {bundle}",
    },
}  # fmt: skip


@click.command(
    epilog="""\b
Examples:
  reversible serve run-1/bundle digits-cnn
  reversible serve run-1/bundle digits-cnn --replay-only
  curl -d '{"instances": [[0.1, 0.2]]}' http://127.0.0.1:8080/invocations

\b
Exit status: 0 every recorded request got an answer of the same shape with the same decisions (or it served until
Ctrl-C after that); 1 one did not, and it does not serve; 3 none was recorded, or answers
make no decision, with --replay-only; 5 the bundle is altered or the model cannot be run; 6 the port is taken.""",
)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("model", metavar="[MODEL]", required=False)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on. There is no TLS.")
@click.option("--port", default=8080, show_default=True, type=click.IntRange(0, 65535), help="0: any free one.")
@click.option("--replay-only", is_flag=True, help="Send the recorded requests, say what came of it, and end.")
@json_option
@lang_option
def serve(bundle: Path, model: str | None, host: str, port: int, replay_only: bool, as_json: bool, lang: str) -> int:
    """Serve MODEL of BUNDLE from its ONNX file alone, after it answered the vendor's recorded requests again.

    GET /ping and POST /invocations, as a SageMaker container: JSON, CSV or NumPy's .npy. --json implies --replay-only.
    """
    from reversible.bundle.reader import Bundle
    from reversible.serving import ModelServer, ServedModel, replay

    opened = Bundle.open(bundle)
    opened.check()
    asset = chosen(opened, model)
    served = ServedModel(opened, asset)
    with ModelServer(served, host=host, port=0 if replay_only or as_json else port) as server:
        replayed = replay(opened, asset, server.url)
        status = _status(replayed)
        if as_json:
            print_json(_document(bundle, opened, asset, replayed, status))
            return status
        for line in _lines(replayed, bundle, lang):
            click.echo(line)
        if replay_only or status == 1:
            return status
        click.echo(_WORDS[lang]["serving"].format(name=asset.name, url=server.url), err=True)
        server.wait()
    return 0


def chosen(bundle: "Bundle", name: str | None) -> "Asset":
    """The model that is meant.

    Raises:
        UsageError: there is none of that name, or the name is missing and there are several.
    """
    from reversible.assets import Kind
    from reversible.errors import UsageError

    models = [asset for asset in bundle.assets if asset.kind is Kind.MODEL]
    found = [asset for asset in models if name in (None, asset.name, asset.id)]
    if len(found) == 1:
        return found[0]
    names = ", ".join(asset.name for asset in models) or "none"
    what = "one model is served at a time" if name is None else f"{name} is no model of the bundle"
    raise UsageError(f"{what}; there are: {names}", hint=f"reversible serve BUNDLE {models[0].name if models else ''}")


def _status(replayed: "Replayed | None") -> int:
    """0: the same; 1: something is answered otherwise; 3: there was nothing to ask, or nothing that decides."""
    if replayed is None:
        return 3
    return 1 if replayed.differs else 0 if replayed.same else 3


def _document(
    path: Path, bundle: "Bundle", asset: "Asset", replayed: "Replayed | None", status: int
) -> dict[str, object]:
    return {
        "bundle": str(path), "sha256": bundle.digest, "model": asset.id,
        "replayed": None if replayed is None else vars(replayed) | {"same": replayed.same},
        "status": status,
    }  # fmt: skip


def _lines(replayed: "Replayed | None", bundle: Path, lang: str) -> list[str]:
    words = _WORDS[lang]
    if replayed is None:
        return [words["none"]]
    lines = [words["asked"].format(requests=replayed.requests, inputs=replayed.inputs)]
    for kind in ("refused", "reshaped"):
        lines += [f"  {words[kind]}  {one}" for one in getattr(replayed, kind)[:5]]
    if replayed.max_abs_diff is not None and not (replayed.refused or replayed.reshaped):
        kind = "same" if replayed.same else "changed" if replayed.differs else "open"
        lines.append(words[kind].format(diff=replayed.max_abs_diff, count=replayed.decisions_changed))
    lines.append(words["speed"].format(here=replayed.p50_ms, there=replayed.recorded_p50_ms))
    return [*lines, words["judge"].format(bundle=bundle)]
