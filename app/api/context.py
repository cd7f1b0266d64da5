"""What the REST API takes from the process it runs in."""

from typing import Annotated, cast

from fastapi import Depends, Request

from app.migration.services import Services


def _services(request: Request) -> Services:
    return cast(Services, request.app.state.services)


Serving = Annotated[Services, Depends(_services)]
"""The services of this process, as a parameter of a route."""
