"""Does the destination's storage give back what it was given?"""

from pathlib import Path

import click

from reversible.cli.terminal import json_option, print_json


@click.command(
    epilog="""\b
Examples:
  export AWS_ACCESS_KEY_ID=… AWS_SECRET_ACCESS_KEY=…
  reversible ship run-1/bundle s3://sortie/run-1 --endpoint-url https://s3.gra.io.cloud.ovh.net --region gra
  reversible ship run-1/bundle /mnt/disk/run-1""",
)
@click.argument("bundle", type=click.Path(path_type=Path, readable=False))
@click.argument("url")
@click.option("--endpoint-url", metavar="URL", help="The S3 endpoint; required for s3://.")
@click.option("--region", metavar="NAME", help="The region to sign for; required for s3://.")
@json_option
def ship(bundle: Path, url: str, endpoint_url: str | None, region: str | None, as_json: bool) -> int:
    """Copy BUNDLE to URL, read every file back and compare; the same command goes on after an interruption.

    An S3 storage is tried first, and sent to as it takes it. Keys come from the environment or the shared credentials
    file; AWS_CA_BUNDLE names the authority of a certificate of its own.
    """
    import sys

    from reversible.bundle import storage
    from reversible.bundle.reader import Bundle
    from reversible.bundle.s3 import S3Storage

    opened = Bundle.open(bundle)
    opened.check()
    target = storage.open_storage(url, endpoint_url=endpoint_url, region=region)
    sent = total = 0
    with click.progressbar(storage.ship(opened, target), length=0, file=sys.stderr) as shipped:
        for one in shipped:
            sent, total, shipped.length = sent + one.sent, one.total, one.total
    if as_json:
        tried = target.answers() if isinstance(target, S3Storage) else None
        document = {"url": url, "sha256": opened.digest, "files": total, "sent": sent, "read_back": total}
        print_json({**document, "storage": tried})
        return 0
    click.echo(f"{url}  {total} files, {sent} sent, all read back  sha256:{opened.digest}")
    return 0
