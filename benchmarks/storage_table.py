"""Which operation works, is refused or is lied about on which S3 server? Writes the table of docs/storage.md.

    python benchmarks/storage_table.py docs/storage.md

Each server speaks TLS. Operations on versions and locks are tried in a bucket that has them, the others in a plain
one. What stands before and after the table stays.
"""

import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import s3_makes
from reversible.s3 import Client, Keys, trust
from reversible.storage_doctor import OPERATIONS, Settings, Trial, examine
from reversible.storage_doctor.doctor import CLEAN
from reversible.testing.tls import Authority, TLSFront

NAMES = {"seaweedfs": "SeaweedFS 4.48", "ministack": "MiniStack 1.5", "swift": "Swift 2.38", "ceph": "Ceph RGW 16.2"}
BEGIN, END = "<!-- made by benchmarks/storage_table.py -->", "<!-- end -->"
PLAIN, LOCKING = "plain", "locking"


def tried(make: str, folder: Path, authority: Authority) -> tuple[dict[str, Trial], dict[str, object], list[Trial]]:
    """Every trial, by its operation, what a client is set to, and what ends otherwise where versions are kept."""
    server = s3_makes.started(make, folder / make)
    try:
        s3 = server.client()
        s3.create_bucket(Bucket=PLAIN)
        s3.create_bucket(Bucket=LOCKING, ObjectLockEnabledForBucket=True)
        s3.put_bucket_versioning(Bucket=LOCKING, VersioningConfiguration={"Status": "Enabled"})
        kept = [one for one in OPERATIONS if one.id.startswith(("lock", "versions", "conditional", "tags"))]
        with TLSFront(server.endpoint_url, authority.server("127.0.0.1")) as front:
            found: dict[str, Trial] = {}
            other: list[Trial] = []
            for bucket, operations in ((PLAIN, OPERATIONS), (LOCKING, kept)):
                client = Client(
                    endpoint_url=front.endpoint_url, bucket=bucket, region=server.region, timeout_s=20.0,
                    keys=Keys(server.access_key, server.secret_key), tls=trust.context(str(authority.bundle), {}),
                )  # fmt: skip
                ended = examine(client, ".reversible-probe-table/", operations=operations)
                if bucket == PLAIN:
                    settings = {**Settings.of(ended, virtual=False).to_json(), "requests": ended.requests}
                if bucket == PLAIN:
                    found = {one.operation: one for one in ended.trials}
                    continue
                for one in ended.trials:
                    if one.operation.startswith(("lock", "versions")):
                        found[one.operation] = one
                    elif one.outcome != found[one.operation].outcome:
                        other.append(one)
            return found, settings, other
    finally:
        server.stop()


def cell(trial: Trial) -> str:
    """One outcome, with the server's code where it refused."""
    if str(trial.outcome) == "lies":
        return "**lies**"
    if str(trial.outcome) == "refused":
        return f"no: {trial.code}"
    return {"works": "yes", "not tried": "–"}[str(trial.outcome)]


def main(target: Path) -> None:
    """Run all makes, one after the other, and replace the table."""
    with tempfile.TemporaryDirectory() as folder:
        authority = Authority(Path(folder) / "authority")
        columns = {make: tried(make, Path(folder), authority) for make in NAMES}
    lines = [f"| operation | | {' | '.join(NAMES.values())} |", f"|---|---|{'---|' * len(NAMES)}"]
    for one in (*OPERATIONS, CLEAN):
        cells = " | ".join(cell(found[one.id]) for found, _, _ in columns.values())
        need = f" ({one.need})" if one.need else ""
        lines.append(f"| `{one.id}`{need} | {one.title} | {cells} |")
    for key in ("checksum", "parts", "integrity_headers", "requests"):
        values = " | ".join(str(settings[key]) for _, settings, _ in columns.values())
        lines.append(f"| *{key}* | | {values} |")
    lies = [
        f"- {NAMES[make]}, `{one.operation}`: {one.seen}"
        for make, (found, _, _) in columns.items()
        for one in found.values()
        if str(one.outcome) == "lies"
    ]
    others = [
        f"- {NAMES[make]}, `{one.operation}`: {one.outcome}: {one.code or one.seen}"
        for make, (_, _, trials) in columns.items()
        for one in trials
    ]
    lies += ["", "In a bucket that keeps versions these end otherwise:", "", *others]
    table = "\n".join(
        [f"Run on {datetime.now(UTC):%Y-%m-%d}.", "", *lines, "", "What was seen of each lie:", "", *lies]
    )
    before, _, rest = target.read_text(encoding="utf-8").partition(BEGIN)
    target.write_text(f"{before}{BEGIN}\n\n{table}\n\n{END}{rest.partition(END)[2]}", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
