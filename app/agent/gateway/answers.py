"""Answers to agents: messages of the wire as JSON, ids and bitmaps as bytes."""

from typing import Any

from fastapi import Response

from app.wire import jsonform, version

BYTES = "application/octet-stream"
HEADERS = {version.HEADER: str(version.VERSION)}


def answer(message: Any, status: int = 200) -> Response:
    """A message of the wire."""
    return Response(
        jsonform.encode(message), status_code=status, media_type="application/json", headers=HEADERS
    )


def raw(data: bytes) -> Response:
    """Plain bytes."""
    return Response(data, media_type=BYTES, headers=HEADERS)
