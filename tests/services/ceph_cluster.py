"""A real Ceph of our own on the loopback address: monitor, manager, an OSD in memory, object gateway."""

import hashlib
import json
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from app.store.s3place import S3Place
from tests.services.processes import START_SECONDS, Service, free_port, required_binary

PACKAGES = "ceph-mon ceph-mgr ceph-osd radosgw ceph-common"
OSD_BYTES = 2 << 30


@dataclass
class Ceph:
    """The cluster: pools, users and buckets for tests."""

    folder: Path
    gateway_port: int = field(default_factory=free_port)

    @property
    def conf(self) -> Path:
        """The configuration file, with the keyring of the administrator."""
        return self.folder / "ceph.conf"

    @property
    def endpoint(self) -> str:
        """The URL of the object gateway."""
        return f"http://127.0.0.1:{self.gateway_port}"

    def run(self, program: str, *arguments: str, seconds: float = 60) -> str:
        """A program of Ceph as administrator; its output."""
        command = [required_binary(program, PACKAGES), "-c", str(self.conf), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds)
        assert done.returncode == 0, f"{command} ended with {done.returncode}: {done.stdout}{done.stderr}"
        return done.stdout

    def user(self, name: str) -> tuple[str, str]:
        """Access and secret key of a new user of the gateway."""
        made = self.run("radosgw-admin", "user", "create", f"--uid={name}", f"--display-name={name}")
        keys = json.loads(made)["keys"][0]
        return keys["access_key"], keys["secret_key"]

    def place(self, prefix: str = "store") -> S3Place:
        """An empty bucket of a user of its own."""
        name = f"g2c-{uuid.uuid4().hex[:12]}"
        access, secret = self.user(name)
        place = S3Place(name, prefix, self.endpoint, access_key=access, secret_key=secret)
        _make_bucket(place)
        return place


@pytest.fixture(scope="session")
def ceph() -> Iterator[Ceph]:
    """A running cluster, stopped and removed at the end of the tests."""
    folder = Path(tempfile.mkdtemp(prefix="g2c-ceph-"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        cluster = Ceph(folder)
        _configure(cluster, free_port())
        _start_monitor(cluster, stack)
        _start(cluster, stack, "ceph-mgr", "x", cluster.folder / "mgr.x")
        _start_osd(cluster, stack)
        _start_gateway(cluster, stack)
        yield cluster


@pytest.fixture(scope="session")
def rbd_pool(ceph: Ceph) -> str:
    """A pool for images that tests share, each with a prefix of its own."""
    ceph.run("ceph", "osd", "pool", "create", "images", "4")
    ceph.run("rbd", "pool", "init", "images")
    return "images"


@pytest.fixture(scope="session")
def bucket(ceph: Ceph) -> S3Place:
    """A bucket that tests share, each below a prefix of its own."""
    return ceph.place()


def _configure(cluster: Ceph, port: int) -> None:
    folder = cluster.folder
    for each in ("run", "log", "mon.a", "mgr.x", "osd.0"):
        (folder / each).mkdir()
    cluster.conf.write_text(f"""[global]
fsid = {uuid.uuid4()}
mon_host = [v2:127.0.0.1:{port}]
public_network = 127.0.0.0/8
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
auth_cluster_required = cephx
auth_service_required = cephx
auth_client_required = cephx
auth_allow_insecure_global_id_reclaim = false
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 4
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
mon_max_pg_per_osd = 1000
osd_objectstore = memstore
memstore_device_bytes = {OSD_BYTES}
run_dir = {folder}/run
admin_socket = {folder}/run/$name.asok
log_file = {folder}/log/$name.log
keyring = {folder}/keyring
mon_data = {folder}/mon.a
mgr_data = {folder}/mgr.x
osd_data = {folder}/osd.0

[client.rgw]
rgw_frontends = beast endpoint=127.0.0.1:{cluster.gateway_port}
""")


def _start_monitor(cluster: Ceph, stack: ExitStack) -> None:
    keyring, monitors = cluster.folder / "keyring", cluster.folder / "monitors"
    entities = {
        "mon.": ("mon", "allow *"),
        "client.admin": ("mon", "allow *", "osd", "allow *", "mgr", "allow *"),
        "mgr.x": ("mon", "allow profile mgr", "osd", "allow *"),
        "client.rgw": ("mon", "allow rwx", "osd", "allow rwx"),
    }
    _tool("ceph-authtool", "--create-keyring", str(keyring))
    for name, caps in entities.items():
        given = [
            word for kind, cap in zip(caps[::2], caps[1::2], strict=True) for word in ("--cap", kind, cap)
        ]
        _tool("ceph-authtool", str(keyring), "--gen-key", "-n", name, *given)
    conf = cluster.conf.read_text()
    fsid = conf.split("fsid = ")[1].split()[0]
    address = conf.split("mon_host = ")[1].split()[0]
    _tool("monmaptool", "--create", "--fsid", fsid, "--addv", "a", address, str(monitors))
    cluster.run("ceph-mon", "--mkfs", "-i", "a", "--monmap", str(monitors), "--keyring", str(keyring))
    _start(cluster, stack, "ceph-mon", "a", cluster.folder / "run" / "mon.a.asok")


def _start_osd(cluster: Ceph, stack: ExitStack) -> None:
    name = str(uuid.uuid4())
    cluster.run("ceph", "osd", "new", name)
    caps = ("mon", "allow profile osd", "osd", "allow *", "mgr", "allow profile osd")
    key = cluster.run("ceph", "auth", "get-or-create", "osd.0", *caps)
    with (cluster.folder / "keyring").open("a") as keyring:
        keyring.write(key)
    cluster.run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", name)
    _start(cluster, stack, "ceph-osd", "0", cluster.folder / "run" / "osd.0.asok")
    deadline = time.monotonic() + START_SECONDS
    while '"num_up_osds": 1' not in cluster.run("ceph", "osd", "stat", "--format=json-pretty"):
        assert time.monotonic() < deadline, "the OSD of Ceph does not come up"
        time.sleep(0.2)


def _start_gateway(cluster: Ceph, stack: ExitStack) -> None:
    program = required_binary("radosgw", PACKAGES)
    arguments = [program, "-c", str(cluster.conf), "-n", "client.rgw", "-f"]
    service = Service(arguments, cluster.folder / "log" / "rgw.out", lambda: _listens(cluster.gateway_port))
    service.start()
    stack.callback(service.kill)


def _start(cluster: Ceph, stack: ExitStack, program: str, name: str, sign: Path) -> None:
    """Start a daemon in the foreground; it is up when `sign` is there."""
    arguments = [required_binary(program, PACKAGES), "-c", str(cluster.conf), "-i", name, "-f"]
    service = Service(arguments, cluster.folder / "log" / f"{program}.out", sign.exists)
    service.start()
    stack.callback(service.kill)


def _tool(name: str, *arguments: str) -> None:
    subprocess.run([required_binary(name, PACKAGES), *arguments], check=True, capture_output=True)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _make_bucket(place: S3Place) -> None:
    """The client library makes no buckets; curl signs the request that does."""
    signed = ["--aws-sigv4", f"aws:amz:{place.region}:s3", "--user", f"{place.access_key}:{place.secret_key}"]
    curl = [required_binary("curl", "curl"), "--silent", "--show-error", "--fail", "--request", "PUT"]
    nothing = ["--header", f"x-amz-content-sha256: {hashlib.sha256(b'').hexdigest()}"]
    subprocess.run(
        [*curl, *signed, *nothing, f"{place.endpoint}/{place.bucket}"], check=True, capture_output=True
    )
