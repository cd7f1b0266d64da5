"""The words of the contract: enums of states, reasons, labels and roles.

Standard library only, so that pure state tables can import it. A member's value is what travels in JSON.
"""

from enum import StrEnum


class LifecycleState(StrEnum):
    """Where a server stands on its way from source to target."""

    NOT_READY = "NOT_READY"
    READY_FOR_TEST = "READY_FOR_TEST"
    TESTING = "TESTING"
    READY_FOR_CUTOVER = "READY_FOR_CUTOVER"
    CUTTING_OVER = "CUTTING_OVER"
    CUTOVER = "CUTOVER"
    DISCONNECTED = "DISCONNECTED"


class ReplicationState(StrEnum):
    """What replication of a server is doing; a `ReplicationReason` may stand beside it."""

    STOPPED = "STOPPED"
    INITIATING = "INITIATING"
    INITIAL_SYNC = "INITIAL_SYNC"
    BACKLOG = "BACKLOG"
    CREATING_SNAPSHOT = "CREATING_SNAPSHOT"
    CONTINUOUS = "CONTINUOUS"
    PAUSED = "PAUSED"
    RESCAN = "RESCAN"
    STALLED = "STALLED"
    DISCONNECTED = "DISCONNECTED"


class ReplicationReason(StrEnum):
    """Why replication stands where it stands."""

    AGENT_NOT_SEEN = "AGENT_NOT_SEEN"
    NOT_CONVERGING = "NOT_CONVERGING"
    UNSTABLE_NETWORK = "UNSTABLE_NETWORK"
    SOURCE_READ_ERROR = "SOURCE_READ_ERROR"
    STORE_FULL = "STORE_FULL"
    DISK_LAYOUT_CHANGED = "DISK_LAYOUT_CHANGED"
    DUPLICATE_AGENT = "DUPLICATE_AGENT"
    TRACKER_GAP = "TRACKER_GAP"
    AGENT_RESTARTED = "AGENT_RESTARTED"
    RESCAN_ORDERED = "RESCAN_ORDERED"
    FREEZE_FAILED = "FREEZE_FAILED"
    HOOK_FAILED = "HOOK_FAILED"
    SERVICE_UNREACHABLE = "SERVICE_UNREACHABLE"
    NO_PROGRESS = "NO_PROGRESS"
    REPLICA_DIFFERS = "REPLICA_DIFFERS"
    REFUSED = "REFUSED"


class ReplicationGoal(StrEnum):
    """What an operator wants of a server's replication.

    `RUN`: follow the source. `PAUSE`: send nothing, but go on noting what is written. `STOP`: neither.
    """

    RUN = "RUN"
    PAUSE = "PAUSE"
    STOP = "STOP"


class AgentActivity(StrEnum):
    """What a server's agent says that it is doing.

    `starting`: no pass has begun. `copying`: the first pass over all disks. `rescanning`: a pass over all
    that is not free. `catching-up`: a pass over what is known to be dirty. `cutting`: the source is being
    frozen. `following`: nothing to do until the next checkpoint is due. `failing`: passes fail. `resting`:
    paused or stopped by order.
    """

    STARTING = "starting"
    COPYING = "copying"
    RESCANNING = "rescanning"
    CATCHING_UP = "catching-up"
    CUTTING = "cutting"
    FOLLOWING = "following"
    FAILING = "failing"
    RESTING = "resting"


class ReplicationOperation(StrEnum):
    """An order about a server's replication; those that make sense now stand in its `replicationAllowed`."""

    PAUSE = "pause"
    RESUME = "resume"
    STOP = "stop"
    SYNC = "sync"
    RESCAN = "rescan"
    RETRY = "retry"


