"""The JSON messages between agent and service, as frozen dataclasses.

Bytes (ids, hashes, keys) travel as lower-case hex: `Hash` and `HashOrNone`. Times are ISO-8601 in UTC, sizes
and offsets are bytes. The limits of texts are those of the database's columns. A message with an unknown
field is refused by the field's name: both sides speak one version of the protocol, and a field that is
silently dropped would be a promise not kept.

One replication session, in order:

    POST /agent/v1/sessions                      Open    → Opened     generation += 1
    GET  …/{session}/disks/{disk}/leaves         ids of the base root's leaves
    POST …/{session}/have                        ids     → one byte per id (see HAVE_*)
    POST …/{session}/signatures                  ids     → block signatures
    POST …/{session}/put                         frames  → PutResult  durable when answered
    POST …/{session}/commit                      Commit  → Committed  one compare-and-set
"""

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Annotated, Final, TypeAlias, cast

from app.wire.chunks import ID_BYTES
from app.wire.heartbeat import Orders, Status
from app.wire.hold import PROOF_BYTES
from app.wire.jsonform import AtMost, Hex

HAVE_SEND: Final = 0
HAVE_KNOWN: Final = 1
HAVE_PROVE: Final = 2
MAX_HAVE: Final = 4096
MAX_MESSAGE: Final = 64 * 1024 * 1024
MAX_WAIT_SECONDS: Final = 3600
MAX_SECTOR_SIZE: Final = 1 << 20

Hash: TypeAlias = Annotated[str, Hex(ID_BYTES)]
"""32 bytes as lower-case hex: an id, a hash or a key."""
HashOrNone: TypeAlias = Annotated[str, Hex(ID_BYTES, or_empty=True)]
"""The same, or empty where there is none."""
Instance: TypeAlias = Annotated[str, AtMost(200)]
"""Names the state directory of a daemon during one boot: two live ones of a server are a duplicate."""
SectorSize: TypeAlias = Annotated[int, AtMost(MAX_SECTOR_SIZE)]

Range: TypeAlias = tuple[int, int]
"""(offset, length) in bytes."""


@dataclass(frozen=True)
class Filesystem:
    """What a superblock says; `kind` is e.g. ext4, xfs, btrfs, vfat, swap, LVM2_member, crypto_LUKS."""

    kind: str
    uuid: str = ""
    label: str = ""


@dataclass(frozen=True)
class Partition:
    """A partition: `start` and `size` in bytes, `type` the GPT type GUID or the MBR type in hex."""

    number: int
    start: int
    size: int
    type: str
    name: str = ""
    uuid: str = ""
    filesystem: Filesystem | None = None


@dataclass(frozen=True)
class Disk:
    """A disk of a source server. `key` tells it from the server's other disks for good: its WWN, else its
    serial, else its path."""

    key: Annotated[str, AtMost(255)]
    path: Annotated[str, AtMost(1024)]
    size: int
    sector_size: SectorSize
    physical_sector_size: SectorSize = 512
    serial: str = ""
    wwn: str = ""
    model: str = ""
    is_file: bool = False
    partition_table: str = "none"
    partitions: tuple[Partition, ...] = ()
    filesystem: Filesystem | None = None


@dataclass(frozen=True)
class Mount:
    """A mounted filesystem."""

    source: str
    target: str
    kind: str
    options: str = ""


@dataclass(frozen=True)
class Nic:
    """A network interface; `addresses` with prefix length."""

    name: str
    mac: str = ""
    addresses: tuple[str, ...] = ()
    mtu: int = 0
    state: str = ""


@dataclass(frozen=True)
class Route:
    """A route of the main table; `gateway` is empty for a direct one."""

    destination: str
    gateway: str
    interface: str


@dataclass(frozen=True)
class DeviceLink:
    """Another name below /dev of a block device: /dev/disk/by-uuid/…, /dev/mapper/…; `device` is its own."""

    name: Annotated[str, AtMost(1024)]
    device: Annotated[str, AtMost(1024)]


