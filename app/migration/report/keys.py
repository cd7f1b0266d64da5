"""The key that reports are signed with: from the administrator's file, else the installation's own.

The installation's own key is made when it is first needed and kept in the database. Where several processes
make one at once, the first row stays and all of them read it.
"""

import asyncio
from pathlib import Path

from app.contract.resources.report import ReportKey
from app.kit.database import UnitOfWork
from app.kit.signing import ALGORITHM, KeyUnreadable, Signer, read_signer
from app.migration.replication.statements import insert_ignoring
from app.migration.report.errors import SigningKeyUnusable
from app.migration.report.tables import SIGNING, ReportKeyRow
from app.migration.services import Services


async def signer_of(services: Services) -> Signer:
    """The signing key as it is now. Raises SigningKeyUnusable."""
    file = services.settings.report.signing_key_file
    if file is not None:
        return await asyncio.to_thread(_read, file)
    async with services.database.reading() as uow:
        known = await _kept(uow)
    return known if known is not None else await services.database.run(_made)


def _read(file: Path) -> Signer:
    try:
        return read_signer(file.read_bytes())
    except (OSError, KeyUnreadable) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise SigningKeyUnusable(
            f"reports cannot be signed with {file} (REPORT.SIGNING_KEY_FILE): {reason}",
            remedy=f"make one: openssl genpkey -algorithm {ALGORITHM} -out {file}",
        ) from error


async def _kept(uow: UnitOfWork) -> Signer | None:
    row = await uow.session.get(ReportKeyRow, SIGNING)
    return read_signer(row.private.encode()) if row else None


async def _made(uow: UnitOfWork) -> Signer:
    made = {"name": SIGNING, "private": Signer.generated().pem, "created_at": uow.now}
    await insert_ignoring(uow, ReportKeyRow, [made])
    kept = await _kept(uow)
    assert kept is not None, "it was just made, or was there"
    return kept


async def key_of(services: Services) -> ReportKey:
    """The public half, for those who check reports. Raises SigningKeyUnusable."""
    public = (await signer_of(services)).public
    return ReportKey(
        algorithm=ALGORITHM, fingerprint=public.fingerprint, public=public.raw.hex(), pem=public.pem
    )
