"""Launch settings of a server, and tests: checkpoints that were started as machines."""

import ipaddress
from datetime import timedelta
from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, Field, StringConstraints

from app.contract.resources.addressing import CloudInit, NicAddressing
from app.contract.resources.base import Input, Resource, UtcTime
from app.contract.words import (
    BootFailure,
    BootPhase,
    CheckKind,
    ConsistencyLabel,
    ConversionMode,
    DiskBus,
    Firmware,
    TestState,
)

MIB = 1024 * 1024
SHORTEST_TIMEOUT = timedelta(seconds=10)
LONGEST_TIMEOUT = timedelta(hours=1)
SHORTEST_LIFETIME = timedelta(hours=1)
LONGEST_LIFETIME = timedelta(days=90)
DEFAULT_LIFETIME = timedelta(hours=72)


def _timeout(value: timedelta) -> timedelta:
    if not SHORTEST_TIMEOUT <= value <= LONGEST_TIMEOUT:
        raise ValueError("a time-out is 10 seconds to 1 hour")
    return value


def _lifetime(value: timedelta) -> timedelta:
    if not SHORTEST_LIFETIME <= value <= LONGEST_LIFETIME:
        raise ValueError("a test machine lives for 1 hour to 90 days")
    return value


def _interface(value: str) -> str:
    ipaddress.IPv4Interface(value)
    return value


def _address(value: str) -> str:
    ipaddress.IPv4Address(value)
    return value


Port = Annotated[int, Field(ge=1, le=65535)]
Timeout = Annotated[timedelta, AfterValidator(_timeout)]
"""From the launch until a check that has not passed is a failure: 10 seconds to 1 hour."""
Lifetime = Annotated[timedelta, AfterValidator(_lifetime)]
"""From the launch of a test machine until it is terminated: 1 hour to 90 days."""
CheckName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Mac = Annotated[str, StringConstraints(pattern=r"^[0-9a-f][02468ace](:[0-9a-f]{2}){5}$")]
ScriptName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]


class LaunchNic(Input):
    """A network card: its MAC address, and the IPv4 address with prefix and the gateway that the guest has.

    Without an address the guest is expected to ask DHCP.
    """

    mac: Mac
    address: Annotated[str, AfterValidator(_interface)] | None = None
    gateway: Annotated[str, AfterValidator(_address)] | None = None


class LoginCheck(Input):
    """A login prompt on the serial line."""

    kind: Literal[CheckKind.LOGIN]
    name: CheckName = "login"


class ScreenCheck(Input):
    """The last screenshot is not blank."""

    kind: Literal[CheckKind.SCREEN]
    name: CheckName = "screen"


class TcpCheck(Input):
    """The guest accepts connections on a port."""

    kind: Literal[CheckKind.TCP]
    port: Port
    name: CheckName = "tcp"


class HttpCheck(Input):
    """A GET has the status, and the regular expression `body` is found in the answer.

    `host` is the name to ask for; with `tls` the certificate is not verified.
    """

    kind: Literal[CheckKind.HTTP]
    port: Port
    path: Annotated[str, Field(max_length=1000)] = "/"
    status: Annotated[int, Field(ge=100, le=599)] = 200
    body: Annotated[str, Field(max_length=1000)] | None = None
    host: Annotated[str, Field(max_length=253)] | None = None
    tls: bool = False
    name: CheckName = "http"


class ScriptCheck(Input):
    """A program of the node's folder LAUNCH.SCRIPTS, called by its name there, that ends with 0."""

    kind: Literal[CheckKind.SCRIPT]
    script: ScriptName
    arguments: Annotated[tuple[Annotated[str, Field(max_length=1000)], ...], Field(max_length=20)] = ()
    name: CheckName = "script"


LaunchCheck: TypeAlias = Annotated[
    LoginCheck | ScreenCheck | TcpCheck | HttpCheck | ScriptCheck, Field(discriminator="kind")
]
Checks = Annotated[tuple[LaunchCheck, ...], Field(min_length=1, max_length=20)]
Nics = Annotated[tuple[LaunchNic, ...], Field(max_length=8)]
Ports = Annotated[tuple[Port, ...], Field(max_length=32)]
Addressing = Annotated[tuple[NicAddressing, ...], Field(max_length=16)]


