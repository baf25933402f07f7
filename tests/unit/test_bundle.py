"""A bundle is written whole or not at all, and refused when one byte of it is not what it says."""

import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import bagit
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reversible.assets import Asset, Kind
from reversible.bundle import bag
from reversible.bundle.reader import Bundle
from reversible.bundle.writer import BundleWriter
from reversible.errors import BundleError, DestinationError
from reversible.interfaces import Witness

AT = datetime(2026, 11, 24, tzinfo=UTC)
TABLE = Asset(source="shop", kind=Kind.TABLE, name='public."Ordérs"/../x')
OBJECTS = Asset(source="docs", kind=Kind.OBJECTS, name="bucket")


def write_bundle(root: Path) -> Bundle:
    writer = BundleWriter(root)
    with writer.part(f"{TABLE.folder}/part-00000.parquet") as stream:
        pq.write_table(pa.table({"id": [1, 2, 3]}), stream)
    writer.put_witness(TABLE, Witness(method="test", facts={"rows": 3}, tables={"grid": pa.table({"n": [3]})}))
    writer.close_asset(TABLE, exporter="test", at=AT)
    digest, size = writer.put_object(OBJECTS, iter([b"hel", b"lo"]))
    with writer.part(f"{OBJECTS.folder}/index.parquet") as stream:
        pq.write_table(pa.table({"key": ["../a", "gone"], "sha256": [digest, None], "size": [size, None]}), stream)
    writer.close_asset(OBJECTS, exporter="test", at=AT)
    return writer.finish(about={"tool": "test"}, at=AT)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return write_bundle(tmp_path / "bundle")


def test_a_faithful_bundle_passes_and_says_what_it_holds(bundle: Bundle) -> None:
    bundle.check()

    assert bundle.assets == (OBJECTS, TABLE)
    assert bundle.witness(TABLE).facts == {"rows": 3}
    assert bundle.witness(TABLE).tables["grid"].to_pydict() == {"n": [3]}
    assert bagit.Bag(str(bundle.root)).is_valid()


def test_sha256sum_alone_can_check_it(bundle: Bundle) -> None:
    command = ["sha256sum", "--quiet", "--strict", "-c", bag.TAG_MANIFEST, bag.MANIFEST]

    subprocess.run(command, cwd=bundle.root, check=True)


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    assert write_bundle(tmp_path / "a").digest == write_bundle(tmp_path / "b").digest


def the_part(root: Path) -> Path:
    return next(root.glob("data/table/*/part-00000.parquet"))


def the_object(root: Path) -> Path:
    return next(root.glob("objects/*/*"))


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def relist(root: Path, line: str) -> None:
    (root / bag.MANIFEST).write_text((root / bag.MANIFEST).read_text() + line)
    tags = sorted(bag.read_manifest(root / bag.TAG_MANIFEST))
    (root / bag.TAG_MANIFEST).write_text("".join(f"{bag.sha256_file(root / tag)}  {tag}\n" for tag in tags))


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "one flipped byte": (lambda root: flip(the_part(root)), "altered"),
    "a truncated file": (lambda root: os.truncate(the_part(root), 10), "altered"),
    "a missing file": (lambda root: the_part(root).unlink(), "missing"),
    "an extra file": (lambda root: (root / "data/extra.txt").write_text("x"), "in no manifest"),
    "an extra hidden file": (lambda root: (root / ".gitattributes").write_text("x"), "in no manifest"),
    "an extra object": (lambda root: the_object(root).with_name("0" * 64).write_text("x"), "in no manifest"),
    "a changed object": (lambda root: flip(the_object(root)), "altered"),
    "a lost object": (lambda root: the_object(root).unlink(), "missing"),
    "a symlink": (lambda root: (root / "data/link").symlink_to("/etc/passwd"), "not a regular file"),
    "a file turned into a symlink": (
        lambda root: (
            shutil.move(the_part(root), root.parent / "x"),
            the_part_gone(root).symlink_to(root.parent / "x"),
        ),
        "not a regular file",
    ),
    "a pipe": (lambda root: os.mkfifo(root / "data/pipe"), "not a regular file"),
    "a ../ name in the manifest": (lambda root: relist(root, f"{'0' * 64}  data/../../etc/passwd\n"), "plain path"),
    "an absolute name": (lambda root: relist(root, f"{'0' * 64}  /etc/passwd\n"), "plain path"),
    "a name listed twice": (
        lambda root: relist(root, (root / bag.MANIFEST).read_text().splitlines(keepends=True)[0]),
        "listed twice",
    ),
    "a file listed that is not below data/": (lambda root: relist(root, f"{'0' * 64}  bagit.txt\n"), "not below data/"),
    "a manifest that is not text": (lambda root: (root / bag.MANIFEST).write_bytes(b"\xff\xfe"), "UTF-8"),
    "no manifest": (lambda root: (root / bag.MANIFEST).unlink(), "missing"),
    "no tag manifest": (lambda root: (root / bag.TAG_MANIFEST).unlink(), "missing"),
    "another declaration": (lambda root: (root / "bagit.txt").write_text("BagIt-Version: 0.97\n"), "bagit.txt"),
    "a second manifest": (lambda root: (root / "manifest-md5.txt").write_text(""), "in no manifest"),
    "a garbage object index": (lambda root: next(root.glob("data/objects/*/index.parquet")).write_bytes(b"x"), "index"),
}


