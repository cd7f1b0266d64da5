"""Logging: one formatter for all, ECS names, and nothing secret."""

import io
import json
import logging
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import structlog
from fastapi import FastAPI
from httpx2 import ASGITransport, AsyncClient

from app.kit.accesslog import AccessLogMiddleware
from app.kit.logging import configure_logging, get_logger
from app.kit.requestid import RequestIdMiddleware
from app.kit.settings import LogFormat, LogLevel, LogSettings, Settings, SettingsError, load_settings


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """Take back what `configure_logging` does to the process."""
    root = logging.getLogger()
    handlers, level, show = list(root.handlers), root.level, warnings.showwarning
    yield
    for handler in [each for each in root.handlers if each not in handlers]:
        root.removeHandler(handler)
        handler.close()
    root.setLevel(level)
    logging.captureWarnings(False)
    warnings.showwarning = show
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings({"HOME": str(tmp_path), "G2C_LOG_FORMAT": "json"})


_DISKS: dict[str, str] = {}


class Log:
    """What is logged to stdout from `configure` on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.stdout = io.StringIO()
        self._monkeypatch = monkeypatch

    def configure(self, settings: Settings) -> None:
        """Configure logging; pytest puts its own stdout back before each phase of a test."""
        self._monkeypatch.setattr("sys.stdout", self.stdout)
        configure_logging(settings, "go2cloud-api")

    def __call__(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stdout.getvalue().splitlines()]


@pytest.fixture
def lines(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Log:
    """Logging, configured; called, it gives what has been logged since, as parsed JSON lines."""
    log = Log(monkeypatch)
    log.configure(settings)
    return log


def test_an_event_is_one_line_in_ecs_names(lines: Log) -> None:
    get_logger("go2cloud.jobs").warning("job.failed", job="job-1", **{"url.path": "/x"})
    (line,) = lines()
    assert line["message"] == line["event"]["action"] == "job.failed"
    assert line["log.level"] == "warning"
    assert line["log"]["logger"] == "go2cloud.jobs"
    assert line["@timestamp"].endswith("Z")
    assert line["ecs.version"]
    assert line["service"]["name"] == "go2cloud-api"
    assert line["go2cloud"] == {"job": "job-1"}
    assert line["url"] == {"path": "/x"}


@pytest.mark.parametrize(
    "name", ["uvicorn.error", "sqlalchemy.pool", "alembic.runtime.migration", "anything"]
)
def test_records_of_libraries_go_through_the_same_formatter(lines: Log, name: str) -> None:
    logging.getLogger(name).warning("started with %s", "vigour")
    (line,) = lines()
    assert (line["message"], line["log"]["logger"]) == ("started with vigour", name)
    assert "action" not in line.get("event", {})


def test_warnings_are_records_too(lines: Log) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("old ways", UserWarning, stacklevel=1)
    (line,) = lines()
    assert "old ways" in line["message"]
    assert line["log"]["logger"] == "py.warnings"


def test_an_error_has_type_message_and_trace(lines: Log) -> None:
    try:
        _DISKS["disk"]
    except KeyError:
        get_logger("x").exception("step.failed")
    (line,) = lines()
    assert line["error"]["type"] == "builtins.KeyError"
    assert line["error"]["message"] == "'disk'"
    assert "Traceback" in line["error"]["stack_trace"]


def test_an_error_of_a_library_has_them_too(lines: Log) -> None:
    try:
        _DISKS["disk"]
    except KeyError:
        logging.getLogger("uvicorn.error").exception("Exception in ASGI application")
    assert lines()[0]["error"]["type"] == "builtins.KeyError"


@pytest.mark.parametrize("level", LogLevel)
def test_less_severe_records_are_left_out(settings: Settings, lines: Log, level: LogLevel) -> None:
    lines.configure(replace(settings, log=LogSettings(level, LogFormat.JSON)))
    log = get_logger("x")
    for each in (log.debug, log.info, log.warning, log.error):
        each("event")
    order = list(LogLevel)
    assert [line["log.level"].upper() for line in lines()] == order[order.index(level) :]


def test_configuring_twice_does_not_write_twice(settings: Settings, lines: Log) -> None:
    lines.configure(settings)
    get_logger("x").info("once")
    assert len(lines()) == 1


def test_a_log_file_gets_json_lines_also_when_stdout_is_for_people(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, file = Log(monkeypatch), tmp_path / "go2cloud.log"
    log.configure(replace(settings, log=LogSettings(format=LogFormat.CONSOLE, file=file)))
    get_logger("x").info("job.started", job="job-1")
    file.rename(tmp_path / "go2cloud.log.1")
    get_logger("x").info("job.ended")
    assert "job.started" in log.stdout.getvalue()
    assert not log.stdout.getvalue().startswith("{")
    assert json.loads((tmp_path / "go2cloud.log.1").read_text())["message"] == "job.started"
    assert json.loads(file.read_text())["message"] == "job.ended"


def test_a_log_file_that_cannot_be_opened_is_a_settings_error(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="LOG_FILE"):
        configure_logging(replace(settings, log=LogSettings(file=tmp_path / "no" / "folder" / "x.log")))


def test_a_secret_in_a_field_is_not_shown(lines: Log, tmp_path: Path) -> None:
    loaded = load_settings({"HOME": str(tmp_path), "G2C_DB_PASSWORD": "hunter2"})
    get_logger("x").info("settings.loaded", password=loaded.database.password, settings=str(loaded))
    assert "hunter2" not in json.dumps(lines())


async def test_a_request_is_one_line_with_its_id_and_probes_are_quiet(lines: Log) -> None:
    app = FastAPI()
    app.add_middleware(AccessLogMiddleware)
    app.add_middleware(RequestIdMiddleware)

    @app.get("/items")
    async def items() -> None:
        get_logger("x").info("inside")

    @app.get("/healthz")
    async def healthz() -> None:
        """Nothing."""

    async with AsyncClient(transport=ASGITransport(app), base_url="http://test") as client:
        await client.get("/healthz")
        await client.get("/items?token=hunter2", headers={"X-Request-Id": "r-1"})
    inside, access = [line for line in lines() if line["log"]["logger"] in ("x", "go2cloud.access")]
    assert inside["http"]["request"]["id"] == access["http"]["request"]["id"] == "r-1"
    assert access["http"]["request"]["method"] == "GET"
    assert access["http"]["response"]["status_code"] == 200
    assert access["url"] == {"path": "/items"}
    assert access["event"]["duration"] > 0
    assert "hunter2" not in json.dumps(lines())


async def test_a_request_that_breaks_is_logged_as_500(lines: Log) -> None:
    app = FastAPI()
    app.add_middleware(AccessLogMiddleware)

    @app.get("/broken")
    async def broken() -> None:
        raise ZeroDivisionError

    transport = ASGITransport(app, raise_app_exceptions=False)
    async with AsyncClient(transport=transport, base_url="http://test") as client:
        await client.get("/broken")
    access = next(line for line in lines() if line["log"]["logger"] == "go2cloud.access")
    assert access["http"]["response"]["status_code"] == 500
