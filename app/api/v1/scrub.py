"""How the scrubbing of the store stands."""

from fastapi import APIRouter

from app.api.auth import Administrator
from app.api.bodies import UnitRoute
from app.api.context import Serving
from app.contract.resources.scrub import Scrub
from app.kit.transaction import Uow
from app.migration.scrub.service import scrub_view

router = APIRouter(route_class=UnitRoute)


@router.get("/store/scrub")
async def get_scrub(uow: Uow, _who: Administrator, serving: Serving) -> Scrub:
    """The round that runs and what the last one found."""
    return await scrub_view(uow, serving.settings.store)
