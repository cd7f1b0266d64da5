"""What was seen of the machines of cutovers, and what was changed on their disks."""

import json
import zlib

from sqlalchemy import delete, select

from app.kit.database import UnitOfWork
from app.kit.errors import Json
from app.launch.boot.proof import document
from app.launch.conversion.report import ConversionReport
from app.launch.errors import LaunchError
from app.migration.cutover.tables import CutoverEvidenceRow
from app.migration.launch.errors import EvidenceNotFound
from app.migration.launch.evidence import CONVERSION, MOST_BYTES, SERIAL

ROW = CutoverEvidenceRow


async def keep(uow: UnitOfWork, cutover_id: str, seen: dict[str, bytes]) -> None:
    """Keep what was seen of a machine; repeating replaces it."""
    await uow.session.execute(delete(ROW).where(ROW.cutover_id == cutover_id, ROW.name != CONVERSION))
    uow.session.add_all(
        ROW(cutover_id=cutover_id, name=name, content=content) for name, content in seen.items()
    )


async def keep_conversion(uow: UnitOfWork, cutover_id: str, report: ConversionReport) -> None:
    """Keep what was changed for a machine; repeating replaces it."""
    content = zlib.compress(json.dumps(document(report)).encode())
    if len(content) > MOST_BYTES:
        raise LaunchError(f"the report of the conversion of cutover {cutover_id} has {len(content)} bytes")
    await uow.session.merge(ROW(cutover_id=cutover_id, name=CONVERSION, content=content))


async def conversions_of(uow: UnitOfWork, cutover_ids: list[str]) -> dict[str, dict[str, Json]]:
    """The reports of conversions of those cutovers that have one."""
    query = select(ROW).where(ROW.cutover_id.in_(cutover_ids), ROW.name == CONVERSION)
    rows = await uow.session.scalars(query)
    return {row.cutover_id: json.loads(zlib.decompress(row.content)) for row in rows}


async def names_of(uow: UnitOfWork, cutover_ids: list[str]) -> dict[str, tuple[str, ...]]:
    """Which evidence there is of each of these cutovers, but for the conversion, which is told with it."""
    query = select(ROW.cutover_id, ROW.name).where(ROW.cutover_id.in_(cutover_ids), ROW.name != CONVERSION)
    found: dict[str, tuple[str, ...]] = {}
    for cutover, name in await uow.session.execute(query.order_by(ROW.name)):
        found[cutover] = (*found.get(cutover, ()), name)
    return found


async def get_evidence(uow: UnitOfWork, cutover_id: str, name: str) -> bytes:
    """A PNG, or the end of the serial log. Raises EvidenceNotFound."""
    row = await uow.session.get(ROW, (cutover_id, name))
    if row is None:
        raise EvidenceNotFound(
            f"cutover {cutover_id} has no {name}",
            remedy="it is there when the machine was watched to its end, and had a screen",
        )
    return zlib.decompress(row.content) if name == SERIAL else row.content