@dataclass(frozen=True)
class Boot:
    """How the host boots. `efi_loaders` are the paths that the firmware starts, the first choice first."""

    efi_loaders: tuple[Annotated[str, AtMost(1024)], ...] = ()
    kernels: tuple[Annotated[str, AtMost(255)], ...] = ()
    initrd_tools: tuple[Annotated[str, AtMost(64)], ...] = ()
    loaders: tuple[Annotated[str, AtMost(64)], ...] = ()
    command_line: Annotated[str, AtMost(8192)] = ""
    selinux: Annotated[str, AtMost(16)] = ""
    """enforcing, permissive, or empty."""


@dataclass(frozen=True)
class Inventory:
    """What the agent reports of its host. `warnings` name what could not be found out, and why."""

    hostname: Annotated[str, AtMost(253)]
    os_name: str = ""
    os_version: str = ""
    os_id: str = ""
    kernel: str = ""
    architecture: str = ""
    cpu_model: str = ""
    cpu_count: int = 0
    memory_bytes: int = 0
    firmware: str = ""
    machine_id: Annotated[str, AtMost(64)] = ""
    boot_id: str = ""
    system_uuid: Annotated[str, AtMost(64)] = ""
    """That of the firmware (SMBIOS), which a hypervisor gives each machine anew: clones differ in it."""
    disks: tuple[Disk, ...] = ()
    mounts: tuple[Mount, ...] = ()
    nics: tuple[Nic, ...] = ()
    routes: tuple[Route, ...] = ()
    links: tuple[DeviceLink, ...] = ()
    boot: Boot | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Enroll:
    """Redeem an install token.

    `claim` says which server the host wants to be: `known`, the one that it is known to be, else a new one;
    `new`; `server`, the one that `server` names, if its agent is silent; `replace`, that one in any case.
    """

    token: Annotated[str, AtMost(255)]
    instance: Instance
    agent_version: Annotated[str, AtMost(64)]
    inventory: Inventory
    claim: Annotated[str, AtMost(16)] = "known"
    server: Annotated[str, AtMost(253)] = ""


@dataclass(frozen=True)
class Enrolled:
    """The server that this agent now is, and the credential that is bound to it. `is_taken_up`: the server
    is not new, and its older credential is worthless. `stopped_for`: the cutover, taken back since, for which
    its older agent stopped the host's services, without having started them again."""

    server_id: str
    name: str
    credential: str
    is_taken_up: bool = False
    stopped_for: Annotated[str, AtMost(64)] | None = None


@dataclass(frozen=True)
class Poll:
    """A heartbeat that waits up to `wait_seconds` for a command.

    `proof` is that of the newest HoldReport which had one: it tells the agent of a source that is held from
    that of a copy of it.
    """

    instance: Instance
    state: str
    wait_seconds: Annotated[int, AtMost(MAX_WAIT_SECONDS)] = 0
    inventory: Inventory | None = None
    status: Status | None = None
    proof: Annotated[str, Hex(PROOF_BYTES)] | None = None


@dataclass(frozen=True)
class Polled:
    """`command` is `none` or `sync`; the times are in seconds. An interval of 0: only on command."""

    command: str
    heartbeat_seconds: int
    sync_interval_seconds: int
    orders: Orders = field(default_factory=Orders)


@dataclass(frozen=True)
class Release:
    """The agent stops cleanly: another instance may take over at once."""

    instance: Instance


@dataclass(frozen=True)
class Open:
    """Open a replication session of these disks. An older session of the server can write nothing more.

    `rescan` is the id of the ordered rescan that this session carries out; its commit ends the order.
    """

    instance: Instance
    tracker: str
    disks: tuple[Disk, ...]
    rescan: Annotated[str, AtMost(32)] = ""


@dataclass(frozen=True)
class DiskBase:
    """Where a disk's replica stands: `root` is empty and `size` 0 where the head lacks the disk."""

    disk_id: str
    key: str
    chunk_size: int
    root: HashOrNone
    size: int


@dataclass(frozen=True)
class Limits:
    """What the service accepts in one request."""

    have_ids: int
    frame_bytes: int
    put_bytes: int


