"""What each agent may send: the least of its own limit and its shares of the project's and the fleet's."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from app.contract.paging import EVERYTHING
from app.contract.resources.pace import PaceInput
from app.contract.resources.project import ProjectCreate, ProjectUpdate
from app.contract.words import ReplicationState
from app.kit.bus import InProcessBus
from app.kit.clock import ManualClock
from app.kit.database import Database, UnitOfWork
from app.kit.ratewindows import RateCalendar, parsed_windows
from app.kit.settings import PaceSettings, load_settings
from app.migration.pace.sending import SENDING_ACTIVITIES, sending_servers
from app.migration.pace.service import wire_rate_of
from app.migration.projects import service as projects
from app.migration.servers.enrolment import find_server, hold_lease
from app.migration.servers.tables import ServerRow
from app.migration.services import Services
from app.wire.heartbeat import ACTIVITIES

LEASE = timedelta(seconds=30)


class Fleet:
    """Servers of projects, and what each of them may send."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.database = services.database

    async def project(self, name: str, rate: int | None = None, *windows: str) -> str:
        made = await self.database.run(lambda uow: projects.create_project(uow, ProjectCreate(name=name)))
        if rate is not None or windows:
            await self.set_pace(name, rate, *windows)
        return made.id

    async def set_pace(self, name: str, rate: int | None, *windows: str) -> None:
        pace = PaceInput.of(RateCalendar(rate, parsed_windows(";".join(windows))))

        async def work(uow: UnitOfWork) -> None:
            found = await projects.get_project(uow, EVERYTHING, name)
            await projects.update_project(uow, EVERYTHING, name, found.version, ProjectUpdate(pace=pace))

        await self.database.run(work)

    async def server(self, project: str, name: str, activity: str | None = None) -> str:
        """An enrolled server whose agent is alive and does this."""
        server = f"srv-{name}"

        async def work(uow: UnitOfWork) -> None:
            uow.session.add(
                ServerRow(
                    id=server, project_id=project, name=name, hostname=name, inventory={}, created_at=uow.now
                )
            )
            await uow.session.flush()
            await hold_lease(uow, server, "instance", LEASE)

        await self.database.run(work)
        if activity:
            await self.change(server, status={"activity": activity, "clock": "…"})
        return server

    async def change(self, server: str, **values: object) -> None:
        async def work(uow: UnitOfWork) -> None:
            row = await find_server(uow, server)
            for name, value in values.items():
                setattr(row, name, value)

        await self.database.run(work)

    async def rates(self, *servers: str) -> list[int | None]:
        async with self.database.reading() as uow:
            rows = [await find_server(uow, server) for server in servers]
            return [await wire_rate_of(uow, row, self.services, uow.now) for row in rows]


@pytest.fixture
async def services(database: Database, clock: ManualClock, tmp_path: Path) -> AsyncIterator[Services]:
    settings = load_settings({"G2C_DATA_DIR": str(tmp_path), "HOME": str(tmp_path)})
    bus = InProcessBus()
    yield Services(settings, clock, database, bus, None)
    await bus.close()


@pytest.fixture
def fleet(services: Services) -> Fleet:
    return Fleet(services)


def with_fleet_rate(services: Services, rate: int | None, windows: str = "") -> Fleet:
    pace = PaceSettings.model_validate({"RATE": rate, "WINDOWS": windows})
    return Fleet(replace(services, settings=replace(services.settings, pace=pace)))


async def test_without_any_limit_there_is_none(fleet: Fleet) -> None:
    project = await fleet.project("shop")
    assert await fleet.rates(await fleet.server(project, "a", "copying")) == [None]


async def test_three_servers_that_send_share_the_limit_of_their_project(fleet: Fleet) -> None:
    shop, lab = await fleet.project("shop", 3000), await fleet.project("lab")
    servers = [await fleet.server(shop, name, "copying") for name in "abc"]
    stranger = await fleet.server(lab, "x", "copying")
    assert await fleet.rates(*servers) == [1000, 1000, 1000]
    assert await fleet.rates(stranger) == [None]


