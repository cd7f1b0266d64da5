"""Settings: what code reads, in frozen groups with lower-case names, and how they are loaded.

From the strongest source to the weakest: environment variables (``G2C_DB_HOST``, ``G2C_STORE__PATH``),
the secrets folder (one file a key, named like the variable), the YAML file, the defaults. The keys and
their meanings stand in `app.kit.settingkeys`, explained for operators in ``config/config.yaml``.

Places: ``GO2CLOUD_CONFIG`` names the YAML file and ``GO2CLOUD_SECRETS`` the secrets folder; a place that
is named must exist. Not named, ``/data/config/config.yaml`` and ``/run/secrets/go2cloud`` are read if
they are there.

An empty value, from any source, means the default. Secrets are `SecretStr`: neither `repr` nor a log
shows them.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import SecretStr, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from app.kit.callbackkeys import CallbackSettings
from app.kit.settingkeys import (
    Acceleration,
    AccessSettings,
    AgentSettings,
    CutoverSettings,
    Engine,
    Keys,
    LaunchingSettings,
    LimitSettings,
    LogFormat,
    LogLevel,
    PaceSettings,
    ReportSettings,
    StoreSettings,
    TlsSettings,
    WorkSettings,
)
from app.kit.settingsection import Section
from app.kit.settingserror import SettingsError
from app.kit.settingsources import (
    KeyPath,
    Layer,
    LayerSource,
    Vocabulary,
    environment_layer,
    secrets_layer,
    yaml_layer,
)

__all__ = [
    "Acceleration",
    "AccessSettings",
    "AgentSettings",
    "CallbackSettings",
    "CutoverSettings",
    "DatabaseSettings",
    "Engine",
    "HttpSettings",
    "LaunchingSettings",
    "LimitSettings",
    "LogFormat",
    "LogLevel",
    "LogSettings",
    "PaceSettings",
    "RedisSettings",
    "ReportSettings",
    "Settings",
    "SettingsError",
    "StoreSettings",
    "TlsSettings",
    "WorkSettings",
    "load_settings",
]

CONFIG_FILE = Path("/data/config/config.yaml")
SECRETS_FOLDER = Path("/run/secrets/go2cloud")
LOOPBACK = "127.0.0.1"
ANY_ADDRESS = "0.0.0.0"  # noqa: S104  (in a cluster the pod's network is the boundary)


@dataclass(frozen=True, slots=True)
class DatabaseSettings:
    """Where the database is: the SQLite file `path`, or a server that knows `user`."""

    engine: Engine
    path: Path
    host: str = LOOPBACK
    port: int = 3306
    user: str = ""
    password: SecretStr | None = None
    name: str = "go2cloud"


@dataclass(frozen=True, slots=True)
class RedisSettings:
    """Where Redis is: a host, or sentinels (host and port of each) that know the master by a name.

    With neither the bus stays in this process.
    """

    host: str | None = None
    port: int = 6379
    password: SecretStr | None = None
    sentinels: tuple[tuple[str, int], ...] = ()
    sentinel_name: str = "mymaster"
    sentinel_password: SecretStr | None = None

    @property
    def is_used(self) -> bool:
        """Whether there is a Redis."""
        return self.host is not None or bool(self.sentinels)


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """Where the service listens; `port` None: the default of the role, 0: any free one."""

    host: str = LOOPBACK
    port: int | None = None


@dataclass(frozen=True, slots=True)
class LogSettings:
    """How much is logged, in which form, and into which file besides stdout."""

    level: LogLevel = LogLevel.INFO
    format: LogFormat = LogFormat.AUTO
    file: Path | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings of a process."""

    data_dir: Path
    database: DatabaseSettings
    redis: RedisSettings
    http: HttpSettings
    log: LogSettings
    store: StoreSettings
    agent: AgentSettings
    tls: TlsSettings
    access: AccessSettings
    limits: LimitSettings
    pace: PaceSettings
    work: WorkSettings
    launch: LaunchingSettings
    report: ReportSettings
    cutover: CutoverSettings
    callbacks: CallbackSettings
    api_migrate_server_url: str | None = None
    platform_callback_url: str | None = None
    file: Path | None = field(default=None, compare=False)
    """The YAML file that was read, if there was one."""


def load_settings(environ: Mapping[str, str] | None = None, *, file: Path | None = None) -> Settings:
    """Read all sources; `environ` takes the place of the process's environment, `file` of GO2CLOUD_CONFIG.

    Raises SettingsError for an unknown key, a value that cannot be used, or a file that cannot be read.
    """
    given = dict(os.environ if environ is None else environ)
    if file is not None:
        given["GO2CLOUD_CONFIG"] = str(file)
    layers = _layers(given)
    try:
        keys = _merge(layers)
    except ValidationError as error:
        raise SettingsError(_sentence(error.errors(include_input=False)[0], layers)) from None
    _check_together(keys)
    return replace(_settings(keys), file=_place(given, "GO2CLOUD_CONFIG", CONFIG_FILE))