class LaunchSettingsUpdate(Input):
    """All that is set of a server's launch settings; null or absent: as the source has it, or the default.

    `ports` are forwarded beside those that checks go to. `target` is the id or name of a target that makes
    machines; by itself the node's own, `qemu`. Cards that `addressing` does not name keep their addresses.
    """

    target: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    cpus: Annotated[int, Field(ge=1, le=255)] | None = None
    memory_bytes: Annotated[int, Field(ge=64 * MIB, le=1 << 44)] | None = None
    firmware: Firmware | None = None
    bus: DiskBus | None = None
    nics: Nics | None = None
    ports: Ports = ()
    checks: Checks | None = None
    timeout: Timeout | None = None
    lifetime: Lifetime | None = None
    conversion: ConversionMode | None = None
    addressing: Addressing = ()
    cloud_init: CloudInit | None = None


class LaunchMachine(Resource):
    """The machine that a test makes, what is looked at in it, and for how long it lives after its launch."""

    cpus: int
    memory_bytes: int
    firmware: Firmware
    bus: DiskBus
    nics: tuple[LaunchNic, ...]
    ports: tuple[int, ...]
    checks: tuple[LaunchCheck, ...]
    timeout: timedelta
    lifetime: timedelta = DEFAULT_LIFETIME
    conversion: ConversionMode = ConversionMode.OFF
    """Without the word the machine is one of before there were conversions."""
    addressing: tuple[NicAddressing, ...] = ()
    cloud_init: CloudInit = CloudInit()


class LaunchSettings(Resource):
    """Launch settings of a server: what is set, and the machine that comes of it and of the source."""

    server_id: str
    settings: LaunchSettingsUpdate
    machine: LaunchMachine
    version: int


class TestOrder(Input):
    """Which checkpoint to test, by id, number or `latest`; by itself the newest that is not fuzzy."""

    __test__ = False

    checkpoint: Annotated[str, Field(min_length=1, max_length=64)] | None = None


class ReadyMark(Input):
    """Why a server is ready for its cutover although no test proves it; goes into the audit trail."""

    override: (
        Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=1000)] | None
    ) = None


class TestPhase(Resource):
    """How far the machine came: seconds from the launch to when it was first seen."""

    __test__ = False

    phase: BootPhase
    after: float


class TestCheck(Resource):
    """How a check ended; `after` are the seconds from the launch to its success."""

    __test__ = False

    name: str
    kind: CheckKind
    passed: bool
    after: float | None = None
    detail: str = ""


class PortForward(Resource):
    """A port of the guest, and the port of the node's 127.0.0.1 that leads there while the machine lives."""

    guest: int
    host: int


class ConversionChange(Resource):
    """A file that a conversion changed: why, and the lines that went ('-') and came ('+')."""

    path: str
    reason: str
    lines: tuple[str, ...] = ()


class TestConversion(Resource):
    """What was changed so that the disks boot on the new machine; the replica stays as it is.

    `system` and `root` are what was found on the disks, null where they were not looked at.
    """

    __test__ = False

    system: str | None = None
    root: str | None = None
    changes: tuple[ConversionChange, ...] = ()
    warnings: tuple[str, ...] = ()
    seconds: int = 0


class ServerTest(Resource):
    """A test of a server: a checkpoint, started as a machine on `node` in an isolated network.

    `id` is also the id of the machine. `passed` is null until there is a verdict; `reason`, `detail` and
    `remedy` say why a boot failed, `seconds` from the launch to the verdict. The machine is terminated at
    `expires_at`. `ended_reason` says why it ended by itself (at `ended_at`), or why the service ended it.
    `evidence` names what can be fetched: `screenshot`, `thumbnail`, `serial`. `conversion` is null until the
    disks were looked at.
    """

    id: str
    server_id: str
    job_id: str
    state: TestState
    checkpoint_id: str
    checkpoint_number: int
    label: ConsistencyLabel
    source_time: UtcTime
    target: str
    node: str | None = None
    machine: LaunchMachine
    requested_by: str = ""
    created_at: UtcTime
    launched_at: UtcTime | None = None
    checked_at: UtcTime | None = None
    terminated_at: UtcTime | None = None
    expires_at: UtcTime | None = None
    ended_at: UtcTime | None = None
    ended_reason: str | None = None
    passed: bool | None = None
    reason: BootFailure | None = None
    detail: str | None = None
    remedy: str | None = None
    seconds: float | None = None
    accelerator: str | None = None
    phases: tuple[TestPhase, ...] = ()
    checks: tuple[TestCheck, ...] = ()
    forwards: tuple[PortForward, ...] = ()
    conversion: TestConversion | None = None
    evidence: tuple[str, ...] = ()
