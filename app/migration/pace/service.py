"""What one agent may send now: the smallest of three limits.

- the server's own,
- its share of the project's,
- its share of the fleet's, which stands in the settings.

A share is the limit divided by the number of the project's or fleet's servers that send now, the asking one
counted among them. Each agent learns its share with its next heartbeat, so when servers begin to send the sum
is above the limit for no longer than a heartbeat (and the LOOK_SECONDS of `sending`); when they end, it is
below it for as long.
"""

from datetime import datetime

from app.kit.database import UnitOfWork
from app.kit.ratewindows import Rate, RateCalendar
from app.migration.pace.calendar import rate_at
from app.migration.projects.service import pace_of
from app.migration.servers.tables import ServerRow
from app.migration.services import Services


async def wire_rate_of(uow: UnitOfWork, server: ServerRow, services: Services, now: datetime) -> Rate:
    """Bytes a second that the server's agent may send from `now` on; None for no limit, 0 for nothing.

    One look by primary key; where a limit has to be shared, now and then another one (see `sending`).
    """
    pace = await pace_of(uow, server.project_id)
    of_project = rate_at(RateCalendar() if pace is None else pace.calendar(), now)
    of_fleet = rate_at(services.pace.calendar, now)
    limits = [server.wire_rate]
    if of_project or of_fleet:
        by_project = await services.sending.at(uow)
        others = by_project.get(server.project_id, frozenset())
        limits.append(_share(of_project, others | {server.id}))
        limits.append(_share(of_fleet, frozenset().union(*by_project.values(), {server.id})))
    else:
        limits += [of_project, of_fleet]
    return min((limit for limit in limits if limit is not None), default=None)


def _share(limit: Rate, servers: frozenset[str]) -> Rate:
    """A limit that is not zero leaves each at least one byte a second: zero would mean to stop."""
    return max(1, limit // len(servers)) if limit else limit
