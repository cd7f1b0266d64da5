"""The step of a job that makes a replica boot on its new machine: what is known of the source, and the call.

A test and a cutover take the same way, so that a test proves what the cutover will do.
"""

from dataclasses import dataclass, field

from app.contract.guestwords import CloudInitMode
from app.contract.resources.addressing import NicAddressing
from app.contract.resources.launch import LaunchMachine
from app.contract.words import CheckKind, ConversionMode, JobEventLevel
from app.kit.database import UnitOfWork
from app.launch.conversion.facts import (
    CardAddressing,
    CloudInitWish,
    SourceDevice,
    SourceFacts,
    SourceMount,
    SourceNic,
    Wishes,
)
from app.launch.conversion.report import ConversionReport
from app.launch.errors import NotConvertible, ToolMissing
from app.launch.machine import LaunchOrder
from app.launch.target import Target
from app.migration.launch import userdata
from app.migration.launch.addressing import find_nic
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


def wishes(
    machine: LaunchMachine, source: SourceFacts, instance: str = "", user_data: str | None = None
) -> Wishes:
    """What the machine needs of its disks, and what else was asked for.

    Raises AddressingWrong for a network card that the source has no more.
    """
    return Wishes(
        firmware=machine.firmware,
        bus=machine.bus,
        macs=tuple(nic.mac for nic in machine.nics),
        serial_console=any(check.kind is CheckKind.LOGIN for check in machine.checks),
        addressing=tuple(_card(each, source) for each in machine.addressing),
        cloud_init=_cloud_init(machine, instance, user_data),
    )


def _card(wanted: NicAddressing, source: SourceFacts) -> CardAddressing:
    nic = find_nic(wanted.nic, source.nics)
    return CardAddressing(nic.name, nic.mac, wanted.addresses, wanted.gateways, wanted.dns)


def _cloud_init(machine: LaunchMachine, instance: str, user_data: str | None) -> CloudInitWish | None:
    if machine.cloud_init.mode is CloudInitMode.KEEP:
        return None
    return CloudInitWish(instance, user_data)


@dataclass(frozen=True)
class Source:
    """What a conversion needs of the server; `user_data` is for the machine's cloud-init."""

    facts: SourceFacts
    user_data: str | None = field(default=None, repr=False)


async def source_of(uow: UnitOfWork, checkpoint_id: str, machine: LaunchMachine) -> Source:
    """The source of a checkpoint as a machine is made of it. Raises CheckpointNotFound, UserDataGone."""
    facts = await facts_of(uow, checkpoint_id)
    server_id, _ = await disks_of(uow, checkpoint_id)
    return Source(facts, await userdata.content_of(uow, server_id, machine.cloud_init))


async def converted(
    context: Context, target: Target, order: LaunchOrder, source: Source, machine: LaunchMachine
) -> ConversionReport:
    """Convert the order's disks where the settings want it, and tell the job's log what was changed.

    A node that cannot convert, and a target that does not, give a report that says so: the launch shows
    whether the disks boot as they are. Where other addresses or cloud-init were asked for they are errors: a
    machine with the source's addresses is what was not wanted. Raises what `Target.convert` raises otherwise.
    """
    if machine.conversion is ConversionMode.OFF:
        return _told(context, ConversionReport.not_done("the launch settings have the conversion off"))
    wanted = wishes(machine, source.facts, order.instance, source.user_data)
    try:
        report = await listening(context, target.convert(order, source.facts, wanted))
    except (ToolMissing, NotConvertible) as error:
        if wanted.addressing or wanted.cloud_init:
            raise
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
