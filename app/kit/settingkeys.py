"""Every key an operator can set, with its meaning and its default.

The names are upper-case wherever a person writes them (``DB_HOST``, ``STORE: {PATH: …}``) and lower-case
here. The values arrive as text from all sources; the types below read them. A description completes the
sentence "expected …" of an error message.
"""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ByteSize,
    Field,
    SecretStr,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from app.kit.callbackkeys import CallbackSettings
from app.kit.ratewindows import MOST_RATE, RateCalendar, RateWindow, parsed_windows
from app.kit.settingsection import Section

GIB = 1 << 30
DATABASE_FILE = "go2cloud.db"
STORE_FOLDER = "store"
LAUNCH_FOLDER = "launch"
SHORTEST_INTERVAL_SECONDS = 5
LONGEST_INTERVAL_SECONDS = 7 * 86400
"""Between two checkpoints of a server, as in the contract."""


class Engine(StrEnum):
    """A database engine; MariaDB and MySQL are one."""

    SQLITE = "sqlite"
    MYSQL = "mysql"


class LogFormat(StrEnum):
    """How log records look on stdout; `AUTO` is `CONSOLE` on a terminal and `JSON` elsewhere."""

    AUTO = "auto"
    JSON = "json"
    CONSOLE = "console"


class LogLevel(StrEnum):
    """The least severe level that is written."""

    DEBUG = "DEBUG"
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"


def _addresses(value: object) -> object:
    """`one:26379, two:26379` as pairs; other values are left to be refused."""
    if not isinstance(value, str):
        return value
    pairs = [part.strip().rpartition(":") for part in value.split(",") if part.strip()]
    return [(host, port) for host, _, port in pairs]


def _engine(value: object) -> object:
    name = value.lower() if isinstance(value, str) else value
    return Engine.MYSQL if name == "mariadb" else name


def _url(value: str) -> str:
    if not value.startswith(("http://", "https://")):
        raise ValueError("the URL does not start with http:// or https://")
    return value.rstrip("/")


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[int, Field(ge=1)]


def _interval(value: int) -> int:
    if value and not SHORTEST_INTERVAL_SECONDS <= value <= LONGEST_INTERVAL_SECONDS:
        raise ValueError("it has to be from 5 (seconds) to 604800 (a week), or 0 for only on command")
    return value


File = Annotated[Path, AfterValidator(Path.expanduser)]
Address = tuple[Annotated[str, Field(min_length=1)], Annotated[int, Field(ge=1, le=65535)]]
Url = Annotated[str, AfterValidator(_url)]


class StoreSettings(Section):
    """STORE: where chunks, packs and checkpoints lie."""

    path: File = Field(description="a folder on a local disk or a shared volume")
    reserve_bytes: ByteSize = Field(
        ByteSize(GIB),
        ge=0,
        description="free space to keep, in bytes or like 1GiB",
    )
    s3_bucket: str | None = Field(
        None, min_length=3, description="a bucket that takes the place of the folder"
    )
    s3_endpoint: Url | None = Field(
        None, description="the URL of the object storage; AWS where it is missing"
    )
    s3_prefix: str = Field(
        "",
        pattern=r"^([A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*)?$",
        description="what all keys in the bucket begin with, like go2cloud/store",
    )
    s3_region: str = Field("us-east-1", min_length=1, description="the region of the bucket")
    s3_access_key: str | None = Field(None, description="the access key")
    s3_secret_key: SecretStr | None = Field(None, description="the secret key")
    gc_interval_seconds: Seconds = Field(3600, description="seconds between two garbage collections")
    gc_grace_seconds: Seconds = Field(
        86400, description="seconds for which a pack that nothing refers to is kept nevertheless"
    )
    compress_bytes: ByteSize = Field(
        ByteSize(4 * GIB),
        ge=0,
        description="how much of what came uncompressed one garbage collection compresses, in bytes or like "
        "4GiB; 0: nothing",
    )
    scrub_bytes_per_second: ByteSize = Field(
        ByteSize(16 << 20),
        ge=0,
        description="how fast packs are read again, in bytes a second or like 16MiB; 0: not at all",
    )
    scrub_days: int = Field(
        30, ge=1, le=3650, description="days from the begin of one scrub round to the next"
    )


