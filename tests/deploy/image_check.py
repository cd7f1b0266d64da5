"""Run the image as a cluster does, and prove what is promised of it.

    python -m tests.deploy.image_check IMAGE        (`make image-check` builds it first)

The container is non-root, without capabilities, on a read-only root, with 512 MiB. It must answer, serve a
login, refuse to write anywhere but where it may, run a command instead of a role, and end by itself on
SIGTERM while a request is under way. How long it took to answer is printed, and judged by nobody: a machine
may be busy.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ANSWER_WITHIN_SECONDS = 60.0
STOP_WITHIN_SECONDS = 40.0
MEMORY = "512m"
MEMORY_BYTES = 512 << 20
USER = 10001
TOOLS = {
    "qemu-img": "qemu-img version",
    "qemu-system-x86_64": "QEMU emulator version",
    "rbd": "ceph version",
    "ceph": "ceph version",
}
"""What the variant for volumes has and the other has not, and what each says to --version."""
UNREACHED = ("timed out", "couldn't connect")


class Broken(Exception):
    """The image does not do what is promised; the text says what was seen."""


@dataclass(frozen=True)
class Container:
    """A running container and where it listens."""

    name: str
    url: str
    answered_seconds: float


def podman(*arguments: str, check: bool = True) -> str:
    """Run podman; its standard output. Raises Broken with what it said when it fails."""
    done = subprocess.run(["podman", *arguments], capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise Broken(f"podman {' '.join(arguments)} failed: {done.stderr.strip()}")
    return done.stdout.strip()


def hardened(image: str, folder: Path) -> tuple[str, ...]:
    """The options with which the image runs as the cluster runs it; its writable folders lie in `folder`."""
    for name in ("state", "store"):
        (folder / name).mkdir(exist_ok=True)
        os.chown(folder / name, USER, USER)
    return (
        "--network=host",
        "--read-only",
        "--cap-drop=all",
        "--security-opt=no-new-privileges",
        "--tmpfs=/tmp",
        f"--memory={MEMORY}",
        f"--volume={folder / 'state'}:/data/state",
        f"--volume={folder / 'store'}:/data/store",
        image,
    )


def free_port() -> int:
    """A port of the loopback address that nobody has at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def started(image: str, folder: Path) -> Iterator[Container]:
    """Role all of the image, until it answers; removed afterwards, whatever happens."""
    port, name = free_port(), f"go2cloud-check-{os.getpid()}"
    settings = ("--env=G2C_HTTP_LISTEN_HOST=127.0.0.1", f"--env=G2C_HTTP_LISTEN_PORT={port}")
    began = time.monotonic()
    podman("run", "--detach", f"--name={name}", *settings, *hardened(image, folder), "all")
    try:
        url = f"http://127.0.0.1:{port}"
        _await_answer(url, name)
        yield Container(name, url, time.monotonic() - began)
    finally:
        podman("rm", "--force", "--time=0", name, check=False)


def _await_answer(url: str, name: str) -> None:
    until = time.monotonic() + ANSWER_WITHIN_SECONDS
    while time.monotonic() < until:
        try:
            urllib.request.urlopen(f"{url}/readyz", timeout=5).close()
        except OSError:  # of all kinds: refused, reset, timed out, not ready (HTTPError)
            if podman("inspect", "--format={{.State.Running}}", name) != "true":
                raise Broken(f"the container ended: {podman('logs', name)}") from None
            time.sleep(0.01)
        else:
            return
    raise Broken(f"no answer at {url}/readyz for {ANSWER_WITHIN_SECONDS:.0f} s")


def require(holds: bool, otherwise: str) -> None:
    """Raise Broken with `otherwise` unless it holds."""
    if not holds:
        raise Broken(otherwise)


def check_confinement(container: Container) -> None:
    """No root, capability or new privilege, system calls filtered, nothing writable but three folders."""
    status = dict(
        line.split(":\t", 1)
        for line in podman("exec", container.name, "cat", "/proc/1/status").splitlines()
        if ":\t" in line
    )
    require(status["Uid"].split() == [str(USER)] * 4, f"runs as {status['Uid']}")
    require(int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0, f"capabilities {status['CapEff']}")
    require(status["NoNewPrivs"] == "1", "may gain privileges")
    require(status["Seccomp"] == "2", "no filter of system calls")
    for path in ("/usr/x", "/data/x", "/data/config/x", "/opt/go2cloud/x"):
        written = podman("exec", container.name, "sh", "-c", f"touch {path} 2>&1 || true")
        require("Read-only file system" in written or "Permission denied" in written, f"{path} is writable")
    for path in ("/tmp/x", "/data/state/x", "/data/store/x"):
        podman("exec", container.name, "sh", "-c", f"touch {path} && rm {path}")


