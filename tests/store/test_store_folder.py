"""The folder backend: order of durability, power cuts between two steps, a full disk, locks, leftovers."""

import errno
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from app.store.errors import ObjectDamaged, ObjectMissing, StoreFull, StoreInUse, StoreUnavailable
from app.store.folder import FileCalls, FolderBackend
from app.store.layout import NodeKind
from app.store.objects import ObjectStore
from app.wire.buffers import Buffer
from app.wire.tree import LEAF_BYTES


class Recorder(FileCalls):
    """Notes every call, and lets those fail that a test names."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.calls: list[str] = []
        self.failing: dict[str, int] = {}

    def note(self, call: str) -> None:
        self.calls.append(call)
        for prefix, code in self.failing.items():
            if call.startswith(prefix):
                raise OSError(code, os.strerror(code))

    def place(self, path: Path) -> str:
        name = str(path.relative_to(self.root))
        return "temporary" if name.startswith(".tmp/") else name

    def write(self, descriptor: int, parts: Sequence[Buffer]) -> None:
        self.note("write")
        super().write(descriptor, parts)

    def fsync(self, descriptor: int, path: Path) -> None:
        self.note(f"fsync {self.place(path)}")
        super().fsync(descriptor, path)

    def rename(self, source: Path, target: Path) -> None:
        self.note(f"rename {self.place(source)} {self.place(target)}")
        super().rename(source, target)

    def make_folder(self, path: Path) -> bool:
        self.note(f"mkdir {self.place(path)}")
        return super().make_folder(path)

    def unlink(self, path: Path) -> None:
        self.note(f"unlink {self.place(path)}")
        super().unlink(path)


@pytest.fixture
def calls(tmp_path: Path) -> Recorder:
    return Recorder(tmp_path)


@pytest.fixture
def folder(tmp_path: Path, calls: Recorder) -> Iterator[FolderBackend]:
    backend = FolderBackend(tmp_path, calls=calls)
    calls.calls.clear()
    yield backend
    backend.close()


def files(path: Path) -> list[Path]:
    found = [item for item in path.rglob("*") if item.is_file()]
    return sorted(item for item in found if item.name not in (".lock", ".owner"))


def test_data_is_durable_before_its_name_and_the_name_before_the_answer(
    folder: FolderBackend, calls: Recorder
) -> None:
    folder.put("packs/aa/x", [b"x"])
    assert calls.calls == [
        "mkdir packs",
        "fsync .",
        "mkdir packs/aa",
        "fsync packs",
        "write",
        "fsync temporary",
        "rename temporary packs/aa/x",
        "fsync packs/aa",
    ]


def test_a_durable_deletion_is_on_stable_storage_before_the_answer(
    folder: FolderBackend, calls: Recorder
) -> None:
    folder.put("packs/aa/x", [b"x"])
    calls.calls.clear()
    folder.delete("packs/aa/x")
    folder.delete("packs/aa/x", durable=True)
    folder.delete("nowhere/x", durable=True)
    assert calls.calls == ["unlink packs/aa/x", "unlink packs/aa/x", "fsync packs/aa", "unlink nowhere/x"]


def test_a_folder_that_this_process_made_durable_is_not_made_so_again(
    folder: FolderBackend, calls: Recorder
) -> None:
    folder.put("packs/aa/x", [b"x"])
    calls.calls.clear()
    folder.put("packs/aa/y", [b"y"])
    assert calls.calls == ["write", "fsync temporary", "rename temporary packs/aa/y", "fsync packs/aa"]


def test_a_folder_that_another_process_made_is_fsynced_before_it_is_relied_on(
    tmp_path: Path, folder: FolderBackend, calls: Recorder
) -> None:
    (tmp_path / "packs/aa").mkdir(parents=True)
    folder.put("packs/aa/x", [b"x"])
    assert calls.calls.index("fsync packs") < calls.calls.index("write")


def test_a_new_store_is_durable_in_its_parents(tmp_path: Path, calls: Recorder) -> None:
    FolderBackend(tmp_path / "var/store", calls=calls).close()
    assert calls.calls == ["mkdir var", "fsync .", "mkdir var/store", "fsync var"]


@pytest.mark.parametrize("step", ["write", "fsync temporary", "rename", "fsync packs/aa"])
def test_a_step_that_fails_leaves_no_object_and_no_leftover_and_is_not_retried(
    tmp_path: Path, folder: FolderBackend, calls: Recorder, step: str
) -> None:
    folder.put("packs/aa/before", [b"before"])
    calls.calls.clear()
    calls.failing = {step: errno.EIO}
    with pytest.raises(StoreUnavailable, match="packs/aa/x") as caught:
        folder.put("packs/aa/x", [b"x"])
    assert isinstance(caught.value.__cause__, OSError)
    assert sum(call.startswith(step) for call in calls.calls) == 1
    assert [item.name for item in files(tmp_path)] == ["before"]
    with pytest.raises(ObjectMissing):
        folder.get("packs/aa/x")


def test_a_folder_whose_name_could_not_be_made_durable_is_made_anew(
    tmp_path: Path, folder: FolderBackend, calls: Recorder
) -> None:
    calls.failing = {"fsync packs": errno.EIO}
    with pytest.raises(StoreUnavailable):
        folder.put("packs/aa/x", [b"x"])
    assert not (tmp_path / "packs/aa").exists()
    calls.failing = {}
    calls.calls.clear()
    folder.put("packs/aa/x", [b"x"])
    assert calls.calls[:2] == ["mkdir packs/aa", "fsync packs"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("step", ["write", "fsync temporary", "mkdir", "rename"])
def test_no_room_is_said_as_store_full(folder: FolderBackend, calls: Recorder, step: str, code: int) -> None:
    calls.failing = {step: code}
    with pytest.raises(StoreFull, match="packs/aa/x") as caught:
        folder.put("packs/aa/x", [b"x"])
    assert (caught.value.status, caught.value.code) == (507, "STORE_FULL")


def test_the_reserve_is_kept_and_opens_for_what_completes_a_commit(tmp_path: Path) -> None:
    free = FolderBackend(tmp_path).usage().free
    backend = FolderBackend(tmp_path, reserve_bytes=free + (1 << 40))
    assert backend.usage().free == 0
    with pytest.raises(StoreFull, match="reserve"):
        backend.put("packs/aa/x", [b"x"])
    backend.put("checkpoints/srv/1", [b"x"], reserved=True)
    assert backend.get("checkpoints/srv/1") == b"x"


@pytest.mark.root
def test_a_filesystem_that_runs_full_says_store_full_and_keeps_what_it_has(tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(tmp_path)], check=True)
    try:
        backend = FolderBackend(tmp_path)
        backend.put("packs/aa/small", [b"s" * 1_000_000])
        with pytest.raises(StoreFull):
            backend.put("packs/aa/large", [b"l" * 8_000_000], reserved=True)
        assert [item.name for item in files(tmp_path)] == ["small"]
        assert backend.get("packs/aa/small") == b"s" * 1_000_000
        backend.close()
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


CRASH = """
import os, sys
from pathlib import Path
from app.store.folder import FileCalls, FolderBackend

