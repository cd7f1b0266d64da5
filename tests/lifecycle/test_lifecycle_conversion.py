"""The step `convert` of a test: what it says where there is nothing to convert, or nothing to do it with."""

from pathlib import Path

import pytest
from sqlalchemy import select

from app.contract.resources.launch import LaunchSettingsUpdate
from app.contract.words import WorkState
from app.launch.conversion import appliance
from app.work.tables import JobEventRow
from tests.guests.debian import cache
from tests.launch.boot_sector import talking_disk
from tests.lifecycle.conftest import SMALL, Rig

pytestmark = pytest.mark.slow
AUTO = LaunchSettingsUpdate.model_validate(SMALL.model_dump(exclude_unset=True) | {"conversion": "auto"})


async def test_a_disk_without_a_system_is_tested_as_it_is_and_the_report_says_so(rig: Rig) -> None:
    share_appliance(rig.machines)
    agent = await rig.server(talking_disk())
    await rig.set(agent.server, AUTO)
    rig.work()
    job = await rig.tested(agent.server, WorkState.SUCCEEDED)
    (test,) = await rig.tests(agent.server)
    assert test.conversion is not None
    assert test.conversion.changes == ()
    assert "no Linux system" in test.conversion.warnings[0]
    assert test.evidence == ("screenshot", "serial", "thumbnail"), "the verdict keeps the report"
    assert job.id == test.job_id


async def test_a_node_that_cannot_convert_says_so_and_the_test_goes_on(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(appliance, "PYTHON", "/nowhere/python3")
    agent = await rig.server(talking_disk())
    await rig.set(agent.server, AUTO)
    rig.work()
    await rig.tested(agent.server, WorkState.SUCCEEDED)
    (test,) = await rig.tests(agent.server)
    assert test.conversion is not None
    assert test.conversion.root is None
    assert "the disks are not converted" in test.conversion.warnings[0]
    assert "python3-guestfs" in test.conversion.warnings[0]


async def test_what_was_asked_for_and_cannot_be_ends_the_test_and_tells_no_secret(rig: Rig) -> None:
    share_appliance(rig.machines)
    agent = await rig.server(talking_disk())
    seed = {"mode": "nocloud", "userData": "#cloud-config\npassword: s3cret\n"}
    wanted = AUTO.model_dump(exclude_unset=True) | {"cloudInit": seed}
    await rig.set(agent.server, LaunchSettingsUpdate.model_validate(wanted))
    rig.work()
    job = await rig.tested(agent.server, WorkState.FAILED)
    assert (job.code, "no Linux system" in str(job.detail)) == ("WISH_IMPOSSIBLE", True)
    assert rig.on_node() == ([], [])
    async with rig.services.database.reading() as uow:
        events = list(await uow.session.scalars(select(JobEventRow.text)))
    assert "s3cret" not in f"{events}{job.detail}{job.remedy}"


def share_appliance(machines: Path) -> None:
    """The one that all tests share: it is large, and the same for all."""
    (cache() / "appliance").mkdir(exist_ok=True)
    machines.mkdir(parents=True, exist_ok=True)
    (machines / "appliance").symlink_to(cache() / "appliance")
