"""Logging: every record, ours or a library's, through one formatter.

On stdout one JSON line a record, in the names of the Elastic Common Schema; on a terminal readable,
coloured lines. ``LOG_FILE`` gets the JSON lines too and may be rotated by moving it away.

Our own calls log events: a constant name and fields, ``log.info("job.started", job=job_id)``. The name
becomes ``message`` and ``event.action``; a field with a dot in its name is taken for an ECS field, any
other stands under ``go2cloud`` so that it can never clash with one. A record of a library keeps its
sentence as ``message``.
"""

import logging
import sys
import traceback
from logging.handlers import WatchedFileHandler
from pathlib import Path
from typing import Any, TextIO

import ecs_logging
import structlog
from structlog.stdlib import BoundLogger, ProcessorFormatter
from structlog.typing import EventDict, Processor, WrappedLogger

from app.kit.settings import LogFormat, LogLevel, LogSettings, Settings, SettingsError

NAMESPACE = "go2cloud"
_PLAIN = frozenset({"event", "exc_info", "stack_info"})
_QUIETER = {
    "alembic.runtime.migration": logging.WARNING,
    "aiosqlite": logging.INFO,
    "asyncio": logging.INFO,
    "httpcore2": logging.INFO,
    "httpx2": logging.WARNING,
    "sqlalchemy.engine": logging.WARNING,
}
"""Libraries that would write a line for every statement or request, some with what stands in a query."""

_OWN_HANDLERS = ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi")


def configure_logging(settings: Settings, service: str = NAMESPACE) -> None:
    """Set up logging for this process; `service` becomes ``service.name``. May be called again.

    Raises SettingsError when ``LOG_FILE`` cannot be opened.
    """
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *_shared(), ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=BoundLogger,
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    for handler in [each for each in root.handlers if isinstance(each.formatter, _Formatter)]:
        root.removeHandler(handler)
        handler.close()
    for handler in _handlers(settings.log, service):
        root.addHandler(handler)
    set_level(settings.log.level)
    _tame_libraries()


def set_level(level: LogLevel) -> None:
    """Log what is of this level or above, from now on."""
    logging.getLogger().setLevel(level.value)


def get_logger(name: str) -> BoundLogger:
    """The logger of a module."""
    logger: BoundLogger = structlog.stdlib.get_logger(name)
    return logger


class _Formatter(ProcessorFormatter):
    """Tells our handlers from those of others."""


def _shared() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="timestamp"),
        structlog.processors.StackInfoRenderer(),
    ]


def _handlers(settings: LogSettings, service: str) -> list[logging.Handler]:
    stdout = logging.StreamHandler(sys.stdout)
    stdout.setFormatter(_console(sys.stdout) if _wants_console(settings.format) else _json(service))
    if settings.file is None:
        return [stdout]
    return [stdout, _file_handler(settings.file, service)]


def _file_handler(file: Path, service: str) -> logging.Handler:
    try:
        handler = WatchedFileHandler(file, encoding="utf-8")
    except OSError as error:
        raise SettingsError(
            f"LOG_FILE cannot be used: {file}: {error.strerror}; name a file that can be written"
        ) from error
    handler.setFormatter(_json(service))
    return handler


def _wants_console(wanted: LogFormat) -> bool:
    return wanted is LogFormat.CONSOLE or (wanted is LogFormat.AUTO and sys.stdout.isatty())


def _console(stream: TextIO) -> _Formatter:
    return _Formatter(
        foreign_pre_chain=_shared(),
        processors=[
            ProcessorFormatter.remove_processors_meta,
            structlog.dev.ConsoleRenderer(colors=stream.isatty()),
        ],
    )


def _json(service: str) -> _Formatter:
    def name_service(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event["service.name"] = service
        return event

    render = ecs_logging.StructlogFormatter(ensure_ascii=False)

    def to_line(logger: WrappedLogger, method: str, event: EventDict) -> str:
        return render(logger, method, dict(event))

    return _Formatter(foreign_pre_chain=_shared(), processors=[_to_ecs, name_service, to_line])


def _to_ecs(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Our names to those of ECS."""
    own = event.pop("_from_structlog", False)
    event.pop("_record", None)
    ecs: dict[str, Any] = {
        "@timestamp": event.pop("timestamp"),
        "log.level": event.pop("level"),
        "log.logger": event.pop("logger"),
    }
    _add_error(ecs, event.pop("exc_info", None))
    if own:
        ecs["event.action"] = event["event"]
    for key, value in event.items():
        ecs[key if "." in key or key in _PLAIN else f"{NAMESPACE}.{key}"] = value
    return ecs


def _add_error(ecs: dict[str, Any], exc_info: Any) -> None:
    error = exc_info[1] if isinstance(exc_info, tuple) else exc_info
    if error is True:
        error = sys.exc_info()[1]
    if isinstance(error, BaseException):
        ecs["error.type"] = f"{type(error).__module__}.{type(error).__qualname__}"
        ecs["error.message"] = str(error)
        ecs["error.stack_trace"] = "".join(traceback.format_exception(error))


def _tame_libraries() -> None:
    """Take away the libraries' own handlers, and uvicorn's access log (`AccessLogMiddleware` writes it)."""
    logging.captureWarnings(True)
    for name in _OWN_HANDLERS:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    logging.getLogger("uvicorn.access").disabled = True
    for name, level in _QUIETER.items():
        logging.getLogger(name).setLevel(level)
