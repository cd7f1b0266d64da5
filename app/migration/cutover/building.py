"""Where cutovers are built."""

from app.contract.words import InstancePurpose
from app.migration.launch.building import Builder
from app.migration.services import Services
from app.migration.targets.opening import row_of, target_for


async def cutover_builder(services: Services, target_id: str) -> Builder:
    """Builds machines that may reach others, on volumes that no test has."""
    async with services.database.reading() as uow:
        row = await row_of(uow, target_id)
    return Builder(services, target_for(services, row, InstancePurpose.CUTOVER))


async def test_builder(services: Services, target_id: str) -> Builder:
    """Builds the machines of tests: a cutover only ends them."""
    async with services.database.reading() as uow:
        row = await row_of(uow, target_id)
    return Builder(services, target_for(services, row))