class WorkState(StrEnum):
    """How a piece of work that an agent or the service does stands."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class Place(StrEnum):
    """Where a step of a job runs.

    `control`: in a process of role api. `volumes`: in one of role agent, which reaches the store and the
    volumes of targets.
    """

    CONTROL = "control"
    VOLUMES = "volumes"


class JobOperation(StrEnum):
    """What an operator can do with a job; what is possible now stands in its `allowedOperations`."""

    CANCEL = "cancel"
    RETRY = "retry"


class JobEventLevel(StrEnum):
    """How grave an event of a job is."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class WaitReason(StrEnum):
    """What a job waits for while no step of it runs.

    `LIMIT`: others have all places of a limit. `RETRY`: the pause before a step is tried again. `CHILDREN`:
    jobs of its own. `NODE`: a worker on the node that it is bound to. `WORKER`: a worker that is free.
    """

    LIMIT = "LIMIT"
    RETRY = "RETRY"
    CHILDREN = "CHILDREN"
    NODE = "NODE"
    WORKER = "WORKER"


class VerificationLevel(StrEnum):
    """What a verification proves; see docs/replication.md.

    `v0`: what arrived is what was sent. `v1`: what is stored is still that. `v2`: the replica is the running
    source, but for what was written since. `v3`: the roots agree at commit. `v4`: a volume that was written
    is the checkpoint.
    """

    RECEIPT = "v0"
    STORED = "v1"
    ONLINE = "v2"
    COMMIT = "v3"
    VOLUME = "v4"


class Verdict(StrEnum):
    """What a verification says, the best first.

    `SAME`: all that was compared is the replica's, or was written since. `UNPROVED`: something differs, or
    could not be compared, and nothing says why. `DIFFERS`: something differs that nobody wrote.
    """

    SAME = "SAME"
    UNPROVED = "UNPROVED"
    DIFFERS = "DIFFERS"


class ConsistencyLabel(StrEnum):
    """How exact a checkpoint is.

    `frozen`: one instant of all disks. `quiet`: no write was seen while it was taken. `fuzzy`: neither.
    """

    FROZEN = "frozen"
    QUIET = "quiet"
    FUZZY = "fuzzy"


class FindingSeverity(StrEnum):
    """How grave a finding of a preflight is.

    `ok`: looked at, nothing to say. `note`: good to know. `warning`: it works, with a loss that the text
    names. `blocker`: the migration would fail.
    """

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    BLOCKER = "blocker"


class ServerOperation(StrEnum):
    """An action on a server; those possible now stand in its `allowedOperations`."""

    TEST = "test"
    MARK_READY = "markReady"
    CUTOVER = "cutover"
    FINALIZE = "finalize"
    REVERT = "revert"
    DISCONNECT = "disconnect"
    ARCHIVE = "archive"
    REVERSE = "reverse"


class Firmware(StrEnum):
    """How a source machine boots."""

    BIOS = "bios"
    UEFI = "uefi"


class DedupScope(StrEnum):
    """Among which servers equal chunks are stored once."""

    PROJECT = "project"
    SERVER = "server"


class Role(StrEnum):
    """What a principal may do; each role includes those below it, viewer the least."""

    ADMINISTRATOR = "administrator"
    OPERATOR = "operator"
    VIEWER = "viewer"


class PrincipalKind(StrEnum):
    """What stands behind a request."""

    USER = "user"
    TOKEN = "token"  # noqa: S105  (a kind, no secret)


class DiskBus(StrEnum):
    """How a launched machine sees its disks; the fastest first, the most widely known last."""

    VIRTIO_BLK = "virtio-blk"
    VIRTIO_SCSI = "virtio-scsi"
    SATA = "sata"


class HoldPhase(StrEnum):
    """How firmly a cutover holds the source's services, from the rest to the firmest.

    `RELEASED`: they are the owner's. `QUIESCED`: stopped, and given back by the agent itself should it hear
    nothing for long. `FINAL`: the final checkpoint was made of them. `HELD`: stopped until an order says
    otherwise.
    """

    RELEASED = "RELEASED"
    QUIESCED = "QUIESCED"
    FINAL = "FINAL"
    HELD = "HELD"


class HoldServices(StrEnum):
    """What became of the source's services under a hold.

    `UNTOUCHED`: nothing was done to them. `NO_HOOK`: the host has no hook that could stop them, the source is
    still active. `FAILED`: a hook that was to stop them failed, so some may run. `STOPPED`: the hooks said
    so. `STARTED`: they were given back. `NOT_STARTED`: a hook that was to start them failed.
    """

    UNTOUCHED = "UNTOUCHED"
    NO_HOOK = "NO_HOOK"
    FAILED = "FAILED"
    STOPPED = "STOPPED"
    STARTED = "STARTED"
    NOT_STARTED = "NOT_STARTED"


