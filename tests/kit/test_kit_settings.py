"""Settings: their sources, their order, and what is refused."""

from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest
from pydantic import SecretStr

from app.kit import settings as module
from app.kit.settingkeys import Keys
from app.kit.settings import DatabaseSettings, Engine, LogLevel, Settings, SettingsError, load_settings
from app.kit.settingsources import Vocabulary


@pytest.fixture(autouse=True)
def _no_places_of_this_host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "CONFIG_FILE", tmp_path / "absent" / "config.yaml")
    monkeypatch.setattr(module, "SECRETS_FOLDER", tmp_path / "absent" / "secrets")


def _load(tmp_path: Path, yaml: str = "", secrets: dict[str, str] | None = None, **environ: str) -> Settings:
    """Settings from a YAML text, secret files and variables."""
    config, folder = tmp_path / "config.yaml", tmp_path / "secrets"
    config.write_text(yaml)
    folder.mkdir(exist_ok=True)
    for name, text in (secrets or {}).items():
        (folder / name).write_text(text)
    places = {"GO2CLOUD_CONFIG": str(config), "GO2CLOUD_SECRETS": str(folder), "HOME": str(tmp_path)}
    return load_settings(places | environ)


def _refusal(tmp_path: Path, *args: object, **environ: str) -> str:
    with pytest.raises(SettingsError) as refusal:
        _load(tmp_path, *args, **environ)  # type: ignore[arg-type]  # passed through
    text = str(refusal.value)
    assert "\n" not in text
    return text


def test_without_any_source_the_service_is_embedded_and_listens_to_this_host_alone(tmp_path: Path) -> None:
    settings = load_settings({"HOME": str(tmp_path)})
    state = tmp_path / ".local" / "state" / "go2cloud"
    assert settings.data_dir == state
    assert settings.database == DatabaseSettings(Engine.SQLITE, state / "go2cloud.db")
    assert settings.store.path == state / "store"
    assert settings.store.reserve_bytes == 1 << 30
    assert (settings.http.host, settings.http.port) == ("127.0.0.1", None)
    assert settings.redis.host is None


def test_the_state_folder_follows_xdg(tmp_path: Path) -> None:
    assert load_settings({"XDG_STATE_HOME": str(tmp_path)}).data_dir == tmp_path / "go2cloud"


def test_the_data_folder_moves_what_has_no_place_of_its_own(tmp_path: Path) -> None:
    settings = _load(tmp_path, "DATA_DIR: /srv/g2c\nSTORE:\n  PATH: /mnt/store\n")
    assert settings.database.path == Path("/srv/g2c/go2cloud.db")
    assert settings.store.path == Path("/mnt/store")


def test_environment_beats_secrets_beats_yaml_beats_default(tmp_path: Path) -> None:
    yaml = "DB_NAME: of-yaml\nDB_USER: of-yaml\nDB_HOST: of-yaml\nSTORE:\n  GC_GRACE_SECONDS: 7\n"
    secrets = {"G2C_DB_USER": "of-secret\n", "G2C_DB_HOST": "of-secret"}
    settings = _load(tmp_path, yaml, secrets, G2C_DB_HOST="of-environment", G2C_STORE__PATH="/s")
    database = settings.database
    assert (database.host, database.user, database.name) == ("of-environment", "of-secret", "of-yaml")
    assert database.port == 3306
    assert (settings.store.path, settings.store.gc_grace_seconds) == (Path("/s"), 7)


def test_a_password_of_digits_keeps_its_zero(tmp_path: Path) -> None:
    settings = _load(tmp_path, "DB_PASSWORD: 0123456\nREDIS_PASSWORD: 1_000\n")
    assert settings.database.password == SecretStr("0123456")
    assert settings.redis.password == SecretStr("1_000")


def test_words_that_yaml_would_read_as_truth_stay_words(tmp_path: Path) -> None:
    assert _load(tmp_path, "DB_USER: no\nDB_NAME: 1e3\n").database.user == "no"


def test_mariadb_is_mysql_and_then_every_address_is_listened_to(tmp_path: Path) -> None:
    settings = _load(tmp_path, "DB_ENGINE: MariaDB\nDB_HOST: db\nDB_USER: u\n")
    assert settings.database.engine is Engine.MYSQL
    assert settings.http.host == "0.0.0.0"


def test_an_empty_value_means_the_default(tmp_path: Path) -> None:
    settings = _load(tmp_path, "REDIS_HOST: redis\nDB_PORT:\nSTORE:\n  PATH:\n", G2C_REDIS_HOST="")
    assert settings.redis.host is None
    assert settings.database.port == 3306
    assert settings.store.path == settings.data_dir / "store"


def test_an_empty_section_and_an_empty_file_are_fine(tmp_path: Path) -> None:
    assert _load(tmp_path, "STORE:\nLOG_LEVEL: debug\n").log.level is LogLevel.DEBUG
    assert _load(tmp_path, "# nothing\n").log.level is LogLevel.INFO


