"""The pace that an operator gives to a project."""

from app.client import projects
from app.contract.resources.pace import PaceInput
from app.contract.resources.project import ProjectUpdate
from app.kit.ratewindows import RateCalendar
from tests.e2e.deployment import Deployment


def set_pace(deployment: Deployment, calendar: RateCalendar | None) -> None:
    """Let the project of all servers send at this pace from now on; None for no limit of its own."""
    pace = None if calendar is None else PaceInput.of(calendar)
    with deployment.client() as client:
        version = client.send(projects.get("default")).version
        client.send(projects.update("default", version, ProjectUpdate(pace=pace)))
