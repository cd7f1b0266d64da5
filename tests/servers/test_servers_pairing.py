"""Which disk of a launched machine is which of the source's: by what stands on them, and never a guess."""

from app.migration.servers.pairing import Pair, pair_disks
from app.wire.messages import Disk, Filesystem, Partition

GIB = 1 << 30


def disk(path: str, *uuids: str, size: int = GIB, key: str = "") -> Disk:
    """A disk with a partition for each UUID, which its filesystem has."""
    partitions = tuple(
        Partition(number, number << 20, 1 << 20, "83", filesystem=Filesystem("ext4", uuid))
        for number, uuid in enumerate(uuids, 1)
    )
    return Disk(key or path, path, size, 512, partitions=partitions)


def test_disks_are_paired_by_their_uuids_whatever_their_names_and_order() -> None:
    old = (disk("/dev/sda", "A", "b"), disk("/dev/sdb", "c"))
    new = (disk("/dev/vda", "c"), disk("/dev/vdb", "a", "b", "new"))
    assert pair_disks(old, new) == (Pair("/dev/sda", "/dev/vdb"), Pair("/dev/sdb", "/dev/vda"))


def test_a_filesystem_on_the_whole_disk_is_a_mark() -> None:
    whole = Disk("k", "/dev/sda", GIB, 512, filesystem=Filesystem("xfs", "a"))
    same = Disk("v", "/dev/vda", GIB, 512, filesystem=Filesystem("xfs", "a"))
    assert pair_disks([whole], [same, disk("/dev/vdb")]) == (Pair("k", "v"),)


def test_a_disk_without_marks_is_paired_where_its_size_singles_it_out() -> None:
    old = (disk("/dev/sda", "a"), disk("/dev/sdb"), disk("/dev/sdc", size=2 * GIB))
    new = (disk("/dev/vda"), disk("/dev/vdb", "a"), disk("/dev/vdc", size=2 * GIB))
    assert [pair.found for pair in pair_disks(old, new)] == ["/dev/vdb", "/dev/vda", "/dev/vdc"]


def test_what_may_be_one_or_the_other_is_a_doubt() -> None:
    clones = (disk("/dev/vda", "a"), disk("/dev/vdb", "a"))
    (pair,) = pair_disks([disk("/dev/sda", "a")], clones)
    assert (pair.found, pair.doubt) == (None, "it may be /dev/vda or /dev/vdb")
    pairs = pair_disks([disk("/dev/sda"), disk("/dev/sdb")], [disk("/dev/vda")])
    assert [pair.found for pair in pairs] == [None, None]
    assert pairs[0].doubt == "/dev/vda may also be /dev/sdb"


def test_a_disk_that_is_gone_or_resized_is_not_replaced_by_another() -> None:
    pairs = pair_disks([disk("/dev/sda", "a")], [disk("/dev/vda", "a", size=2 * GIB), disk("/dev/vdb", "b")])
    assert pairs[0].found is None
    assert "no disk of 1073741824 bytes" in (pairs[0].doubt or "")
