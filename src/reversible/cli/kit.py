"""What does a host without any package index need to verify a bundle?"""

import platform
import sys
from pathlib import Path

import click

from reversible.cli.terminal import json_option, print_json


@click.group(
    epilog="""\b
Examples:
  reversible kit build kit                                         for this machine's Python
  reversible kit build kit-3.12.tar --python 3.12 --machine aarch64
  python3 kit/install.py --key FINGERPRINT                         on the host, which needs no network
  reversible kit check kit --key FINGERPRINT""",
)
def kit() -> None:
    """The verifying side as one signed folder of wheels, for a host without network."""


@kit.command()
@click.argument("target_folder", metavar="DIR|FILE.tar", type=click.Path(path_type=Path))
@click.option("--python", "python_version", metavar="3.N", default=".".join(map(str, sys.version_info[:2])),
              show_default=True, help="The host's Python.")  # fmt: skip
@click.option("--machine", default=platform.machine(), show_default=True, help="The host's machine, by `uname -m`.")
@click.option("--glibc", metavar="2.N", default="2.28", show_default=True, help="The host's C library, or older.")
@click.option("--words", is_flag=True, help="Also what models need that are asked in words (tokenizers).")
@json_option
def build(
    target_folder: Path, python_version: str, machine: str, glibc: str, words: bool, as_json: bool
) -> int:  # fmt: skip
    """Fetch the verifying side's wheels, sign the list of them, and leave it all in DIR, or in one tar file."""
    import tempfile

    from reversible.errors import UsageError
    from reversible.evidence import keys
    from reversible.kit import build as kits
    from reversible.kit.manifest import Target

    key = keys.load_or_create()
    target = Target(python=python_version, machine=machine, glibc=glibc)
    if target_folder.suffix != ".tar":
        made = kits.build(target_folder, key, target=target, words=words)
        command = f"python3 {target_folder}/install.py --key {key.fingerprint}"
    else:
        if target_folder.exists():
            raise UsageError(f"{target_folder} exists already", hint=f"rm {target_folder}, or choose another name")
        target_folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="reversible-") as scratch:
            made = kits.build(Path(scratch) / "kit", key, target=target, words=words)
            kits.pack(made, target_folder)
        command = f"tar xf {target_folder.name} && python3 kit/install.py --key {key.fingerprint}"
    if as_json:
        print_json({"kit": str(target_folder), "id": made.id, "target": made.target.to_json(),
                    "packages": dict(made.packages), "key": key.fingerprint})  # fmt: skip
        return 0
    click.echo(f"{target_folder}  {len(made.packages)} wheels for {made.target}  sha256:{made.id}")
    click.echo(command)
    return 0


@kit.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--key", "signer", metavar="FINGERPRINT", help="The key of who built it; this machine's when left out.")
@json_option
def check(folder: Path, signer: str | None, as_json: bool) -> int:
    """Read every byte of the kit in DIR: the signed list is the key's, and the files are the list's."""
    from reversible.evidence import keys
    from reversible.kit.manifest import Kit

    fingerprint = keys.pinned(signer).fingerprint if signer else keys.load_or_create().fingerprint
    found = Kit.read(folder)
    found.check(fingerprint)
    if as_json:
        print_json({"kit": str(folder), "id": found.id, "target": found.target.to_json(),
                    "packages": dict(found.packages), "key": fingerprint})  # fmt: skip
        return 0
    click.echo(f"{folder}  {len(found.packages)} wheels for {found.target}  sha256:{found.id}")
    return 0
