"""Calls on the store."""

from app.client.call import Call, model
from app.contract.resources.scrub import Scrub


def scrub() -> Call[Scrub]:
    """How scrubbing stands."""
    return Call("GET", "/store/scrub", model(Scrub))
