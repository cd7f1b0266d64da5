"""The user that machines run as when the service is root."""

import grp
import os
import pwd
from dataclasses import dataclass
from typing import Self

from app.contract.words import Accelerator
from app.launch.errors import SettingsWrong
from app.launch.qemu.accelerator import KVM


@dataclass(frozen=True)
class MachineUser:
    """An unprivileged user: it owns no file of the machine and needs none."""

    name: str
    uid: int
    gid: int

    @classmethod
    def of(cls, name: str) -> Self | None:
        """The user of that name; None where we are not root and machines run as we do.

        Raises SettingsWrong for an unknown user, or root.
        """
        if os.geteuid() != 0:
            return None
        try:
            found = pwd.getpwnam(name)
        except KeyError as error:
            raise SettingsWrong(
                f"there is no user {name!r} for machines", remedy="useradd --system"
            ) from error
        if found.pw_uid == 0:
            raise SettingsWrong("machines do not run as root", remedy="name another user")
        return cls(name, found.pw_uid, found.pw_gid)

    def groups(self, accelerator: Accelerator) -> tuple[int, ...]:
        """The group that owns /dev/kvm, where KVM is used; otherwise none."""
        if accelerator is not Accelerator.KVM:
            return ()
        owner = KVM.stat().st_gid
        return () if owner == 0 else (grp.getgrgid(owner).gr_gid,)
