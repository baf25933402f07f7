"""Which names can an object have, and does a listing give each of them back, once?"""

import unicodedata
from collections.abc import Callable

from reversible.storage_doctor.bench import Bench, Ended, Operation, Outcome, lies, operation

_WORD = "relevé/été"
# Name -> keys below the bench's prefix. READ (AWS, "Naming Amazon S3 objects"): a key is up to 1,024 bytes of UTF-8.
_ODD = {
    "unicode": ("accents, composed and decomposed, are two names",
                tuple(unicodedata.normalize(form, _WORD) for form in ("NFC", "NFD"))),
    "emoji": ("characters of four bytes", ("🙂/📄.txt", "𝒳")),
    "space": ("spaces, also at both ends", (" a  b ", "a b/ c")),
    "percent": ("percent, plus and what they stand for elsewhere", ("a%20b", "a+b", "a b", "%C3%A9", "100%")),
    "punctuation": ("punctuation of URLs and XML", ("a?b=c&d#e", "<a>&amp;'\"", "a;b:c@d=e,f", "$(x)`y`|z*~", "a\\b")),
    "case": ("capitals are other letters", ("case", "CASE", "Case")),
    "slash": ("a name that ends with a slash, beside what lies below it", ("folder/", "folder/below")),
    "slashes": ("empty parts between slashes", ("a//b", "a/b", "/c")),
    "dots": ("parts that are dots", ("a/./b", "a/../b", "..", "a/..")),
    "control": ("line breaks and tabs", ("a\nb", "a\tb", "a\rb")),
}  # fmt: skip


def _odd(name: str, title: str, keys: tuple[str, ...]) -> Operation:
    return operation(f"key.{name}", title)(_tried(name, keys))


def _tried(name: str, keys: tuple[str, ...]) -> Callable[[Bench], None]:
    def run(bench: Bench) -> None:
        folder = bench.key(f"keys-{name}/")
        whole(bench, folder, [f"{folder}{key}" for key in keys])

    return run


def whole(bench: Bench, folder: str, keys: list[str]) -> None:
    """Each key has its own bytes, and the listing has exactly these keys."""
    bodies = {key: bench.content(40 + number) for number, key in enumerate(keys)}
    for key, body in bodies.items():
        bench.put(key, body)
    for key, body in bodies.items():
        answer = bench.client.send("GET", key)
        if answer.status == 404:
            lies("{key} was taken, and is not there", key=_shown(key, folder))
        if not answer.ok:
            raise Ended(Outcome.REFUSED, "", answer.code)
        if answer.body in [other for name, other in bodies.items() if name != key]:
            lies("{key} has the bytes of another name", key=_shown(key, folder))
        bench.equal(answer.body, body)
    listed = bench.list_keys(folder, **{"encoding-type": "url"})
    for key in keys:
        if key not in listed:
            lies("{key} is there, and is not listed", key=_shown(key, folder))
    if stray := [key for key in listed if key not in keys]:
        lies("{key} is listed, and was never put", key=_shown(stray[0], folder))
    if len(listed) != len(set(listed)):
        lies("a name is listed twice")


def _shown(key: str, folder: str) -> str:
    return ascii(key.removeprefix(folder))[:80]


@operation("key.1024", "a name of 1,024 bytes, in parts of up to 100")
def key_1024(bench: Bench) -> None:
    folder = bench.key("keys-1024/")
    room = 1024 - len(folder.encode())
    name = "/".join(["é" * 50] * 10)
    while len(name.encode()) > room:
        name = name[1:]
    whole(bench, folder, [folder + "x" * (room - len(name.encode())) + name])


@operation("key.part", "a name of 900 bytes without a slash")
def key_part(bench: Bench) -> None:
    folder = bench.key("keys-part/")
    whole(bench, folder, [folder + "k" * (900 - len(folder.encode()))])


@operation("key.1025", "a name of 1,025 bytes is refused, not shortened")
def key_1025(bench: Bench) -> None:
    folder = bench.key("keys-1025/")
    name = folder + "/".join(["n" * 90] * 12)
    answer = bench.client.send("PUT", name[:1025], body=bench.content())
    if answer.ok and bench.list_keys(folder) != [name[:1025]]:
        lies("it was taken under another name")


@operation("list", "a listing is complete", need="transport")
def listing(bench: Bench) -> None:
    folder = bench.key("list/")
    keys = _fill(bench, folder)
    found = bench.list_keys(folder)
    if sorted(found) != sorted(keys):
        lies("{put} objects were put, {listed} of them are listed", put=len(keys), listed=len(set(found) & set(keys)))
    sizes = [size for page in bench.pages(folder) for size in page.texts("Contents/Size")]
    if sizes != ["7"] * len(keys):
        lies("a listing gives other sizes than were sent")


@operation("list.pages", "a listing in pages has each name once", need="transport")
def pages(bench: Bench) -> None:
    folder = bench.key("list/")
    keys = _fill(bench, folder)
    for size in ("1", "3"):
        found = bench.list_keys(folder, **{"max-keys": size})
        if sorted(found) != sorted(keys):
            lies("in pages of {size}, {listed} names for {put} objects", size=size, listed=len(found), put=len(keys))


@operation("list.order", "a listing is sorted by UTF-8 bytes")
def order(bench: Bench) -> None:
    folder = bench.key("list/")
    _fill(bench, folder)
    found = [key.encode() for key in bench.list_keys(folder)]
    if found != sorted(found):
        lies("names come in another order")


@operation("list.delimiter", "a listing of one level shows its folders")
def delimiter(bench: Bench) -> None:
    folder = bench.key("list/")
    _fill(bench, folder)
    found = list(bench.pages(folder, delimiter="/"))
    below = [name for page in found for name in page.texts("CommonPrefixes/Prefix")]
    here = [name for page in found for name in page.texts("Contents/Key")]
    if below != [f"{folder}deep/"] or len(here) != 6:
        lies("1 folder and 6 objects are there, {below} and {here} are listed", below=len(below), here=len(here))


@operation("list.start", "a listing begins after a name")
def start(bench: Bench) -> None:
    folder = bench.key("list/")
    keys = sorted(_fill(bench, folder), key=str.encode)
    found = bench.list_keys(folder, **{"start-after": keys[3]})
    if found != keys[4:]:
        lies("4 names should be left out, {left} are", left=len(keys) - len(found))


def _fill(bench: Bench, folder: str) -> list[str]:
    """Eight objects of seven bytes, once."""
    keys = [f"{folder}{name}" for name in ("1", "10", "2", "Z", "a", "é", "deep/1", "deep/2")]
    if "listed" not in bench.known:
        for key in keys:
            bench.put(key, bench.content(7))
        bench.known["listed"] = True
    return keys


LISTINGS = (listing, pages, order, delimiter, start)
KEYS = (*(_odd(name, title, keys) for name, (title, keys) in _ODD.items()), key_1024, key_1025, key_part)
