"""Lists: `?limit=&cursor=` in, `{"items": […], "nextCursor": …}` out."""

from collections.abc import Iterable
from typing import Annotated, TypeVar

from fastapi import Depends, Query

from app.api.context import Serving
from app.contract.paging import DEFAULT_PAGE, Page, PageRequest, decode_cursor, encode_cursor
from app.contract.resources.base import Listing, Resource
from app.kit.errors import Invalid

R = TypeVar("R", bound=Resource)


def _page_request(
    serving: Serving,
    limit: Annotated[int, Query(ge=1, description="Items on the page")] = DEFAULT_PAGE,
    cursor: Annotated[str | None, Query(description="The nextCursor of the page before")] = None,
) -> PageRequest:
    most = serving.now.limits.page_size_max
    if limit > most:
        raise Invalid(
            f"limit is {limit}; a page has at most {most} items",
            code="LIMIT_TOO_LARGE",
            remedy="use the cursor",
        )
    return PageRequest(limit, decode_cursor(cursor))


Paging = Annotated[PageRequest, Depends(_page_request)]
"""The page that a list route is asked for."""


def listing(model: type[R], page: Page[object]) -> Listing[R]:
    """A service's page as what travels."""
    return Listing[model](  # type: ignore[valid-type]  # pydantic builds the class for this model
        items=_shaped(model, page.items), next_cursor=encode_cursor(page.next_after)
    )


def whole(model: type[R], items: Iterable[object]) -> Listing[R]:
    """A list that is short by nature, on one page."""
    return listing(model, Page(tuple(items)))


def _shaped(model: type[R], items: Iterable[object]) -> tuple[R, ...]:
    return tuple(model.model_validate(item) for item in items)