class HoldCause(StrEnum):
    """Why a hold ended on the source.

    `ORDERED`: the service said so. `EXPIRED`: the agent heard nothing for the hold's time. `REBOOTED`: the
    host started anew, and its services with it. `UNKNOWN`: the agent knows nothing of the hold. `REPLACED`:
    another cutover came.
    """

    ORDERED = "ORDERED"
    EXPIRED = "EXPIRED"
    REBOOTED = "REBOOTED"
    UNKNOWN = "UNKNOWN"
    REPLACED = "REPLACED"


class ConversionMode(StrEnum):
    """Whether a replica is made to boot on the new machine: what it needs is changed, or nothing."""

    AUTO = "auto"
    OFF = "off"


class Accelerator(StrEnum):
    """What runs a guest's instructions: the processor itself, or QEMU's translator."""

    KVM = "kvm"
    TCG = "tcg"


class InstanceState(StrEnum):
    """How a launched instance stands.

    `RUNNING`: the machine runs. `ENDED`: it powered off or broke down; launching it again goes on with its
    disks. `PUBLISHED`: its images lie at the target.
    """

    RUNNING = "RUNNING"
    ENDED = "ENDED"
    PUBLISHED = "PUBLISHED"


class InstancePurpose(StrEnum):
    """What an instance is launched for: a test, which reaches nothing, or the cutover, which takes over."""

    TEST = "test"
    CUTOVER = "cutover"


class TestState(StrEnum):
    """How a test of a server stands.

    `PREPARING`: its volumes are being made. `BOOTING`: its machine runs and is being watched. `RUNNING`: the
    boot is proved, and the machine lives until it is terminated. `TERMINATED`: machine and volumes are gone.
    `ENDED`: the machine was proved and ended by itself later; what is left of it is removed.
    """

    __test__ = False

    PREPARING = "PREPARING"
    BOOTING = "BOOTING"
    RUNNING = "RUNNING"
    TERMINATED = "TERMINATED"
    ENDED = "ENDED"


class BootPhase(StrEnum):
    """How far a machine came, by its serial line."""

    FIRMWARE = "firmware"
    BOOTLOADER = "bootloader"
    KERNEL = "kernel"
    LOGIN = "login"


class BootFailure(StrEnum):
    """Why a boot counts as failed."""

    NO_BOOTABLE_DEVICE = "NO_BOOTABLE_DEVICE"
    BOOTLOADER_FAILED = "BOOTLOADER_FAILED"
    KERNEL_PANIC = "KERNEL_PANIC"
    INITRAMFS_SHELL = "INITRAMFS_SHELL"
    EMERGENCY_MODE = "EMERGENCY_MODE"
    REBOOT_LOOP = "REBOOT_LOOP"
    MACHINE_ENDED = "MACHINE_ENDED"
    ACCELERATOR_FAILED = "ACCELERATOR_FAILED"
    NODE_STORAGE_FULL = "NODE_STORAGE_FULL"
    NO_SIGN_OF_LIFE = "NO_SIGN_OF_LIFE"
    NO_LOGIN = "NO_LOGIN"
    CHECK_FAILED = "CHECK_FAILED"
    IMAGE_DIFFERS = "IMAGE_DIFFERS"


class CheckKind(StrEnum):
    """What a check of a launched machine looks at."""

    LOGIN = "login"
    SCREEN = "screen"
    TCP = "tcp"
    HTTP = "http"
    SCRIPT = "script"
    IMAGES = "images"


class TargetMakes(StrEnum):
    """What a target makes of a checkpoint."""

    MACHINES = "machines"
    IMAGES = "images"
    DEVICES = "devices"


class ImageFormat(StrEnum):
    """A file format of disk images."""

    RAW = "raw"
    QCOW2 = "qcow2"
    VMDK = "vmdk"
    VHDX = "vhdx"
