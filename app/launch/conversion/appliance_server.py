"""The process that drives libguestfs; run by path in the system's Python, which has the module `guestfs`.

Standard input: first a line with the disks, then one for each call. Standard output: one for each answer.
It ends when its input ends, and takes the appliance with it.
"""

import base64
import json
import sys
from typing import Any

import guestfs

CALLS = frozenset(
    (
        *("list_filesystems", "list_partitions", "list_devices", "lvs", "vfs_uuid", "vfs_label", "vfs_type"),
        *("blkid", "canonical_device_name", "mount_options", "mount_ro", "umount", "umount_all", "realpath"),
        *("is_file", "is_dir", "exists", "glob_expand", "find", "read_file", "filesize", "ls"),
        *("download", "upload", "upload_offset", "write", "rm", "mkdir_p", "cp", "cp_a", "chmod", "sync"),
        *("lgetxattrs", "lsetxattr", "e2fsck", "is_symlink", "readlink"),
    )
)
FLAGS = {"is_file": "followsymlinks", "is_dir": "followsymlinks", "e2fsck": "correct"}
"""Calls that get this flag."""


def started(order: dict[str, Any]) -> guestfs.GuestFS:
    """The appliance with all disks."""
    handle = guestfs.GuestFS(python_return_dict=True)
    for disk in order["disks"]:
        handle.add_drive_opts(disk, format="qcow2", readonly=order["readonly"], cachemode="unsafe")
    handle.set_memsize(order["memory"])
    handle.set_network(False)
    handle.launch()
    return handle


def answer(handle: guestfs.GuestFS, call: dict[str, Any]) -> Any:
    """What a call gives; bytes travel as base64."""
    if call["name"] not in CALLS:
        raise RuntimeError(f"no such call: {call['name']}")
    given = [base64.b64decode(each["bytes"]) if isinstance(each, dict) else each for each in call["args"]]
    flags = {FLAGS[call["name"]]: True} if call["name"] in FLAGS else {}
    found = getattr(handle, call["name"])(*given, **flags)
    return {"bytes": base64.b64encode(found).decode()} if isinstance(found, bytes) else found


def plain(value: object) -> object:
    """Bytes inside of structures, such as the values of attributes."""
    return {"bytes": base64.b64encode(value).decode()} if isinstance(value, bytes) else str(value)


def main() -> None:
    """Start, answer until the input ends, and close what was opened."""
    handle = None
    for line in sys.stdin:
        order = json.loads(line)
        try:
            if handle is None:
                handle = started(order)
                found: Any = None
            else:
                found = answer(handle, order)
            said = {"found": found}
        except (RuntimeError, OSError, ValueError) as error:
            said = {"error": str(error)}
        sys.stdout.write(json.dumps(said, default=plain) + "\n")
        sys.stdout.flush()
    if handle is not None:
        handle.umount_all()
        handle.shutdown()
        handle.close()


if __name__ == "__main__":
    main()
