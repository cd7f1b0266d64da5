"""The demo's last part: a tiny Linux disk is replicated, started as a machine, and proves that it boots."""

import asyncio
import os
import tempfile
import time
from pathlib import Path
from typing import Final

from rich.console import Console

from app.cli.demo.service import DemoAgent, DemoService
from app.cli.demo.tiny_disk import PAGE, Tiny, make_disk
from app.client import jobs, servers, tests
from app.client.transport import Client
from app.contract.resources.job import Job
from app.contract.resources.launch import HttpCheck, LaunchNic, LaunchSettingsUpdate, LoginCheck, ServerTest
from app.contract.words import CheckKind, Firmware, WorkState
from app.kit.errors import Go2CloudError, Unavailable
from app.launch.errors import LaunchError
from app.launch.programs import QEMU, QEMU_IMG, require_program

LOOK_SECONDS: Final = 0.5
MACHINE: Final = LaunchSettingsUpdate(
    cpus=1,
    memory_bytes=256 << 20,
    firmware=Firmware.BIOS,
    nics=(LaunchNic(mac="52:54:00:12:34:56"),),
    checks=(
        LoginCheck(kind=CheckKind.LOGIN),
        HttpCheck(kind=CheckKind.HTTP, port=8080, body=PAGE.strip()),
    ),
)


class NotBooted(Go2CloudError):
    """The machine did not prove itself."""

    code = "NOT_PROVED"


def boot(console: Console, service: DemoService, client: Client, keep: bool) -> None:
    """Go on to a test boot and print where the screenshot is; say in a line why that is not possible here.

    Raises NotBooted, ClientError, and Unavailable where the agent fails.
    """
    disk = service.folder / "tiny.img"
    console.print("[bold]•[/] making a tiny Linux disk and starting its replica as a machine")
    try:
        for program in (QEMU, QEMU_IMG):
            require_program(program)
        make_disk(disk, Tiny(uefi=False))
    except (LaunchError, Unavailable) as error:
        advice = f" ({error.remedy})" if error.remedy else ""
        console.print(f"  the test boot is left out: {error.detail}{advice}", highlight=False)
        return
    try:
        found = _tested(service, client, disk)
        _show(console, found, _picture(client, found, service.folder if keep else None))
    finally:
        _end_machines(service.folder)


def _tested(service: DemoService, client: Client, disk: Path) -> ServerTest:
    before = {server.id for server in client.every(servers.page)}
    agent = DemoAgent(service.folder / "agent-tiny")
    agent.enroll(service.url, service.install_token(client), disk)
    agent.sync()
    (server,) = (each for each in client.every(servers.page) if each.id not in before)
    client.send(tests.set_settings(server.id, 0, MACHINE))
    job = _ended(client, client.send(tests.order(server.id)))
    if job.state is not WorkState.SUCCEEDED:
        raise NotBooted(f"the replica did not boot: {job.detail}", remedy=job.remedy)
    found = client.send(tests.get(server.id))
    _ended(client, client.send(tests.terminate(server.id)))
    return found


def _ended(client: Client, job: Job) -> Job:
    while job.state in (WorkState.PENDING, WorkState.RUNNING):
        time.sleep(LOOK_SECONDS)
        job = client.send(jobs.get(job.id))
    return job


def _picture(client: Client, found: ServerTest, folder: Path | None) -> Path:
    """Where the screenshot is; it outlives the demo."""
    content = client.send(tests.screenshot(found.server_id, found.id))
    if folder is not None:
        path = folder / "screenshot.png"
        path.write_bytes(content)
        return path
    handle, name = tempfile.mkstemp(prefix="go2cloud-demo-", suffix=".png")
    with os.fdopen(handle, "wb") as file:
        file.write(content)
    return Path(name)


def _show(console: Console, found: ServerTest, picture: Path) -> None:
    phases = ", ".join(f"{seen.phase} after {seen.after:g} s" for seen in found.phases)
    checks = ", ".join(f"{check.name} {'passed' if check.passed else 'failed'}" for check in found.checks)
    console.print(f"[bold green]proved: the replica boots[/] ({found.accelerator}): {phases}; {checks}")
    console.print(f"screenshot: {picture}", soft_wrap=True, highlight=False)


def _end_machines(folder: Path) -> None:
    """Whatever happened: no machine outlives the demo."""
    from app.launch.qemu.driver import QemuSettings, QemuTarget

    target = QemuTarget(QemuSettings(folder / "service" / "launch"))
    runs = target.settings.runs
    for each in sorted(runs.iterdir()) if runs.exists() else ():
        if each.is_dir():
            asyncio.run(target.terminate(each.name))
