"""Evidence of a test: from the folder of its node into the database, and out again."""

import json
import zlib
from pathlib import Path
from typing import Final

from sqlalchemy import select

from app.kit.database import UnitOfWork
from app.kit.errors import Json
from app.launch.boot.proof import BootProof, document
from app.launch.conversion.report import ConversionReport
from app.launch.errors import LaunchError
from app.migration.launch.errors import EvidenceNotFound
from app.migration.launch.tables import TestEvidenceRow

SCREENSHOT: Final = "screenshot"
THUMBNAIL: Final = "thumbnail"
SERIAL: Final = "serial"
SERIAL_FILE: Final = "serial.log"
CONVERSION: Final = "conversion"
"""A compressed JSON: the report of the conversion, which is there before the machine is."""
MOST_BYTES: Final = 8 * 1024 * 1024
"""Of one piece: less than what MariaDB takes in one statement by default."""


def collect(folder: Path, proof: BootProof) -> dict[str, bytes]:
    """What is kept: the last screenshot, which is the proof, its thumbnail, the compressed serial log.

    A screenshot that is too large is left out: its thumbnail has to do.
    """
    files = {SERIAL: SERIAL_FILE, THUMBNAIL: proof.thumbnail}
    files[SCREENSHOT] = proof.screenshot.file if proof.screenshot else None
    found = {name: (folder / file).read_bytes() for name, file in files.items() if file is not None}
    found[SERIAL] = zlib.compress(found[SERIAL])
    return {name: content for name, content in found.items() if len(content) <= MOST_BYTES}


async def get_evidence(uow: UnitOfWork, test_id: str, name: str) -> bytes:
    """A PNG, or the end of the serial log. Raises EvidenceNotFound."""
    row = await uow.session.get(TestEvidenceRow, (test_id, name))
    if row is None:
        raise EvidenceNotFound(
            f"test {test_id} has no {name}",
            remedy="it is there when the boot was watched to its end, and the machine had a screen",
        )
    return zlib.decompress(row.content) if name == SERIAL else row.content


async def keep_conversion(uow: UnitOfWork, test_id: str, report: ConversionReport) -> None:
    """Keep what was changed for a test; repeating replaces it."""
    content = zlib.compress(json.dumps(document(report)).encode())
    if len(content) > MOST_BYTES:
        raise LaunchError(f"the report of the conversion of test {test_id} has {len(content)} bytes")
    await uow.session.merge(TestEvidenceRow(test_id=test_id, name=CONVERSION, content=content))


async def conversions_of(uow: UnitOfWork, test_ids: list[str]) -> dict[str, dict[str, Json]]:
    """The reports of conversions of those tests that have one."""
    query = select(TestEvidenceRow).where(
        TestEvidenceRow.test_id.in_(test_ids), TestEvidenceRow.name == CONVERSION
    )
    rows = await uow.session.scalars(query)
    return {row.test_id: json.loads(zlib.decompress(row.content)) for row in rows}


async def names_of(uow: UnitOfWork, test_ids: list[str]) -> dict[str, tuple[str, ...]]:
    """Which evidence there is of each of these tests, but for the conversion, which is told with the test."""
    query = select(TestEvidenceRow.test_id, TestEvidenceRow.name).where(TestEvidenceRow.test_id.in_(test_ids))
    found: dict[str, tuple[str, ...]] = {}
    query = query.where(TestEvidenceRow.name != CONVERSION)
    for test, name in await uow.session.execute(query.order_by(TestEvidenceRow.name)):
        found[test] = (*found.get(test, ()), name)
    return found
