"""Is the model whole, open, licensed, traceable, and free of hidden code?

Nothing of the vendor's is opened here: the originals under `original/` are counted and hashed, never read.
"""

import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reversible import onnx_graph
from reversible.assets import Asset, Kind
from reversible.bundle import bag
from reversible.errors import BundleError
from reversible.findings import Finding
from reversible_verifiers import parameters

if TYPE_CHECKING:
    from reversible.bundle.reader import Bundle

# What a whole model consists of; clause MOD-01. A tokenizer counts as preprocessing.
ARTIFACTS = (
    "weights",
    "graph",
    "preprocessing",
    "labels",
    "settings",
    "evaluation_set",
    "environment_lock",
    "licence",
)
LINEAGE = ("version", "training_data", "code", "parameters", "environment_lock")
_LICENCES = re.compile(
    r"(Apache-2\.0|MIT|BSD-[23]-Clause|ISC|MPL-2\.0|EUPL-1\.[12]|(L|A)?GPL-[23]\.[01](-only|-or-later)?"
    r"|CC0-1\.0|CC-BY(-SA|-NC|-ND|-NC-SA|-NC-ND)?-4\.0|CDLA-Permissive-2\.0|OpenRAIL(\+\+)?(-M)?|LicenseRef-[\w.-]+)"
)
_EXPECTED = re.compile(
    r"model\.onnx(\.data)?|(model|endpoint)\.json|golden/(inputs|outputs|requests|floor(-\d+)?)\.parquet"
    r"|golden/(manifest|trace|parameters)\.json|golden/(parameters|trees|original)\.npz"
    r"|processing/[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
    r"|test_data_set_\d+/(input|output)_\d+\.pb"
)
_PINNED = re.compile(r"^\s*[A-Za-z0-9._-]+\s*==\s*\S+", re.MULTILINE)
_AT_A_PLATFORM = re.compile(r"^(s3|gs|abfss?|wasbs?)://|\.(amazonaws|windows|googleapis)\.(com|net)", re.IGNORECASE)


class ModelPackage:
    """Looks at a model's package: files, formats, licence, lineage, payloads."""

    metrics = frozenset(
        {
            "model.artifacts_missing",
            "model.open_format_pct",
            "model.licence_known_pct",
            "model.unsafe_payloads",
            "model.lineage_resolved_pct",
            *parameters.UNITS,
        }
    )
    kinds = frozenset({Kind.MODEL})

    def verify(self, asset: Asset, bundle: "Bundle") -> Iterator[Finding]:
        """Seven findings per model."""
        document = bundle.document(asset, "model.json")
        if not isinstance(document, dict) or document.get("format") != "reversible-model/1":
            raise BundleError(f"{asset.id}: model.json is not of the format reversible-model/1")
        folder = bundle.folder(asset)
        members = bundle.witness(asset).facts.get("members")
        if not isinstance(members, dict):
            raise BundleError(f"{asset.id}: its witness does not say what the model data holds")
        yield _missing(asset, document, folder, members)
        yield _open_format(asset, folder)
        yield _licence(asset, document, folder)
        yield _unsafe(asset, document, folder)
        yield _lineage(asset, document, folder)
        yield from parameters.findings(asset, bundle)


def _missing(asset: Asset, document: Mapping[str, Any], folder: Path, members: Mapping[str, str]) -> Finding:
    """The artefacts that a model needs, and the originals as the witness counted and hashed them."""
    named = document.get("artifacts") or {}
    places = [name for name in ARTIFACTS if not _holds(folder, named.get(name))]
    originals = {one["name"]: one["path"] for one in document.get("originals", [])}
    for name, digest in sorted(members.items()):
        path = originals.get(name)
        if path is None or not _holds(folder, path) or bag.sha256_file(folder / path) != digest:
            places.append(f"original {name}")
    return Finding(
        "model.artifacts_missing",
        asset.id,
        len(places),
        unit="count",
        seen="{found} of {expected} parts of the model are there; {originals} original files are as at the source",
        facts={
            "found": len(ARTIFACTS) - sum(place in ARTIFACTS for place in places),
            "expected": len(ARTIFACTS),
            "originals": len(members) - sum(place not in ARTIFACTS for place in places),
        },
        places=tuple(places),
    )


def _open_format(asset: Asset, folder: Path) -> Finding:
    """Valid ONNX, and only operators that the ONNX project specifies: its checker accepts vendors' own as well."""
    import onnx

    path = folder / "model.onnx"
    places: list[str] = []
    facts: dict[str, int | str] = {"ir": 0, "opsets": "none"}
    try:
        graph = onnx_graph.read(path)
        facts = {"ir": graph.ir_version, "opsets": ", ".join(graph.opsets)}
        places += [f"operator {one}" for one in graph.foreign]
        places += [f"external data {one!r}" for one in graph.escapes]
        places += [f"external data {one!r} is missing" for one in graph.external if not _holds(folder, one)]
        if not places:
            onnx.checker.check_model(str(path), full_check=True)
    except BundleError as error:
        places.append(error.message)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, ValueError) as error:
        places.append(f"onnx.checker: {(str(error).strip().splitlines() or ['refused'])[0][:200]}")
    return Finding(
        "model.open_format_pct",
        asset.id,
        0 if places else 100,
        unit="percent_of_models",
        seen="ONNX IR version {ir}, operator sets {opsets}",
        facts=facts,
        places=tuple(places),
        files=(f"{asset.folder}/model.onnx",),
    )