def test_settings_cannot_be_changed(tmp_path: Path) -> None:
    settings = _load(tmp_path)
    with pytest.raises(FrozenInstanceError):
        settings.data_dir = tmp_path  # type: ignore[misc]  # refused is the point
    with pytest.raises(ValueError, match="frozen"):
        settings.store.path = tmp_path  # type: ignore[misc]  # refused is the point


def test_no_repr_shows_a_secret(tmp_path: Path) -> None:
    settings = _load(tmp_path, "DB_PASSWORD: hunter2\n", {"G2C_REDIS_PASSWORD": "hunter2"})
    assert "hunter2" not in repr(settings)


@pytest.mark.parametrize(
    ("variable", "advice"),
    [
        ("G2C_DB_HOTS", "did you mean G2C_DB_HOST?"),
        ("G2C_STORE__PTAH", "did you mean G2C_STORE__PATH?"),
        ("G2C_db_host", "did you mean G2C_DB_HOST?"),
        ("G2C_STORE", "is a section"),
        ("G2C_XYZZY", "remove it"),
    ],
)
def test_an_unknown_variable_is_refused_by_name(tmp_path: Path, variable: str, advice: str) -> None:
    refusal = _refusal(tmp_path, **{variable: "x"})
    assert refusal.startswith(f"{variable} (environment) is ")
    assert advice in refusal


