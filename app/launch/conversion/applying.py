"""Doing what a plan says, on the mounted overlays."""

import base64
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, assert_never

from app.launch.conversion import initrds
from app.launch.conversion.appliance import Appliance, GuestError
from app.launch.conversion.changes import Change, CopyChange, FileChange, InitrdChange, Plan, Privacy
from app.launch.conversion.inspecting import fetched
from app.launch.errors import ConversionFailed
from app.launch.programs import require_program

DEPMOD_SECONDS: Final = 120
_LABEL: Final = "security.selinux"
_TABLES: Final = ("modules.order", "modules.builtin", "modules.builtin.modinfo")
RELABEL: Final = "/.autorelabel"
SELINUX: Final = "/etc/selinux/config"


def apply(guest: Appliance, plan: Plan, user: str | None) -> None:
    """Make the changes. Raises ConversionFailed with the change that did not succeed."""
    for change in plan.changes:
        try:
            _apply(guest, change, user)
        except GuestError as error:
            raise ConversionFailed(
                f"{change.path} cannot be changed ({change.reason}): {error}",
                remedy="free space on that filesystem of the source, or look whether it is damaged",
            ) from error
    guest.call("sync")


def _apply(guest: Appliance, change: Change, user: str | None) -> None:
    if isinstance(change, FileChange):
        _write(guest, change)
    elif isinstance(change, InitrdChange):
        _complete(guest, change, user)
    elif isinstance(change, CopyChange):
        _make_folder(guest, change.path)
        guest.call("cp", change.source, change.path)
    else:
        assert_never(change)


def _write(guest: Appliance, change: FileChange) -> None:
    """In place, so that owner, mode and label stay; a new file gets its folder's label.

    Only root reads what is hidden, whoever could read what was there before.
    """
    if change.after is None:
        guest.call("rm", change.path)
        return
    content = change.after.encode(errors="surrogateescape")
    if change.before is None:
        _make_folder(guest, change.path)
    guest.call("write", change.path, content)
    if change.before is None or change.privacy is Privacy.HIDDEN:
        guest.call("chmod", 0o644 if change.privacy is Privacy.PUBLIC else 0o600, change.path)
    if change.before is None:
        _label(guest, change.path)


def _make_folder(guest: Appliance, path: str) -> None:
    folder = path.rpartition("/")[0]
    missing = []
    while folder and not guest.call("is_dir", folder):
        missing.append(folder)
        folder = folder.rpartition("/")[0]
    for each in reversed(missing):
        guest.call("mkdir_p", each)
        _label(guest, each)


def _label(guest: Appliance, path: str) -> None:
    """SELinux is kept: a system with labels finds one on what is new, or labels itself anew at its start."""
    if not _has_selinux(guest):
        return
    label = _label_of(guest, path.rpartition("/")[0] or "/")
    if label is None:
        guest.call("write", RELABEL, b"")
    else:
        guest.call("lsetxattr", _LABEL, label, len(label), path)


def _has_selinux(guest: Appliance) -> bool:
    if not guest.call("is_file", SELINUX):
        return False
    words: list[bytes] = guest.call("read_file", SELINUX).split()
    return b"SELINUX=disabled" not in words


def _label_of(guest: Appliance, path: str) -> str | None:
    attributes: list[dict[str, Any]] = guest.call("lgetxattrs", path)
    for each in attributes:
        if each["attrname"] == _LABEL:
            value = each["attrval"]
            text = value if isinstance(value, str) else base64.b64decode(value["bytes"]).decode()
            return text.rstrip("\0")
    return None


def _complete(guest: Appliance, change: InitrdChange, user: str | None) -> None:
    """Append an archive with the modules, the tables of all modules that are then there, and the texts."""
    data = fetched(guest, change.path)
    files = {name: text.encode(errors="surrogateescape") for name, text in change.texts.items()}
    if change.modules:
        files |= dict(_modules(guest, change, data, user))
    addition = initrds.archive(len(data), files.items())
    place = guest.scratch / "addition"
    place.write_bytes(addition)
    guest.call("upload_offset", str(place), change.path, len(data))
    place.unlink()
    if guest.call("filesize", change.path) != len(data) + len(addition):
        raise GuestError(f"{len(addition)} bytes were appended and its size does not agree")


def _modules(
    guest: Appliance, change: InitrdChange, data: bytes, user: str | None
) -> Iterator[tuple[str, bytes]]:
    folder = f"{change.lib}/modules/{change.release}"
    with tempfile.TemporaryDirectory(prefix="go2cloud-modules-") as place:
        tree = Path(place) / "lib/modules" / change.release
        for path, content in initrds.modules_of(data, change.release).items():
            _put(tree, path, content)
        for path in change.modules:
            content = fetched(guest, f"/lib/modules/{change.release}/{path}")
            _put(tree, path, content)
            yield f"{folder}/{path}", content
        for name in _TABLES:
            source = f"/lib/modules/{change.release}/{name}"
            if guest.call("is_file", source):
                _put(tree, name, fetched(guest, source))
        _depmod(Path(place), change.release, user)
        for table in sorted(tree.glob("modules.*")):
            yield f"{folder}/{table.name}", table.read_bytes()


def _put(tree: Path, path: str, content: bytes) -> None:
    place = below(tree, path)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)


def below(tree: Path, path: str) -> Path:
    """Where a path that the guest names lies below a folder of this node.

    Raises ConversionFailed for one that leads anywhere else: an absolute one, or one with `..`.
    """
    place = tree / path
    if ".." in place.parts or not place.is_relative_to(tree):
        raise ConversionFailed(
            f"the module {path!r} of the guest would be outside of its folder",
            remedy="look at modules.dep and at the initrd on the source, or set the conversion OFF",
        )
    return place


def _depmod(place: Path, release: str, user: str | None) -> None:
    """As the user of machines: the modules are the guest's."""
    program = require_program("depmod")
    if user is not None:
        for each in (place, *place.rglob("*")):
            shutil.chown(each, user)
    done = subprocess.run(
        [program, "-b", str(place), release],
        capture_output=True,
        text=True,
        user=user,
        group=None if user is None else pwd.getpwnam(user).pw_gid,
        extra_groups=None if user is None else (),
        timeout=DEPMOD_SECONDS,
        check=False,
    )
    if done.returncode:
        raise ConversionFailed(f"depmod of the modules of kernel {release}: {done.stderr.strip()}")
