"""Where cutovers are built."""

from app.contract.words import InstancePurpose
from app.migration.launch.building import Builder
from app.migration.launch.targets import target_of
from app.migration.services import Services


def cutover_builder(services: Services) -> Builder:
    """Builds machines that may reach others, on volumes that no test has."""
    return Builder(services, target_of(services.settings.launch, services.clock, InstancePurpose.CUTOVER))