def _layers(environ: Mapping[str, str]) -> tuple[Layer, ...]:
    vocabulary = Vocabulary(Keys)
    layers = [environment_layer(environ, vocabulary)]
    if (folder := _place(environ, "GO2CLOUD_SECRETS", SECRETS_FOLDER)) is not None:
        layers.append(secrets_layer(folder, vocabulary))
    if (file := _place(environ, "GO2CLOUD_CONFIG", CONFIG_FILE)) is not None:
        layers.append(yaml_layer(file, vocabulary))
    layers.append(Layer({("DATA_DIR",): str(_state_folder(environ))}, lambda _path: "default"))
    return tuple(layers)


def _place(environ: Mapping[str, str], variable: str, default: Path) -> Path | None:
    named = environ.get(variable)
    if not named:
        return default if default.exists() else None
    if not Path(named).exists():
        raise SettingsError(f"{variable} (environment) names {named}, which does not exist: correct it")
    return Path(named)


def _state_folder(environ: Mapping[str, str]) -> Path:
    state = environ.get("XDG_STATE_HOME")
    home = Path(environ["HOME"]) if environ.get("HOME") else Path.home()
    return (Path(state) if state else home / ".local" / "state") / "go2cloud"


def _merge(layers: tuple[Layer, ...]) -> Keys:
    class Layered(Keys):
        """The keys, read from the layers of this call."""

        @classmethod
        def settings_customise_sources(
            cls, settings_cls: type[BaseSettings], *_sources: object, **_named: object
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return tuple(LayerSource(settings_cls, layer) for layer in layers)

    return Layered()


def _sentence(error: ErrorDetails, layers: tuple[Layer, ...]) -> str:
    path = tuple(str(part).upper() for part in error["loc"])
    place = next((layer.place_of(path) for layer in layers if path in layer.texts), "default")
    problem = error["msg"].removeprefix("Value error, ")
    return f"{'.'.join(path)} ({place}) cannot be used: {problem}; expected {_expected(path)}"


def _expected(path: KeyPath) -> str:
    field = Keys.model_fields[path[0].lower()]
    if len(path) > 1 and isinstance(field.annotation, type) and issubclass(field.annotation, Section):
        field = field.annotation.model_fields[path[1].lower()]
    return field.description or "another value"


def _check_together(keys: Keys) -> None:
    if keys.db_engine is Engine.MYSQL:
        for key, value in (("DB_HOST", keys.db_host), ("DB_USER", keys.db_user)):
            if value is None:
                raise SettingsError(f"{key} (nowhere set) is needed with DB_ENGINE mysql: set it")
    if keys.platform_callback_url is not None and keys.callbacks.secret is None:
        raise SettingsError(
            "CALLBACKS.SECRET (nowhere set) is needed with PLATFORM_CALLBACK_URL: set it in both roles"
        )
    pairs = (
        ("TLS.CERT_FILE", keys.tls.cert_file, "TLS.KEY_FILE", keys.tls.key_file),
        ("STORE.S3_ACCESS_KEY", keys.store.s3_access_key, "STORE.S3_SECRET_KEY", keys.store.s3_secret_key),
    )
    for one, of_one, other, of_other in pairs:
        if (of_one is None) != (of_other is None):
            lacking, there = (one, other) if of_one is None else (other, one)
            raise SettingsError(f"{lacking} (nowhere set) is needed with {there}: set both or none")


def _settings(keys: Keys) -> Settings:
    return Settings(
        data_dir=keys.data_dir,
        database=_database(keys),
        redis=RedisSettings(
            keys.redis_host,
            keys.redis_port,
            keys.redis_password,
            keys.redis_sentinels,
            keys.redis_sentinel_name,
            keys.redis_sentinel_password,
        ),
        http=HttpSettings(keys.http_listen_host or _default_address(keys), keys.http_listen_port),
        log=LogSettings(keys.log_level, keys.log_format, keys.log_file),
        store=keys.store,
        agent=keys.agent,
        tls=keys.tls,
        access=keys.access,
        limits=keys.limits,
        pace=keys.pace,
        work=keys.work,
        launch=keys.launch,
        report=keys.report,
        cutover=keys.cutover,
        callbacks=keys.callbacks,
        api_migrate_server_url=keys.api_migrate_server_url,
        platform_callback_url=keys.platform_callback_url,
    )


def _database(keys: Keys) -> DatabaseSettings:
    return DatabaseSettings(
        engine=keys.db_engine,
        path=keys.db_path,
        host=keys.db_host or LOOPBACK,
        port=keys.db_port,
        user=keys.db_user or "",
        password=keys.db_password,
        name=keys.db_name,
    )


def _default_address(keys: Keys) -> str:
    return LOOPBACK if keys.db_engine is Engine.SQLITE else ANY_ADDRESS
