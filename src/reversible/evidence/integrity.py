"""Is every file of the dossier the one that its manifests list, and is nothing else there?"""

from collections.abc import Iterable

from reversible.bundle import bag
from reversible.evidence import contents
from reversible.evidence.examination import Examination, NotRun, Rejected


def layout(exam: Examination) -> str:
    """Only plain files with plain names: nothing that leads outside or differs between file systems."""
    if exam.files.oddities:
        raise Rejected(some(exam.files.oddities))
    return f"{len(exam.files.digests)} files, no link, no odd name"


def manifests(exam: Examination) -> str:
    """Both manifests are written the one way that we write them, with one algorithm, and list what they must."""
    if exam.files.contents.get("bagit.txt") != bag.DECLARATION.encode():
        raise Rejected("bagit.txt is not the declaration of a BagIt 1.0 bag")
    payload, tags = (_manifest(exam, name) for name in (bag.MANIFEST, bag.TAG_MANIFEST))
    if set(tags) != contents.TAGS:
        raise Rejected(f"{bag.TAG_MANIFEST} must list exactly {', '.join(sorted(contents.TAGS))}")
    if strange := [path for path in payload if not contents.expected(path)]:
        raise Rejected(f"{bag.MANIFEST} lists what has no place in a dossier: {some(strange)}")
    if absent := [path for path in (*contents.DOCUMENTS, contents.CLAUSES) if path not in payload]:
        raise Rejected(f"{bag.MANIFEST} does not list {some(absent)}")
    exam.listed = {**payload, **tags}
    return f"{len(payload)} files of the run and {len(tags)} tag files listed"


def digests(exam: Examination) -> str:
    """Every listed file has the listed SHA-256."""
    listed, found = listing(exam), exam.files.digests
    if altered := [path for path, digest in listed.items() if found.get(path, digest) != digest]:
        raise Rejected(f"altered, their SHA-256 is not the listed one: {some(altered)}")
    return f"{len(listed)} SHA-256 digests agree"


def names(exam: Examination) -> str:
    """What is there is what is listed, both ways; the seal's own names are a closed list."""
    there = set(exam.files.digests)
    should = {*listing(exam), bag.TAG_MANIFEST, *contents.SEAL_NAMES}
    missing = [f"{path} is missing" for path in sorted(should - there)]
    stray = [f"{path} is in no manifest" for path in sorted(there - should)]
    if missing or stray:
        raise Rejected(some([*missing, *stray]))
    return "nothing is missing and nothing was added"


def listing(exam: Examination) -> dict[str, str]:
    if exam.listed is None:
        raise NotRun("the manifests cannot be relied on")
    return exam.listed


def some(items: Iterable[str], most: int = 5) -> str:
    """The first few, and how many more."""
    every = list(items)
    return "; ".join(every[:most]) + (f" (and {len(every) - most} more)" if len(every) > most else "")


def _manifest(exam: Examination, name: str) -> dict[str, str]:
    content = exam.files.contents.get(name)
    if content is None:
        raise Rejected(f"{name} is missing")
    entries = bag.parse_manifest(name, content)
    if "".join(f"{digest}  {path}\n" for path, digest in sorted(entries.items())).encode() != content:
        raise Rejected(f"{name} is not written the one way that we write it")
    return entries