def check_memory(container: Container) -> int:
    """The limit is the kernel's; returns the bytes in use."""
    limit = int(podman("inspect", "--format={{.HostConfig.Memory}}", container.name))
    require(limit == MEMORY_BYTES, f"the memory limit is {limit}")
    pid = podman("inspect", "--format={{.State.Pid}}", container.name)
    status = Path(f"/proc/{pid}/status").read_text()
    (used,) = (line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(used) << 10


def check_log(container: Container) -> str:
    """Every line of the log is one JSON record; returns the administrator's one-time password in it."""
    records = [json.loads(line) for line in podman("logs", container.name).splitlines()]
    found = [
        each["go2cloud"]["one_time_password"] for each in records if "administrator.created" in str(each)
    ]
    require(len(found) == 1, f"{len(found)} records administrator.created")
    password: str = found[0]
    return password


def check_login(container: Container, password: str) -> None:
    """The database works: the administrator can log in."""
    body = json.dumps({"user": "admin", "password": password}).encode()
    request = urllib.request.Request(
        f"{container.url}/api/v1/sessions", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        require(answer.status == 201, f"login answered {answer.status}")


def check_drain(container: Container) -> float:
    """On SIGTERM a request under way is answered, then it exits 0; returns the seconds that it took."""
    host, port = container.url.removeprefix("http://").split(":")
    body = b'{"user": "admin", "password": "wrong"}'
    head = (
        f"POST /api/v1/sessions HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection((host, int(port)), timeout=30) as half_sent:
        half_sent.sendall(head.encode() + body[:10])
        time.sleep(0.5)
        began = time.monotonic()
        podman("kill", "--signal=TERM", container.name)
        time.sleep(0.5)
        half_sent.sendall(body[10:])
        first = half_sent.recv(4096).split(b"\r\n", 1)[0]
    require(b" 401 " in first, f"the request under way was answered {first!r}")
    code = _exit_code(container)
    require(code == "0", f"exit code {code} on SIGTERM")
    return time.monotonic() - began


def _exit_code(container: Container) -> str:
    until = time.monotonic() + STOP_WITHIN_SECONDS
    while podman("inspect", "--format={{.State.Running}}", container.name) == "true":
        require(time.monotonic() < until, f"still running {STOP_WITHIN_SECONDS:.0f} s after SIGTERM")
        time.sleep(0.05)
    return podman("inspect", "--format={{.State.ExitCode}}", container.name)


def check_commands(image: str, folder: Path) -> None:
    """What is no role is run as a command, in the same confinement; tools are where they belong."""
    said = podman("run", "--rm", *hardened(image, folder), "go2cloud", "--help")
    require("Usage: go2cloud" in said, f"go2cloud --help said {said!r}")
    for tool, words in TOOLS.items():
        said = podman("run", "--rm", *hardened(image, folder), tool, "--version", check=False)
        is_there = words in said
        require(is_there == image.endswith("-volumes"), f"{tool} is{' not' * (not is_there)} in the image")


def check_ceph(image: str, folder: Path) -> None:
    """Ceph's programs get as far as a cluster that is not there: libraries and Python bindings are complete.

    They are called as `app.launch.rbd` calls them, with a configuration that names a monitor nobody is at.
    """
    (folder / "state/ceph.conf").write_text("[global]\nmon_host = 127.0.0.1:1\nauth_client_required = none\n")
    for call in (["rbd", "--client-mount-timeout", "2"], ["ceph", "--connect-timeout", "2"]):
        what = ["ls", "pool"] if call[0] == "rbd" else ["df", "--format", "json"]
        cluster = ["-c", "/data/state/ceph.conf", "--id", "go2cloud"]
        script = f"env LC_ALL=C {' '.join([call[0], *cluster, *call[1:], *what])} 2>&1; echo ended $?"
        said = podman("run", "--rm", *hardened(image, folder), "sh", "-c", script)
        require(any(words in said for words in UNREACHED), f"{call[0]} said {said!r}")


def check(image: str) -> None:
    """All checks of one image; prints what was measured. Raises Broken."""
    with tempfile.TemporaryDirectory(prefix="go2cloud-image-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with started(image, folder) as container:
            print(f"{image}: ready {container.answered_seconds:.2f} s after podman run began")
            check_confinement(container)
            print("confined: user 10001, no capabilities, read-only root, system calls filtered")
            check_login(container, check_log(container))
            print(f"memory: {check_memory(container) >> 20} MiB of {MEMORY_BYTES >> 20} MiB after a login")
            print(
                f"drained: request under way answered, exit 0, {check_drain(container):.2f} s after SIGTERM"
            )
        check_commands(image, folder)
        if image.endswith("-volumes"):
            check_ceph(image, folder)


def main() -> int:
    """The command line: exit 1 with what was seen when a check fails."""
    for image in sys.argv[1:]:
        try:
            check(image)
        except Broken as error:
            print(f"{image}: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
