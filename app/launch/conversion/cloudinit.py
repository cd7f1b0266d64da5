"""cloud-init: switched off, or run once more on the new machine with given user-data (NoCloud's seed).

Sources: cloud-init's reference of the datasource NoCloud, and of its files in /etc/cloud. The network is
never left to it: without a network-config it would put DHCP in the place of what the guest has.
"""

import re
from typing import Final

from app.launch.conversion.changes import Draft, Privacy
from app.launch.conversion.facts import CloudInitWish, Wishes
from app.launch.conversion.inspection import Inspection

DISABLED: Final = "/etc/cloud/cloud-init.disabled"
CONFIG: Final = "/etc/cloud/cloud.cfg.d/zz-go2cloud.cfg"
"""The last of its folder, so that it is the one that counts."""
IDENTIFY: Final = "/etc/cloud/ds-identify.cfg"
SEED: Final = "/var/lib/cloud/seed/nocloud"
META_DATA: Final = f"{SEED}/meta-data"
USER_DATA: Final = f"{SEED}/user-data"
OTHERS: Final = (f"{SEED}/network-config", f"{SEED}/vendor-data")
CONFIGURATION: Final = (DISABLED, CONFIG, IDENTIFY, META_DATA, USER_DATA, *OTHERS)
PROGRAMS: Final = ("/usr/bin/cloud-init", "/usr/local/bin/cloud-init")

_SWITCHED: Final = re.compile(r"(?<!\S)(cloud-init=disabled|ds=\S+|ci\.ds=\S+|ci\.datasource=\S+)")
_IDENTIFIED: Final = re.compile(r"^[ \t]*(datasource|policy)[ \t]*:", re.MULTILINE)
_MADE: Final = "# Made by go2cloud: "
_NETWORK: Final = "network: {config: disabled}\n"
_ONCE_MORE: Final = (
    "datasource_list: [NoCloud, None]\nmanual_cache_clean: false\npreserve_hostname: true\n"
    "ssh_deletekeys: false\n"
)
"""The server keeps its name and its host keys; the user-data may say otherwise."""


def settle(draft: Draft, inspection: Inspection, wishes: Wishes, command_line: str) -> None:
    """The files that make cloud-init do what was asked for; what cannot be is a refusal of the draft."""
    wish = wishes.cloud_init
    if wish is None:
        if wishes.addressing and inspection.has_cloud_init and DISABLED not in draft.files:
            text = f"{_MADE}other addresses were asked for, and cloud-init would undo them.\n{_NETWORK}"
            draft.edit(CONFIG, text, "cloud-init leaves the addresses as they are")
    elif wish.user_data is None:
        if inspection.has_cloud_init:
            draft.edit(DISABLED, f"{_MADE}removing this file undoes it.\n", "cloud-init was to be disabled")
    elif (why := _hindrance(draft, inspection, command_line)) is not None:
        draft.refusals.append(why)
    else:
        _seed(draft, wish, wish.user_data)


def _hindrance(draft: Draft, inspection: Inspection, command_line: str) -> str | None:
    """Why cloud-init would not run, or not with this seed."""
    if not inspection.has_cloud_init:
        return (
            "cloud-init is to run, and is not installed in the guest: install it on the source, or take the "
            "user-data away (--cloud-init keep)"
        )
    switched = _SWITCHED.search(command_line)
    if switched:
        return (
            f"cloud-init is to run, and the kernel's command line has {switched[0]}: remove it on the source"
        )
    if _IDENTIFIED.search(draft.files.get(IDENTIFY, "")):
        return f"cloud-init is to run, and {IDENTIFY} chooses where it looks: remove that on the source"
    return None


def _seed(draft: Draft, wish: CloudInitWish, user_data: str) -> None:
    reason = "cloud-init was to run once with user-data"
    draft.remove(DISABLED, reason)
    draft.edit(CONFIG, f"{_MADE}cloud-init takes the seed in {SEED}.\n{_NETWORK}{_ONCE_MORE}", reason)
    draft.edit(META_DATA, f"instance-id: {wish.instance}\n", reason)
    draft.edit(USER_DATA, user_data, reason, Privacy.HIDDEN)
    for path in OTHERS:
        draft.remove(path, reason, Privacy.HIDDEN)