def the_part_gone(root: Path) -> Path:
    return next(root.glob("data/table/*")) / "part-00000.parquet"


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_refused_and_named(bundle: Bundle, name: str) -> None:
    damage, expected = DAMAGES[name]
    damage(bundle.root)

    with pytest.raises(BundleError, match=expected):
        Bundle.open(bundle.root).check()


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"format": "other/1"}', b'{"format": "reversible-bundle/1"}', b"\xff"]
)
def test_a_description_that_is_not_ours_is_refused(bundle: Bundle, content: bytes) -> None:
    (bundle.root / "data/bundle.json").write_bytes(content)

    with pytest.raises(BundleError):
        Bundle.open(bundle.root)


def test_a_directory_that_is_no_bundle_is_refused(tmp_path: Path) -> None:
    for root in (tmp_path, tmp_path / "absent"):
        with pytest.raises(BundleError):
            Bundle.open(root)


def test_a_finished_bundle_is_never_written_over(bundle: Bundle) -> None:
    with pytest.raises(BundleError, match="exists already"):
        BundleWriter(bundle.root)


@given(st.text())
def test_a_safe_name_never_escapes(name: str) -> None:
    if bag.is_safe(name):
        assert Path("/root", name).resolve().is_relative_to("/root")
        assert not any(part.startswith(".") for part in name.split("/"))
        assert name.isascii()


@given(st.text(min_size=1), st.text(min_size=1))
def test_any_name_of_a_vendor_becomes_a_safe_and_distinct_folder(first: str, second: str) -> None:
    folders = {Asset(source="s", kind=Kind.TABLE, name=name).folder for name in (first, second)}

    assert all(bag.is_safe(folder) for folder in folders)
    assert len({folder.lower() for folder in folders}) == len({first, second})


def test_a_part_whose_writing_fails_leaves_nothing(tmp_path: Path) -> None:
    def break_half_way(writer: BundleWriter) -> None:
        with writer.part("data/table/x/part-0.parquet") as stream:
            stream.write(b"half")
            raise RuntimeError("the source broke")

    with BundleWriter(tmp_path / "bundle") as writer:
        with pytest.raises(RuntimeError, match="the source broke"):
            break_half_way(writer)
        assert not writer.has("data/table/x/part-0.parquet")

    assert [path for path, _ in bag.walk(tmp_path) if "part-0" in path] == []


