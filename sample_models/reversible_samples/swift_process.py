"""OpenStack Swift in one command, as tests need it: swift_process.py FOLDER REGION PROXY OBJECT CONTAINER ACCOUNT.

Run with the Python of an environment that has `swift`; the S3 user and secret come as SWIFT_USER and SWIFT_KEY. Rings
are built here, the four servers are forked after one import, and end with this process. No root and no memcached.
"""

import contextlib
import getpass
import os
import signal
import sys
from pathlib import Path

_PIPELINE = (
    "catch_errors gatekeeper healthcheck listing_formats bulk s3api tempauth copy slo dlo versioned_writes symlink"
)


def main() -> None:
    """Write the configuration, build the rings, serve."""
    folder, region, *numbers = sys.argv[1:]
    ports = dict(zip(("proxy", "object", "container", "account"), map(int, numbers), strict=True))
    etc, devices = Path(folder, "etc"), Path(folder, "srv")
    etc.mkdir(parents=True, exist_ok=True)
    (devices / "d1").mkdir(parents=True, exist_ok=True)
    _configure(etc, devices, region, ports)
    os.environ["SWIFT_DIR"] = str(etc)
    from swift.common import utils

    utils.SWIFT_CONF_FILE = str(etc / "swift.conf")
    _rings(etc, {name: port for name, port in ports.items() if name != "proxy"})
    _serve(etc)


def _configure(etc: Path, devices: Path, region: str, ports: dict[str, int]) -> None:
    def write(name: str, text: str) -> None:
        place = etc / name
        place.touch(mode=0o600)
        place.write_text(text, encoding="utf-8")

    write(
        "swift.conf",
        "[swift-hash]\nswift_hash_path_suffix = reversible\nswift_hash_path_prefix = test\n"
        "[storage-policy:0]\nname = gold\ndefault = yes\n",
    )
    common = (
        f"[DEFAULT]\nbind_ip = 127.0.0.1\nworkers = 0\nuser = {getpass.getuser()}\nswift_dir = {etc}\n"
        f"log_name = swift\nlog_address = {etc}/nolog\n"
    )
    for name in ("object", "container", "account"):
        write(
            f"{name}-server.conf",
            f"{common}bind_port = {ports[name]}\ndevices = {devices}\nmount_check = false\n"
            f"disable_fallocate = true\nfallocate_reserve = 0\n"
            f"[pipeline:main]\npipeline = {name}-server\n[app:{name}-server]\nuse = egg:swift#{name}\n",
        )
    options = {
        "s3api": f"location = {region}\ns3_acl = false\ndns_compliant_bucket_names = true\nmax_bucket_listing = 1000\n",
        "tempauth": f"user_eu_{os.environ['SWIFT_USER']} = {os.environ['SWIFT_KEY']} .admin\n",
        "versioned_writes": "allow_object_versioning = true\n",
    }
    filters = "".join(f"[filter:{one}]\nuse = egg:swift#{one}\n{options.get(one, '')}" for one in _PIPELINE.split())
    write(
        "proxy-server.conf",
        f"{common}bind_port = {ports['proxy']}\n[pipeline:main]\npipeline = {_PIPELINE} proxy-server\n"
        f"[app:proxy-server]\nuse = egg:swift#proxy\nallow_account_management = true\naccount_autocreate = true\n"
        f"error_suppression_limit = 100000\n{filters}",
    )


def _rings(etc: Path, ports: dict[str, int]) -> None:
    from swift.common.ring import RingBuilder

    for name, port in ports.items():
        builder = RingBuilder(2, 1, 0)
        here = {"ip": "127.0.0.1", "port": port, "replication_ip": "127.0.0.1", "replication_port": port}
        builder.add_dev({"id": 0, "region": 1, "zone": 1, "device": "d1", "weight": 1.0, "meta": "", **here})
        builder.rebalance()
        builder.get_ring().save(str(etc / f"{name}.ring.gz"))


def _serve(etc: Path) -> None:
    import swift.account.server
    import swift.container.server
    import swift.obj.server
    import swift.proxy.server
    from swift.common.wsgi import run_wsgi

    children = []
    for name in ("object", "container", "account", "proxy"):
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            more = {"global_conf_callback": swift.obj.server.global_conf_callback} if name == "object" else {}
            sys.exit(run_wsgi(str(etc / f"{name}-server.conf"), f"{name}-server", default_port=1, **more))
        children.append(child)

    def end(*_: object) -> None:
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGTERM)
        os._exit(0)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    os.waitpid(-1, 0)
    end()


if __name__ == "__main__":
    main()