def _licence(asset: Asset, document: Mapping[str, Any], folder: Path) -> Finding:
    licence = document.get("licence")
    known = isinstance(licence, str) and _LICENCES.fullmatch(licence) is not None
    text = _holds(folder, (document.get("artifacts") or {}).get("licence"))
    places = [] if known else ["licence identifier"]
    places += [] if text else ["licence text"]
    return Finding(
        "model.licence_known_pct",
        asset.id,
        0 if places else 100,
        unit="percent",
        seen="the model's card says {licence}",
        facts={"licence": str(licence) if licence else "nothing"},
        places=tuple(places),
    )


def _unsafe(asset: Asset, document: Mapping[str, Any], folder: Path) -> Finding:
    """What could run code, or reach outside, when the model is opened here."""
    places = []
    for path, _ in bag.walk(folder):
        if not path.startswith("original/") and not _EXPECTED.fullmatch(path):
            places.append(f"unexpected file {path}")
        elif not path.startswith("original/") and _starts_with_code(folder / path):
            places.append(f"executable content in {path}")
    graph = onnx_graph.read(folder / "model.onnx")
    places += [f"operator {one} needs code that ONNX does not specify" for one in graph.foreign]
    places += [f"external data {one!r} outside the package" for one in graph.escapes]
    places += [f"pickle in {one}" for one in graph.payloads]
    attempts = (document.get("converter") or {}).get("attempts") or []
    places += [f"the original tried to reach {one} when it was converted" for one in attempts]
    return Finding(
        "model.unsafe_payloads",
        asset.id,
        len(places),
        unit="count",
        seen="{n} payloads that could run code here; {pickles} pickled files stay under original/, unopened here",
        facts={
            "n": len(places),
            "pickles": len((document.get("converter") or {}).get("pickled_members") or []),
        },
        places=tuple(places),
    )


def _lineage(asset: Asset, document: Mapping[str, Any], folder: Path) -> Finding:
    """Each link must be followed with the package alone, or name something outside the platform."""
    chain = document.get("lineage") or {}
    resolved = {
        "version": _is_digest((chain.get("version") or {}).get("model_data_sha256"))
        and bool((chain.get("version") or {}).get("name")),
        "training_data": _is_reference(chain.get("training_data")),
        "code": _is_code(folder, chain.get("code")),
        "parameters": isinstance(chain.get("parameters"), dict) and bool(chain["parameters"]),
        "environment_lock": _is_lock(folder, chain.get("environment_lock")),
    }
    places = tuple(link for link in LINEAGE if not resolved[link])
    return Finding(
        "model.lineage_resolved_pct",
        asset.id,
        100 * (len(LINEAGE) - len(places)) / len(LINEAGE),
        unit="percent",
        seen="{resolved} of {links} links of the lineage can be followed without the platform",
        facts={"resolved": len(LINEAGE) - len(places), "links": len(LINEAGE)},
        places=places,
    )


def _holds(folder: Path, path: Any) -> bool:
    """Whether the package really holds a file of that name, with something in it."""
    if not isinstance(path, str) or not bag.is_safe(path):
        return False
    found = folder / path
    return not found.is_symlink() and found.is_file() and found.stat().st_size > 0


def _starts_with_code(path: Path) -> bool:
    """Programs of Linux, Windows and macOS, scripts, zip archives and pickles, by their first bytes."""
    with path.open("rb") as file:
        start = file.read(1 << 16)
    programs = (b"\x7fELF", b"MZ", b"\xca\xfe\xba\xbe", b"\xcf\xfa\xed\xfe", b"#!", b"PK\x03\x04")
    if path.name.endswith((".onnx", ".data", ".pb")) or (path.suffix == ".npz" and _holds_arrays_alone(path)):
        return False
    return start.startswith(programs) or onnx_graph.is_code(start)


def _holds_arrays_alone(path: Path) -> bool:
    """Whether an archive of NumPy's holds arrays of numbers and texts, and no pickle."""
    try:
        with zipfile.ZipFile(path) as archive:
            starts = []
            for name in archive.namelist():
                with archive.open(name) as member:
                    starts.append(member.read(256))
            return all(name.endswith(".npy") for name in archive.namelist()) and all(
                start.startswith(b"\x93NUMPY") and b"|O" not in start.partition(b"}")[0] for start in starts
            )
    except (OSError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError):  # damaged, or encrypted
        return False


def _is_digest(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[0-9a-f]{64}", value) is not None


def _is_reference(link: Any) -> bool:
    """Training data: a digest, and a name that still means something when the platform is gone."""
    if not isinstance(link, dict) or not isinstance(link.get("reference"), str) or not link["reference"].strip():
        return False
    return _is_digest(link.get("sha256")) and not _AT_A_PLATFORM.search(link["reference"])


def _is_code(folder: Path, link: Any) -> bool:
    if not isinstance(link, list) or not link:
        return False
    return all(
        isinstance(one, dict)
        and _holds(folder, one.get("path"))
        and bag.sha256_file(folder / one["path"]) == one.get("sha256")
        for one in link
    )


def _is_lock(folder: Path, path: Any) -> bool:
    return _holds(folder, path) and bool(_PINNED.search((folder / path).read_text(encoding="utf-8", errors="replace")))