class AgentSettings(Section):
    """AGENT: what the agent tier tells the agents."""

    public_url: Url | None = Field(None, description="the URL at which agents reach the agent tier")
    cert_fingerprint: str | None = Field(
        None, description="the SHA-256 fingerprint (hexadecimal) of the certificate that agents pin"
    )
    heartbeat_seconds: Seconds = Field(10, description="seconds between two heartbeats of an agent")
    lease_seconds: Seconds = Field(30, description="seconds of silence until an agent counts as lost")
    sync_interval_seconds: Annotated[int, AfterValidator(_interval)] = Field(
        60, description="seconds between two checkpoints of a server, 5 to 604800; 0 for only on command"
    )
    verify_days: int = Field(
        7, ge=0, le=3650, description="days from one online verification of a server to the next; 0: never"
    )
    verify_bytes_per_second: ByteSize = Field(
        ByteSize(64 << 20),
        ge=0,
        description="how fast an online verification reads, in bytes a second or like 64MiB; 0: no limit",
    )


def _windows(value: object) -> object:
    return parsed_windows(value) if isinstance(value, str) else value


class PaceSettings(Section):
    """PACE: what all agents together may send. Read again while the service runs."""

    rate: ByteSize | None = Field(
        None, ge=0, le=MOST_RATE, description="bytes a second like 20MiB, 0 for nothing, empty for no limit"
    )
    windows: Annotated[tuple[RateWindow, ...], BeforeValidator(_windows)] = Field(
        (), description="lines like: Mon-Fri 08:00-18:00 Europe/Berlin 5MiB"
    )

    @property
    def calendar(self) -> RateCalendar:
        """What holds when."""
        return RateCalendar(None if self.rate is None else int(self.rate), self.windows)


class TlsSettings(Section):
    """TLS: the certificate of the service itself, where no ingress ends TLS."""

    cert_file: File | None = Field(None, description="a PEM file with the certificate and its chain")
    key_file: File | None = Field(None, description="a PEM file with the private key of TLS.CERT_FILE")


class AccessSettings(Section):
    """ACCESS: sessions and logins of people."""

    session_hours: int = Field(12, ge=1, description="hours until a login has to be repeated")
    login_attempts_per_minute: int = Field(
        10, ge=1, description="login attempts a minute for one name and one address"
    )


class WorkSettings(Section):
    """WORK: the job engine."""

    control_steps: int = Field(
        8, ge=1, le=200, description="steps of jobs that a process of role api runs at once"
    )
    volume_steps: int = Field(
        2, ge=0, le=200, description="steps of jobs that a process of role agent runs at once"
    )
    lease_seconds: int = Field(
        30, ge=5, le=3600, description="seconds of silence until a job's worker counts as dead"
    )
    look_seconds: Seconds = Field(2, description="seconds between two looks for jobs")
    drain_seconds: Annotated[int, Field(ge=0)] = Field(
        15, description="seconds that running steps get to end when the process stops"
    )
    keep_days: int = Field(
        90, ge=1, le=3650, description="days for which jobs that ended are known, with their events"
    )
    node: str | None = Field(None, max_length=100, description="a name of this node for jobs bound to it")


class Acceleration(StrEnum):
    """What runs the instructions of test machines; `AUTO` is KVM where it really works."""

    AUTO = "auto"
    KVM = "kvm"
    TCG = "tcg"


class LaunchingSettings(Section):
    """LAUNCH: test machines on the nodes of role agent."""

    folder: File = Field(description="a folder on a local disk for machines and their volumes")
    user: str = Field("nobody", min_length=1, description="a user without rights that machines run as")
    accelerator: Annotated[Acceleration, BeforeValidator(_lower)] = Field(
        Acceleration.AUTO, description="auto, kvm or tcg"
    )
    cpus: int = Field(
        4, ge=1, le=255, description="processors of a machine that operators may order, at most"
    )
    memory: ByteSize = Field(
        ByteSize(4 * GIB),
        ge=64 << 20,
        description="memory of a machine that operators may order, at most, in bytes or like 4GiB",
    )
    tests_at_once: int = Field(4, ge=1, le=1000, description="tests of servers that run at once")
    project_tests_at_once: int = Field(
        4, ge=1, le=1000, description="tests of servers of one project that run at once"
    )
    test_hours: int = Field(
        72, ge=1, le=2160, description="hours from a test machine's launch until it is terminated"
    )
    scripts: File | None = Field(None, description="a folder of the programs that checks may run")
    s3_credentials: File | None = Field(
        None, description="a file of keys to buckets that image targets name, like AWS's credentials file"
    )
    test_days: int = Field(
        7, ge=1, le=3650, description="days for which a tested checkpoint counts as a proof"
    )
    evidence_days: int = Field(
        90, ge=1, le=3650, description="days for which tests that are over are known, with their evidence"
    )


