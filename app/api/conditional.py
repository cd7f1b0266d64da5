"""ETag and If-Match: a change names the version that it was made from.

The tag is the quoted version of the resource. A change without If-Match is refused (428), so that no script
overwrites what it has not read; one with an old version is refused by the service (412).
"""

import re
from typing import Annotated, ClassVar, Protocol

from fastapi import Depends, Header, Response

from app.kit.errors import Go2CloudError, Invalid

_TAG = re.compile(r'"(\d{1,18})"')


class IfMatchRequired(Go2CloudError):
    """A change came without If-Match."""

    status: ClassVar[int] = 428
    code = "IF_MATCH_REQUIRED"
    title: ClassVar[str] = "Precondition required"


class Versioned(Protocol):
    """A resource that counts its changes."""

    @property
    def version(self) -> int:
        """How often it was written."""


def tag(response: Response, resource: Versioned) -> None:
    """Put the resource's ETag on the response."""
    response.headers["ETag"] = f'"{resource.version}"'


def _if_match(if_match: Annotated[str | None, Header(description="The ETag that was read")] = None) -> int:
    if if_match is None:
        raise IfMatchRequired(
            "a change needs the If-Match header", remedy="read the resource and send its ETag as If-Match"
        )
    found = _TAG.fullmatch(if_match.strip())
    if found is None:
        raise Invalid(
            f"{if_match!r} is not an ETag of this API",
            code="IF_MATCH_INVALID",
            remedy='send the ETag unchanged, such as "3"',
        )
    return int(found[1])


IfMatch = Annotated[int, Depends(_if_match)]
"""The version that a change was made from."""
