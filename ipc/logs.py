"""Structured logs: readable on a terminal, JSON lines otherwise, on stderr (stdout is for ready lines and results).

`setup` is called once by each process; after it `structlog.get_logger()` and the standard library's loggers (of
asyncio, aiohttp, websockets, redis) both go through the same processors, so no library logs a secret either.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Iterable, MutableMapping
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, TextIO

import orjson
import structlog

from ipc.settings import LogSettings

HIDDEN = "***"
_SECRET_NAMES = frozenset(
    {"api_key", "apikey", "api_secret", "secret", "signature", "listenkey", "listen_key", "password", "token"}
    | {"x-mbx-apikey", "authorization"}
)
_IN_TEXT = re.compile(
    r"(?i)\b(signature|listenKey|api_?key|api_?secret|secret|password|token)(=|\":\s*\"|: )([^\s&\"',]+)"
)
_IN_PATH = re.compile(r"/(?:ws|stream)/[A-Za-z0-9]{40,}")
_MIN_SECRET_CHARS = 6
_MAX_DEPTH = 6

EventDict = MutableMapping[str, Any]


class Redactor:
    """Processor that hides values under secret names, known secret values anywhere, and secrets in URLs."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        # longest first, so that a secret inside another leaves no rest behind
        known = sorted({text for text in secrets if len(text) >= _MIN_SECRET_CHARS}, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, known))) if known else None

    def __call__(self, _logger: Any, _method: str, event: EventDict) -> EventDict:
        for key in event:
            event[key] = self._value(key, event[key], 0)
        return event

    def _value(self, key: object, value: Any, depth: int) -> Any:
        if isinstance(key, str) and key.lower() in _SECRET_NAMES and value is not None:
            return HIDDEN
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, int | float | None):
            return value
        if depth >= _MAX_DEPTH:
            return "..."
        if isinstance(value, dict):
            return {self._key(k): self._value(k, v, depth + 1) for k, v in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self._value(None, item, depth + 1) for item in value]
        return self.text(value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value))

    def _key(self, key: object) -> str:
        return self.text(str(key))

    def text(self, text: str) -> str:
        if self._known is not None:
            text = self._known.sub(HIDDEN, text)
        if "=" in text or ":" in text:
            text = _IN_TEXT.sub(rf"\1\2{HIDDEN}", text)
        return _IN_PATH.sub(f"/ws/{HIDDEN}", text) if "/ws/" in text or "/stream/" in text else text


def setup(
    process: str,
    settings: LogSettings | None = None,
    *,
    secrets: Iterable[str] = (),
    stream: TextIO | None = None,
    folder: Path | None = None,
) -> structlog.stdlib.BoundLogger:
    """Configure this process's logs and return its logger; every line carries `process`.

    `secrets` are the values to hide (`Config.secret_values()`); a relative `file` setting lies in `folder` (state_dir).
    """
    settings = settings or LogSettings()
    stream = stream or sys.stderr
    level = getattr(logging, settings.level.upper())
    human = settings.format == "console" or (settings.format == "auto" and stream.isatty())
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        _naming(process),
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        Redactor(secrets),
    ]
    as_json = structlog.processors.JSONRenderer(serializer=_dumps)
    on_stream: Any = structlog.dev.ConsoleRenderer(colors=human and stream.isatty()) if human else as_json
    sinks = [_handler(logging.StreamHandler(stream), shared, on_stream)]
    if settings.file is not None:
        path = Path(settings.file.format(process=process)).expanduser()
        path = path if path.is_absolute() or folder is None else folder / path
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        rotating = RotatingFileHandler(
            path, maxBytes=settings.max_bytes, backupCount=settings.backups, encoding="utf-8"
        )
        sinks.append(_handler(rotating, shared, as_json))
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
        old.close()
    for sink in sinks:
        root.addHandler(sink)
    root.setLevel(level)
    for chatty in ("asyncio", "httpx", "httpcore", "websockets", "aiohttp.access"):
        logging.getLogger(chatty).setLevel(max(level, logging.WARNING))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    logger: structlog.stdlib.BoundLogger = structlog.get_logger(process)
    return logger


def _naming(process: str) -> Any:
    def add(_logger: Any, _method: str, event: EventDict) -> EventDict:
        event.setdefault("process", process)
        return event

    return add


def _handler(handler: logging.Handler, shared: list[Any], renderer: Any) -> logging.Handler:
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.ExtraAdder()],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *shared, renderer],
    )
    handler.setFormatter(formatter)
    return handler


def _dumps(event: Any, **_: Any) -> str:
    try:
        return orjson.dumps(event, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:  # numbers above 64 bits, half a surrogate pair: no line is lost for them
        return json.dumps(event, default=str)