@dataclass(frozen=True)
class Opened:
    """`head` is the checkpoint that a commit must name as its base, empty if there is none yet.
    `head_time` is its `source_time`, before which no later one may lie.
    `proof_key` keys proofs of possession. `resend` lists chunk ids whose stored bytes were found damaged:
    they count as unknown."""

    session_id: str
    generation: int
    head: str
    disks: tuple[DiskBase, ...]
    proof_key: Hash
    limits: Limits
    resend: tuple[Hash, ...] = ()
    head_time: Annotated[str, AtMost(64)] = ""


@dataclass(frozen=True)
class Refused:
    """A chunk id of a put that was not accepted, PROOF_REFUSED, PATCH_MISMATCH or BASE_MISSING: the
    agent sends it whole; or the digest of a BLOCKS record, BLOCKS_REFUSED: the agent reads the chunk."""

    id: Hash
    code: str


@dataclass(frozen=True)
class PutResult:
    """Everything accepted in the request is durable. Counts are chunks; `stored_bytes` is what packs grew.
    `named` has, for each BLOCKS record that was not refused, its digest and the id of the chunk that it gave,
    zeros where that is all zero; an object for each of thousands would take a tenth of a second."""

    stored: int
    known: int
    leaves: int
    stored_bytes: int
    refused: tuple[Refused, ...] = ()
    named: Annotated[str, Hex(2 * ID_BYTES, or_more=True)] = ""

    @staticmethod
    def joined(names: Mapping[bytes, bytes]) -> str:
        """The form of `named`, from the ids by their digests."""
        return b"".join(digest + name for digest, name in names.items()).hex()

    @property
    def names(self) -> dict[bytes, bytes]:
        """The ids that `named` has, by their digests."""
        parts = struct.iter_unpack(f"{ID_BYTES}s{ID_BYTES}s", bytes.fromhex(self.named))
        return dict(cast("Iterable[tuple[bytes, bytes]]", parts))


@dataclass(frozen=True)
class Counters:
    """What a session did, in bytes of the source's disks; `wire` is what was sent after compression."""

    read: int = 0
    zero: int = 0
    known: int = 0
    sent: int = 0
    wire: int = 0
    patched: int = 0
    omitted: int = 0

    @classmethod
    def total(cls, parts: "Iterable[Counters]") -> "Counters":
        """The sum of several disks' counters."""
        each = [vars(part) for part in parts]
        return cls(**{item.name: sum(values[item.name] for values in each) for item in fields(cls)})


@dataclass(frozen=True)
class LeafChange:
    """Leaf `index` of the disk has the hash `leaf` now."""

    index: int
    leaf: Hash


@dataclass(frozen=True)
class DiskCommit:
    """One disk of a checkpoint. `base_root` is empty where the base lacks the disk: all leaves are zero
    then. `root` is what the agent derives from its own leaves."""

    disk_id: str
    base_root: HashOrNone
    root: Hash
    size: int
    label: str
    changed: tuple[LeafChange, ...]
    omitted: tuple[Range, ...] = ()
    unreadable: tuple[Range, ...] = ()
    counters: Counters = field(default_factory=Counters)


@dataclass(frozen=True)
class Commit:
    """Make a checkpoint of all the server's disks out of what was put. `base` is the head of Opened.
    `source_time` is the moment that it shows, by the source's clock, or the head's time where that clock was
    set back behind it. `label` is frozen, quiet or fuzzy; `method` is the capture method. `freeze_ms` is how
    long the source was frozen for it, `rounds` how many passes over what was written meanwhile came before.
    `rescan` is that of Open."""

    generation: int
    base: str
    source_time: str
    tracker: str
    method: str
    label: str
    disks: tuple[DiskCommit, ...]
    freeze_ms: int = 0
    rounds: int = 0
    rescan: Annotated[str, AtMost(32)] = ""


@dataclass(frozen=True)
class DiskRoot:
    """The service's own root of a disk of the checkpoint."""

    disk_id: str
    root: Hash


@dataclass(frozen=True)
class Committed:
    """The checkpoint exists and will not be lost."""

    checkpoint_id: str
    number: int
    disks: tuple[DiskRoot, ...]
