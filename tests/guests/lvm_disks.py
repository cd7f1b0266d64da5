"""Puts a root onto a logical volume over two disks; run by the system's Python, which has guestfs."""

import os
import sys

import guestfs


def main(first: str, second: str, archive: str) -> None:
    """`first` has a partition 2 for LVM, `second` is whole; the archive becomes the root."""
    os.environ |= {"LIBGUESTFS_BACKEND": "direct", "LIBGUESTFS_BACKEND_SETTINGS": "force_tcg"}
    handle = guestfs.GuestFS(python_return_dict=True)
    for disk in (first, second):
        handle.add_drive_opts(disk, format="raw", cachemode="unsafe")
    handle.launch()
    handle.pvcreate("/dev/sda2")
    handle.pvcreate("/dev/sdb")
    handle.vgcreate("vg0", ["/dev/sda2", "/dev/sdb"])
    handle.lvcreate_free("root", "vg0", 100)
    handle.mkfs("ext4", "/dev/vg0/root")
    handle.mount("/dev/vg0/root", "/")
    handle.tar_in(archive, "/")
    handle.umount_all()
    handle.shutdown()
    handle.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