def test_an_unknown_key_of_the_file_is_refused_by_name(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    assert f"DB_PASWORD ({file})" in _refusal(tmp_path, "DB_PASWORD: x\n")
    assert "did you mean STORE.PATH?" in _refusal(tmp_path, "STORE:\n  PATHS: x\n")
    assert "did you mean DB_HOST?" in _refusal(tmp_path, "db_host: x\n")


def test_sentinels_are_pairs_of_host_and_port(tmp_path: Path) -> None:
    loaded = _load(tmp_path, "REDIS_SENTINELS: one:26379, 10.0.0.2:5000,\n")
    assert loaded.redis.sentinels == (("one", 26379), ("10.0.0.2", 5000))
    assert loaded.redis.is_used
    assert _load(tmp_path, "", G2C_REDIS_SENTINELS="a:1").redis.sentinels == (("a", 1),)


def test_variables_of_others_are_left_alone(tmp_path: Path) -> None:
    assert _load(tmp_path, REDIS_PORT="tcp://10.0.0.1:6379").redis.port == 6379


def test_a_secret_file_without_the_prefix_is_not_ignored_in_silence(tmp_path: Path) -> None:
    assert "rename it to G2C_DB_PASSWORD" in _refusal(tmp_path, "", {"DB_PASSWORD": "x"})


@pytest.mark.parametrize("name", ["G2C_DB_PASSWRD", "G2C_DB_PASS_WORD", "G2C_CALLBACKS_SECRET", "G2C_STORE"])
def test_a_secret_file_whose_name_is_a_slip_is_refused(tmp_path: Path, name: str) -> None:
    assert name in _refusal(tmp_path, "", {name: "x"})


def test_a_secret_of_a_later_version_is_a_warning_and_lets_this_one_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    secrets = {"G2C_DB_PASSWORD": "x", "G2C_TELEPATHY__SECRET": "hush"}
    assert _load(tmp_path, "", secrets).database.password == SecretStr("x")
    assert "G2C_TELEPATHY__SECRET is not a key of this version" in caplog.text
    assert "hush" not in caplog.text
    assert "G2C_TELEPATHY__SECRET" in _refusal(tmp_path, "", G2C_TELEPATHY__SECRET="x")


@pytest.mark.parametrize(
    ("yaml", "words"),
    [
        ("HTTP_LISTEN_PORT: http\n", ["HTTP_LISTEN_PORT", "config.yaml", "a port from 0"]),
        ("HTTP_LISTEN_PORT: 70000\n", ["HTTP_LISTEN_PORT", "65535"]),
        ("LOG_LEVEL: loud\n", ["LOG_LEVEL", "DEBUG, INFO, WARNING or ERROR"]),
        ("DB_ENGINE: postgres\n", ["DB_ENGINE", "sqlite or mysql"]),
        ("API_MIGRATE_SERVER_URL: api:8004\n", ["API_MIGRATE_SERVER_URL", "http://"]),
        ("AGENT:\n  LEASE_SECONDS: 0\n", ["AGENT.LEASE_SECONDS", "config.yaml"]),
        ("STORE:\n  RESERVE_BYTES: lots\n", ["STORE.RESERVE_BYTES", "like 1GiB"]),
        ("PACE:\n  RATE: fast\n", ["PACE.RATE", "like 20MiB"]),
        (
            "PACE:\n  WINDOWS: Mon 08:00-18:00 Mars/Base 5MiB\n",
            ["PACE.WINDOWS", "Mars/Base", "Europe/Berlin"],
        ),
        ("PACE:\n  WINDOWS: Mon 08:00-08:00 UTC 5MiB\n", ["PACE.WINDOWS", "00:00-24:00"]),
        ("PACE:\n  WINDOWS: always slow\n", ["PACE.WINDOWS", "'always slow'", "four words"]),
        ("PACE:\n  WINDOWS: [a]\n", ["PACE.WINDOWS", "write one value"]),
        ("DB_ENGINE: mysql\n", ["DB_HOST", "set it"]),
        ("TLS:\n  CERT_FILE: /x\n", ["TLS.KEY_FILE", "both or none"]),
        ("STORE:\n  S3_ACCESS_KEY: x\n", ["STORE.S3_SECRET_KEY", "both or none"]),
        ("REDIS_SENTINELS: one, two:26379\n", ["REDIS_SENTINELS", "host:port"]),
        ("REDIS_SENTINELS: one:x\n", ["REDIS_SENTINELS", "host:port"]),
        ("STORE:\n  S3_PREFIX: /x\n", ["STORE.S3_PREFIX", "like go2cloud/store"]),
        ("DB_HOST: a\nDB_HOST: b\n", ["DB_HOST stands twice", "config.yaml"]),
        ("DB_HOST: [a, b]\n", ["DB_HOST", "write one value"]),
        ("STORE:\n  PATH: {a: b}\n", ["STORE.PATH", "write one value"]),
        ("- DB_HOST\n", ["does not hold a mapping"]),
        ("DB_HOST: 'open\n", ["is not valid YAML", "config.yaml"]),
    ],
)
def test_what_cannot_be_used_is_named_with_its_source_and_a_remedy(
    tmp_path: Path, yaml: str, words: list[str]
) -> None:
    refusal = _refusal(tmp_path, yaml)
    for word in words:
        assert word in refusal


@pytest.mark.parametrize("seconds", ["1", "4", "604801", "-5"])
def test_an_interval_beyond_five_seconds_and_a_week_is_refused(tmp_path: Path, seconds: str) -> None:
    assert "0 for only on command" in _refusal(tmp_path, G2C_AGENT__SYNC_INTERVAL_SECONDS=seconds)


@pytest.mark.parametrize("seconds", ["0", "5", "604800"])
def test_an_interval_of_five_seconds_to_a_week_or_none_is_taken(tmp_path: Path, seconds: str) -> None:
    settings = _load(tmp_path, G2C_AGENT__SYNC_INTERVAL_SECONDS=seconds)
    assert settings.agent.sync_interval_seconds == int(seconds)


def test_a_refused_secret_is_not_shown(tmp_path: Path) -> None:
    assert "hunter2" not in _refusal(tmp_path, "", {"G2C_DB_PORT": "hunter2"})


def test_the_pace_of_the_fleet_is_written_in_lines_or_with_semicolons(tmp_path: Path) -> None:
    windows = ("Mon-Fri 08:00-18:00 Europe/Berlin 5MiB", "Sat,Sun 22:00-06:00 UTC unlimited")
    lines = "".join(f"    {window}\n" for window in windows)
    of_file = _load(tmp_path, f"PACE:\n  RATE: 20MiB\n  WINDOWS: |\n{lines}").pace
    of_variable = _load(tmp_path, G2C_PACE__RATE="20MiB", G2C_PACE__WINDOWS="; ".join(windows)).pace
    assert of_file == of_variable
    assert (of_file.calendar.rate, tuple(map(str, of_file.calendar.windows))) == (20 << 20, windows)


@pytest.mark.parametrize("variable", ["GO2CLOUD_CONFIG", "GO2CLOUD_SECRETS"])
def test_a_place_that_is_named_must_exist(tmp_path: Path, variable: str) -> None:
    assert variable in _refusal(tmp_path, **{variable: str(tmp_path / "nowhere")})


CONFIG = Path(__file__).parents[2] / "config" / "config.yaml"


def test_the_shipped_file_says_the_defaults(tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path)}
    assert load_settings(home | {"GO2CLOUD_CONFIG": str(CONFIG)}) == load_settings(home)


def test_the_shipped_file_names_every_key_and_nothing_unknown(tmp_path: Path) -> None:
    """With the comments taken away from all examples, the file is still one that loads, with every key."""
    lines = []
    for line in CONFIG.read_text().splitlines():
        bare = line.lstrip()
        is_key = (
            bare.startswith("# ") and bare[2:].split(":")[0].isupper() and " " not in bare[2:].split(":")[0]
        )
        lines.append(line.replace("# ", "", 1) if is_key else line)
    text = "\n".join(lines)
    load_settings({"GO2CLOUD_CONFIG": str(_written(tmp_path, text)), "HOME": str(tmp_path)})
    named = {
        line.split(":")[0].strip() for line in lines if line.strip() and not line.strip().startswith("#")
    }
    known = {part for path in Vocabulary(Keys).paths for part in path}
    assert named == known


def _written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "all.yaml"
    file.write_text(text)
    return file
