"""The process that becomes QEMU; run by path, in an interpreter of its own: standard library only.

It leaves its parent (a second fork, a session of its own), writes down who it is, gives up what a machine
does not need (root, groups, limits), and turns into QEMU. The record is durable before QEMU exists, and the
lock of the run folders, which it inherits, is let go only by the exec: whoever holds the lock knows that a
folder without a record has no machine.
"""

import fcntl
import json
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any


def main(text: str) -> None:
    """Fork; the parent ends, the child becomes the machine. `text` is `qemu.process.Start` as JSON."""
    start: dict[str, Any] = json.loads(text)
    if os.fork():
        os._exit(0)
    os.setsid()
    os.dup2(start["log"], 1)
    os.dup2(start["log"], 2)
    write_record(Path(start["record"]))
    fcntl.fcntl(start["lock"], fcntl.F_SETFD, fcntl.FD_CLOEXEC)
    fcntl.fcntl(start["log"], fcntl.F_SETFD, fcntl.FD_CLOEXEC)
    give_up(start)
    os.chdir("/")
    os.umask(0o077)
    environment = {"PATH": os.defpath, "LC_ALL": "C"}
    os.execve(start["argv"][0], start["argv"], environment)  # noqa: S606  (no shell is meant)


def write_record(path: Path) -> None:
    """Pid, start in clock ticks since the boot, and the boot's id: together they name a process for good."""
    stat = Path("/proc/self/stat").read_text()
    record = {
        "pid": os.getpid(),
        "start": int(stat.rpartition(")")[2].split()[19]),
        "boot": Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
    }
    fresh = path.with_name(path.name + ".partial")
    with fresh.open("w") as file:
        json.dump(record, file)
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(folder)
    os.close(folder)


def give_up(start: dict[str, Any]) -> None:
    """Limits first, then the user. A file that grows over its limit gives an error, no signal."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    Path("/proc/self/oom_score_adj").write_text("600")
    limits = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: start["files"],
        resource.RLIMIT_AS: start["memory"],
        resource.RLIMIT_FSIZE: start["file_bytes"],
    }
    for limit, most in limits.items():
        allowed = resource.getrlimit(limit)[1]
        least = most if allowed == resource.RLIM_INFINITY else min(most, allowed)
        resource.setrlimit(limit, (least, least))
    if start["user"] is not None:
        os.setgroups(start["groups"])
        os.setresgid(start["group"], start["group"], start["group"])
        os.setresuid(start["user"], start["user"], start["user"])


if __name__ == "__main__":
    main(sys.argv[1])
