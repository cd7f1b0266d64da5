"""The step of a job that makes a replica boot on its new machine: what is known of the source, and the call.

A test and a cutover take the same way, so that a test proves what the cutover will do.
"""

from app.contract.resources.launch import LaunchMachine
from app.contract.words import CheckKind, ConversionMode, JobEventLevel
from app.kit.database import UnitOfWork
from app.launch.conversion.facts import SourceDevice, SourceFacts, SourceMount, SourceNic, Wishes
from app.launch.conversion.report import ConversionReport
from app.launch.errors import NotConvertible, ToolMissing
from app.launch.machine import LaunchOrder
from app.launch.target import Target
from app.migration.launch.queries import disks_of
from app.migration.launch.stopping import listening
from app.migration.servers.tables import ServerRow
from app.wire import jsonform, messages
from app.work.context import Context


async def facts_of(uow: UnitOfWork, checkpoint_id: str) -> SourceFacts:
    """What the agent last reported of the source of a checkpoint. Raises CheckpointNotFound."""
    server_id, paths = await disks_of(uow, checkpoint_id)
    server = await uow.session.get_one(ServerRow, server_id)
    return source_facts(jsonform.build(messages.Inventory, server.inventory), paths)


def source_facts(inventory: messages.Inventory, disks: tuple[str, ...]) -> SourceFacts:
    """An inventory as a conversion takes it; `disks` are the source's paths in the order of the volumes."""
    return SourceFacts(
        disks=disks,
        devices=tuple(_devices(inventory)),
        mounts=tuple(_mount(mount) for mount in inventory.mounts),
        nics=tuple(SourceNic(nic.name, nic.mac.lower()) for nic in inventory.nics if nic.mac),
        efi_loaders=inventory.boot.efi_loaders if inventory.boot else (),
    )


def _devices(inventory: messages.Inventory) -> list[SourceDevice]:
    """Disks and partitions with the other names that the source has for them."""
    links: dict[str, list[str]] = {}
    for link in inventory.links:
        links.setdefault(link.device, []).append(link.name)
    found = []
    for disk in inventory.disks:
        whole = disk.filesystem or messages.Filesystem("")
        names = tuple(links.pop(disk.path, ()))
        found.append(SourceDevice(disk.path, whole.uuid, "", whole.kind, names))
        for part in disk.partitions:
            path = f"{disk.path}p{part.number}" if disk.path[-1:].isdigit() else f"{disk.path}{part.number}"
            inner = part.filesystem or messages.Filesystem("")
            names = tuple(links.pop(path, ()))
            found.append(SourceDevice(path, inner.uuid, part.uuid, inner.kind, names))
    return [*found, *(_linked(path, names) for path, names in links.items())]


def _linked(path: str, names: list[str]) -> SourceDevice:
    """A device that is no part of the replicated disks, or that only its links tell of."""
    tags = {}
    for kind in ("by-uuid", "by-partuuid"):
        prefix = f"/dev/disk/{kind}/"
        tags[kind] = next((name.removeprefix(prefix) for name in names if name.startswith(prefix)), "")
    return SourceDevice(path, tags["by-uuid"], tags["by-partuuid"], "", tuple(names))


def _mount(mount: messages.Mount) -> SourceMount:
    words = [word.partition("=") for word in mount.options.split(",")]
    subvolume = next((value for key, _, value in words if key == "subvol"), "")
    return SourceMount(mount.source, mount.target, mount.kind, subvolume)


def wishes(machine: LaunchMachine) -> Wishes:
    """What the machine needs of its disks."""
    return Wishes(
        firmware=machine.firmware,
        bus=machine.bus,
        macs=tuple(nic.mac for nic in machine.nics),
        serial_console=any(check.kind is CheckKind.LOGIN for check in machine.checks),
    )


async def converted(
    context: Context, target: Target, order: LaunchOrder, source: SourceFacts, machine: LaunchMachine
) -> ConversionReport:
    """Convert the order's disks where the settings want it, and tell the job's log what was changed.

    A node that cannot convert, and a target that does not, give a report that says so: the launch shows
    whether the disks boot as they are. Raises what `Target.convert` raises otherwise.
    """
    if machine.conversion is ConversionMode.OFF:
        return _told(context, ConversionReport.not_done("the launch settings have the conversion off"))
    try:
        report = await listening(context, target.convert(order, source, wishes(machine)))
    except (ToolMissing, NotConvertible) as error:
        why = f"the disks are not converted: {error.detail}; {error.remedy}"
        report = ConversionReport.not_done(why)
    return _told(context, report)


def _told(context: Context, report: ConversionReport) -> ConversionReport:
    for change in report.changes:
        context.log(f"changed {change.path}: {change.reason}")
    for text in report.warnings:
        context.log(text, JobEventLevel.WARNING)
    if report.found is not None and not report.changes:
        context.log("the disks are fit for the machine as they are: nothing is changed")
    return report
