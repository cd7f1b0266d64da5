"""News of servers on the bus, told when the unit that makes them is committed."""

from typing import Final

from app.kit.bus import Event
from app.kit.database import UnitOfWork

ORDERED: Final = "agent.ordered"


def tell_ordered(uow: UnitOfWork, server_id: str) -> None:
    """The server's agent has new orders: whoever waits for them may look at once."""
    uow.news.append(Event(ORDERED, uow.now, subject=server_id))