class ReportSettings(Section):
    """REPORT: the signed reports of servers."""

    signing_key_file: File | None = Field(
        None, description="a PEM file with the private Ed25519 key that reports are signed with"
    )


class CutoverSettings(Section):
    """CUTOVER: the last way of a server."""

    verify_hours: int = Field(
        24,
        ge=1,
        le=720,
        description="hours for which an online verification counts as the proof of a replica",
    )
    stop_seconds: int = Field(
        300,
        ge=10,
        le=86400,
        description="seconds without a word of the service after which a source starts its services again",
    )
    at_once: int = Field(4, ge=1, le=1000, description="cutovers of servers to one target that run at once")


class LimitSettings(Section):
    """LIMITS: the most that one request may carry or ask for."""

    request_body_bytes: ByteSize = Field(
        ByteSize(1 << 20), ge=1024, description="the largest body of a REST request, in bytes or like 1MiB"
    )
    page_size_max: int = Field(500, ge=1, description="the largest number of items on one page of a list")


class Keys(BaseSettings):
    """All keys. `Settings` in `app.kit.settings` is what code reads; this is what operators write."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", alias_generator=str.upper, hide_input_in_errors=True
    )

    data_dir: File = Field(description="a folder that go2cloud may write to")
    db_engine: Annotated[Engine, BeforeValidator(_engine)] = Field(
        Engine.SQLITE, description="sqlite or mysql (alias mariadb)"
    )
    db_path: File = Field(description="a file on a local disk for the SQLite database")
    db_host: str | None = Field(None, description="the host name of the MariaDB or MySQL server")
    db_port: Port = Field(3306, description="a port from 1 to 65535")
    db_user: str | None = Field(None, description="a user of the MariaDB or MySQL server")
    db_password: SecretStr | None = Field(None, description="the password of DB_USER")
    db_name: str = Field("go2cloud", description="the name of a database of the MariaDB or MySQL server")
    redis_host: str | None = Field(None, description="the host name of the Redis server")
    redis_port: Port = Field(6379, description="a port from 1 to 65535")
    redis_password: SecretStr | None = Field(None, description="the password of the Redis server")
    redis_sentinels: Annotated[tuple[Address, ...], BeforeValidator(_addresses), NoDecode] = Field(
        (), description="host:port of each sentinel, with commas between them"
    )
    redis_sentinel_name: str = Field("mymaster", description="the name by which sentinels know the master")
    redis_sentinel_password: SecretStr | None = Field(None, description="the password of the sentinels")
    http_listen_host: str | None = Field(None, description="an address of this host to listen on")
    http_listen_port: Port | None = Field(None, description="a port from 0 (any free one) to 65535")
    api_migrate_server_url: Url | None = Field(None, description="the URL of the migration API")
    platform_callback_url: Url | None = Field(None, description="the URL at which the platform takes events")
    log_level: Annotated[LogLevel, BeforeValidator(_upper)] = Field(
        LogLevel.INFO, description="DEBUG, INFO, WARNING or ERROR"
    )
    log_format: Annotated[LogFormat, BeforeValidator(_lower)] = Field(
        LogFormat.AUTO, description="auto, json or console"
    )
    log_file: File | None = Field(None, description="a file that gets the JSON log lines too")
    store: StoreSettings
    agent: AgentSettings = AgentSettings()
    pace: PaceSettings = PaceSettings()
    tls: TlsSettings = TlsSettings()
    access: AccessSettings = AccessSettings()
    work: WorkSettings = WorkSettings()
    launch: LaunchingSettings
    report: ReportSettings = ReportSettings()
    cutover: CutoverSettings = CutoverSettings()
    callbacks: CallbackSettings = CallbackSettings()
    limits: LimitSettings = LimitSettings()

    @model_validator(mode="before")
    @classmethod
    def _place_in_data_dir(cls, data: dict[str, Any]) -> dict[str, Any]:
        """Drop empty values (they mean the default) and put what has no place into the data folder."""
        given = _without_empty(data)
        folder = Path(given["DATA_DIR"]).expanduser()
        store = {"PATH": str(folder / STORE_FOLDER)} | given.get("STORE", {})
        launch = {"FOLDER": str(folder / LAUNCH_FOLDER)} | given.get("LAUNCH", {})
        return {"DB_PATH": str(folder / DATABASE_FILE)} | given | {"STORE": store, "LAUNCH": launch}


def _without_empty(values: dict[str, Any]) -> dict[str, Any]:
    return {
        key: _without_empty(value) if isinstance(value, dict) else value
        for key, value in values.items()
        if value != ""
    }