def test_a_killed_writer_is_taken_up_where_it_was(tmp_path: Path) -> None:
    script = textwrap.dedent("""
        import os, signal, sys
        from pathlib import Path
        sys.path.insert(0, sys.argv[2])
        from test_bundle import AT, OBJECTS, TABLE
        from reversible.bundle.writer import BundleWriter
        writer = BundleWriter(Path(sys.argv[1]))
        with writer.part(TABLE.folder + "/part-00000.parquet") as stream:
            stream.write(b"one")
        writer.close_asset(TABLE, exporter="test", at=AT)
        writer.put_object(OBJECTS, iter([b"whole"]))
        with writer.part(TABLE.folder + "/part-00001.parquet") as stream:
            stream.write(b"half")
            os.kill(os.getpid(), signal.SIGKILL)
    """)
    root = tmp_path / "bundle"
    run = subprocess.run([sys.executable, "-c", script, str(root), str(Path(__file__).parent)], check=False)
    assert run.returncode == -signal.SIGKILL
    assert not root.exists()

    with BundleWriter(root) as writer:
        assert writer.resumed
        assert writer.is_closed(TABLE)
        assert writer.has(f"{TABLE.folder}/part-00000.parquet")
        assert not writer.has(f"{TABLE.folder}/part-00001.parquet")
    assert list(root.with_name("bundle.partial").rglob("*.tmp")) == []


def test_a_finished_part_that_was_altered_between_two_runs_is_written_again(tmp_path: Path) -> None:
    root = tmp_path / "bundle"
    writer = BundleWriter(root)
    path = f"{TABLE.folder}/part-00000.parquet"
    with writer.part(path) as stream:
        stream.write(b"one")
    writer.close_asset(TABLE, exporter="test", at=AT)
    writer.close()
    (root.with_name("bundle.partial") / path).write_bytes(b"two")

    with BundleWriter(root) as again:
        assert not again.has(path)
        assert not again.is_closed(TABLE)


def test_a_journal_line_cut_short_by_a_kill_counts_for_nothing(tmp_path: Path) -> None:
    root = tmp_path / "bundle"
    writer = BundleWriter(root)
    with writer.part("data/table/x/part-0.parquet") as stream:
        stream.write(b"one")
    writer.close()
    with (root.with_name("bundle.partial") / "journal.jsonl").open("a") as journal:
        journal.write('{"part": "data/table/x/par')

    BundleWriter(root).close()

    with BundleWriter(root) as third:
        assert third.has("data/table/x/part-0.parquet")


def test_an_object_with_another_digest_than_expected_is_refused(tmp_path: Path) -> None:
    with BundleWriter(tmp_path / "bundle") as writer, pytest.raises(BundleError, match="arrived as"):
        writer.put_object(OBJECTS, iter([b"x"]), expect_sha256="0" * 64)


def test_a_full_disk_is_one_line_with_a_fix_and_nothing_is_lost(tmp_path: Path) -> None:
    script = textwrap.dedent("""
        import sys
        from pathlib import Path
        from reversible.bundle.writer import BundleWriter
        from reversible.errors import DestinationError
        writer = BundleWriter(Path(sys.argv[1]) / "bundle")
        with writer.part("data/table/x/part-0.parquet") as stream:
            stream.write(b"small")
        try:
            with writer.part("data/table/x/part-1.parquet") as stream:
                for _ in range(64):
                    stream.write(b"x" * (1 << 16))
        except DestinationError as error:
            assert "no space left" in error.message and "same command" in error.hint, error.message
            again = BundleWriter(Path(sys.argv[1]) / "bundle")
            assert again.has("data/table/x/part-0.parquet")
            print("refused")
    """)
    mount = 'mount -t tmpfs -o size=1m none "$1" && exec "$2" -c "$3" "$1"'
    command = ["unshare", "-rm", "sh", "-c", mount, "sh", str(tmp_path), sys.executable, script]
    if subprocess.run(["unshare", "-rm", "true"], check=False, capture_output=True).returncode:
        pytest.skip("no user namespaces here")

    run = subprocess.run(command, capture_output=True, text=True, check=False)

    assert run.stdout == "refused\n", run.stderr


def test_a_directory_that_may_not_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(DestinationError):
        BundleWriter(tmp_path / "file" / "bundle")