async def test_all_activities_that_send_count_and_no_others(fleet: Fleet) -> None:
    shop = await fleet.project("shop", 1000)
    for activity in sorted(ACTIVITIES):
        await fleet.server(shop, activity, activity)
    async with fleet.database.reading() as uow:
        found = await sending_servers(uow)
    assert set(SENDING_ACTIVITIES) < ACTIVITIES
    assert found == {shop: {f"srv-{activity}" for activity in SENDING_ACTIVITIES}}


async def test_an_agent_that_sends_no_status_counts_by_the_state_of_its_replication(fleet: Fleet) -> None:
    shop = await fleet.project("shop", 1000)
    a, b = await fleet.server(shop, "a", "copying"), await fleet.server(shop, "b")
    await fleet.change(b, replication_state=ReplicationState.INITIAL_SYNC)
    assert await fleet.rates(a, b) == [500, 500]


async def test_one_that_does_not_send_yet_is_told_the_share_that_it_would_have(fleet: Fleet) -> None:
    shop = await fleet.project("shop", 1000)
    sender, idler = await fleet.server(shop, "a", "copying"), await fleet.server(shop, "b", "following")
    assert await fleet.rates(sender, idler) == [1000, 500]


async def test_a_server_whose_agent_died_leaves_its_share_to_the_others(
    fleet: Fleet, clock: ManualClock
) -> None:
    shop = await fleet.project("shop", 1000)
    a, b = [await fleet.server(shop, name, "rescanning") for name in "ab"]
    assert await fleet.rates(a, b) == [500, 500]
    clock.advance(LEASE + timedelta(seconds=1))
    await fleet.database.run(lambda uow: hold_lease(uow, a, "instance", LEASE))
    assert await fleet.rates(a) == [1000]


async def test_what_each_does_is_looked_up_once_for_all_polls_of_two_seconds(
    fleet: Fleet, clock: ManualClock
) -> None:
    shop = await fleet.project("shop", 1000)
    a, b = await fleet.server(shop, "a", "copying"), await fleet.server(shop, "b", "following")
    assert await fleet.rates(a) == [1000]
    await fleet.change(b, status={"activity": "copying"})
    assert await fleet.rates(a) == [1000]
    clock.advance(timedelta(seconds=2))
    assert await fleet.rates(a) == [500]


async def test_the_least_of_own_project_and_fleet_holds(services: Services) -> None:
    fleet = with_fleet_rate(services, 900)
    shop, lab = await fleet.project("shop", 800), await fleet.project("lab")
    a, b = [await fleet.server(shop, name, "copying") for name in "ab"]
    c = await fleet.server(lab, "c", "cutting")
    await fleet.change(b, wire_rate=50)
    assert await fleet.rates(a, b, c) == [300, 50, 300]
    await fleet.set_pace("shop", 400)
    assert await fleet.rates(a, b, c) == [200, 50, 300]


@pytest.mark.parametrize("zero", ["own", "project", "fleet"])
async def test_a_limit_of_zero_stops_whatever_the_others_say(services: Services, zero: str) -> None:
    fleet = with_fleet_rate(services, 0 if zero == "fleet" else None)
    shop = await fleet.project("shop", 0 if zero == "project" else 5)
    a = await fleet.server(shop, "a", "copying")
    await fleet.change(a, wire_rate=0 if zero == "own" else None)
    assert await fleet.rates(a) == [0]


async def test_a_small_limit_of_many_never_becomes_a_stop(fleet: Fleet) -> None:
    shop = await fleet.project("shop", 2)
    servers = [await fleet.server(shop, name, "copying") for name in "abcd"]
    assert await fleet.rates(*servers) == [1, 1, 1, 1]


async def test_windows_of_project_and_fleet_hold_in_their_time(
    services: Services, clock: ManualClock
) -> None:
    fleet = with_fleet_rate(services, None, "Fri 04:00-05:00 UTC 70")
    shop = await fleet.project("shop", None, "Fri 03:00-04:00 UTC 50")
    a = await fleet.server(shop, "a", "copying")
    seen = []
    for _ in range(3):
        seen += await fleet.rates(a)
        clock.advance(timedelta(hours=1))
    assert seen == [50, 70, None]