class Crash(FileCalls):
    def rename(self, source, target):
        os._exit(9)

FolderBackend(Path(sys.argv[1]), calls=Crash()).put("packs/aa/x", [b"x" * 1000])
"""

HOLD = """
import sys
from pathlib import Path
from app.store.folder import FolderBackend

with FolderBackend(Path(sys.argv[1])).lock(exclusive=sys.argv[2] == "exclusive"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_what_a_dead_process_left_is_cleared_and_what_a_living_one_writes_is_not(tmp_path: Path) -> None:
    living = FolderBackend(tmp_path)
    temporary = living._write_temporary([b"half"])
    assert subprocess.run([sys.executable, "-c", CRASH, str(tmp_path)]).returncode == 9
    assert len(files(tmp_path)) == 2
    FolderBackend(tmp_path).close()
    assert files(tmp_path) == [temporary]


@pytest.mark.parametrize(
    ("first", "second", "refused"),
    [
        ("shared", False, False),
        ("shared", True, True),
        ("exclusive", False, True),
        ("exclusive", True, True),
    ],
)
def test_services_share_the_store_and_an_offline_command_has_it_alone(
    tmp_path: Path, first: str, second: bool, refused: bool
) -> None:
    backend = FolderBackend(tmp_path)
    command = [sys.executable, "-c", HOLD, str(tmp_path), first]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        if refused:
            with pytest.raises(StoreInUse, match=str(tmp_path)) as caught, backend.lock(exclusive=second):
                pass
            assert str(tmp_path) in (caught.value.remedy or "")
        else:
            with backend.lock(exclusive=second):
                pass
        holder.communicate("")
    with backend.lock(exclusive=True):
        pass


class BadSector(FileCalls):
    """Cannot read some files."""

    def __init__(self) -> None:
        self.bad: set[str] = set()

    def read(self, descriptor: int, length: int, offset: int) -> bytes:
        if Path(f"/proc/self/fd/{descriptor}").readlink().name in self.bad:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return super().read(descriptor, length, offset)


def test_bytes_that_the_medium_cannot_give_back_count_as_damaged(tmp_path: Path) -> None:
    calls = BadSector()
    backend = FolderBackend(tmp_path, calls=calls)
    backend.put("packs/aa/x", [b"x" * 10_000])
    calls.bad = {"x"}
    with pytest.raises(ObjectDamaged, match="packs/aa/x cannot be read back"):
        backend.get("packs/aa/x")
    backend.close()


def test_of_two_writings_of_a_leaf_the_one_that_can_be_read_is(tmp_path: Path) -> None:
    calls = BadSector()
    backend = FolderBackend(tmp_path, calls=calls)
    store, leaf = ObjectStore(backend), os.urandom(LEAF_BYTES)
    name = store.write_leaf(leaf)
    (first,) = store.writings(NodeKind.LEAF, name)
    calls.bad = {Path(first.name).name}
    with pytest.raises(ObjectDamaged):
        store.read_leaf(name)
    store.write_leaf(leaf)
    assert len(store.writings(NodeKind.LEAF, name)) == 2
    assert store.read_leaf(name) == leaf
    backend.close()
