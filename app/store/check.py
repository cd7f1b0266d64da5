"""Checking the store against the database, and with `read_data` every byte of it.

Stages: checkpoint files against rows; the trees of all retained checkpoints (every root and leaf is read and
verified, and every chunk they name must have a row); the packs' existence and indexes against the rows; and,
with `read_data`, the hash of every pack and chunk. `subset` (n, t) reads the packs whose name falls into the
n-th of t parts, so that t runs read everything.

Chunks that are damaged or lost are marked in the index: agents are told to send them again. Checkpoint files
and commit markers that are damaged or lost are written again from the database. Leaves and roots of a head
heal when the agent's next session finds its base unknown there.
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from app.store.checkpointfile import CheckpointFile
from app.store.errors import ObjectDamaged, ObjectMissing, StoreError
from app.store.findings import CheckProgress, CheckReport, FindingKind, OnProgress, no_progress
from app.store.index import CheckIndex, CheckpointInfo, Location, ObjectState, PackInfo
from app.store.objects import ObjectStore, StoredCheckpoint
from app.store.pack import PackIndex
from app.store.reader import LOCATE_IDS, ChunkReader
from app.wire.chunks import ZERO_ID
from app.wire.codec import Codec
from app.wire.tree import ZERO_LEAF, leaf_ids


async def check(
    objects: ObjectStore,
    index: CheckIndex,
    *,
    read_data: bool = False,
    subset: tuple[int, int] | None = None,
    progress: OnProgress = no_progress,
) -> CheckReport:
    """Check the whole store. `subset` is (n, t), 1 ≤ n ≤ t. Raises StoreUnavailable, ValueError."""
    if subset is not None and not 1 <= subset[0] <= subset[1]:
        raise ValueError(f"subset {subset[0]}/{subset[1]}: the first must be from 1 to the second")
    run = _Check(objects, index, subset or (1, 1), progress)
    stored = await asyncio.to_thread(objects.checkpoints)
    rows = [item async for item in index.checkpoints()]
    await run.checkpoints(stored, rows)
    await run.trees(rows)
    await run.packs(read_data=read_data)
    return run.report


async def check_pack(objects: ObjectStore, index: CheckIndex, pack: PackInfo) -> CheckReport:
    """Read one live pack and check all of it, as `check` with `read_data` does. Raises StoreUnavailable."""
    run = _Check(objects, index, (1, 1), no_progress)
    await run.pack(pack, reads=True)
    return run.report


@dataclass
class _Check:
    objects: ObjectStore
    index: CheckIndex
    subset: tuple[int, int]
    progress: OnProgress
    report: CheckReport = field(default_factory=CheckReport)

    # checkpoint files

    async def checkpoints(self, stored: list[StoredCheckpoint], rows: list[CheckpointInfo]) -> None:
        """Compare the checkpoint files with the rows, both ways."""
        known = {row.name for row in rows}
        for item in stored:
            if item.confirmed and item.name not in known:
                self.report.add(
                    FindingKind.CHECKPOINT_UNKNOWN, item.name.key, "run go2cloud store rebuild-db"
                )
        for done, row in enumerate(rows, start=1):
            fault = await asyncio.to_thread(self._checkpoint, row)
            if fault is not None:
                self.report.add(fault[0], row.name.key, f"{fault[1]}: {await self._restored(row)}")
            self.progress(CheckProgress("checkpoints", done, len(rows)))
        self.report.checkpoints = len(rows)

    def _checkpoint(self, row: CheckpointInfo) -> tuple[FindingKind, StoreError] | None:
        """Compare file and marker with the row; what is wrong if one of them cannot be read."""
        key = row.name.key
        try:
            file = self.objects.read_checkpoint(row.name)
            is_marked = self.objects.is_confirmed(file)
        except ObjectMissing as error:
            return FindingKind.CHECKPOINT_FILE_MISSING, error
        except ObjectDamaged as error:
            return FindingKind.CHECKPOINT_FILE_DAMAGED, error
        stated = {(disk.disk_id, disk.root, disk.size, disk.chunk_size) for disk in file.disks}
        believed = {(disk.disk_id, disk.root.hex(), disk.size, disk.chunk_size) for disk in row.disks}
        if stated != believed or file.project != row.project:
            self.report.add(
                FindingKind.CHECKPOINT_FILE_DIFFERS, key, f"{len(stated ^ believed)} disks differ"
            )
        if row.confirmed and not is_marked:
            self.report.add(FindingKind.CHECKPOINT_UNMARKED, key, row.name.id)
        return None

    async def _restored(self, row: CheckpointInfo) -> str:
        """Write a checkpoint's file, and the marker of a confirmed one, again; says what came of it.

        The checkpoint may be dropped just then: files whose rows are gone by now go again.
        """
        file = await self.index.checkpoint_file(row.name)
        if file is None:
            return "dropped meanwhile"
        try:
            await asyncio.to_thread(self._write, file, row)
        except StoreError as error:
            return f"it could not be written again: {error}"
        if await self.index.checkpoint_file(row.name) is None:
            await asyncio.to_thread(self.objects.delete_checkpoint, row.name)
            return "dropped meanwhile"
        return "written again from the database"

    def _write(self, file: CheckpointFile, row: CheckpointInfo) -> None:
        self.objects.write_checkpoint(file)
        if row.confirmed:
            self.objects.confirm_checkpoint(file)

    # trees

    async def trees(self, rows: list[CheckpointInfo]) -> None:
        """Read every root and leaf that a checkpoint needs, and look up every chunk that they name."""
        live = {node.name async for node in self.index.nodes() if node.state is ObjectState.LIVE}
        roots = dict.fromkeys((row.project, disk.root) for row in rows for disk in row.disks)
        leaves: set[tuple[str, bytes]] = set()
        for done, (project, root) in enumerate(roots, start=1):
            for leaf in await asyncio.to_thread(self._root, root, live):
                if leaf != ZERO_LEAF and (project, leaf) not in leaves:
                    leaves.add((project, leaf))
                    await self._leaf(project, leaf, live)
            self.progress(CheckProgress("trees", done, len(roots)))
        self.report.nodes = len(roots) + len(leaves)

    def _root(self, name: bytes, live: set[bytes]) -> Iterable[bytes]:
        self._require_row("root", name, live)
        try:
            return tuple(self.objects.read_root(name).leaf_hashes())
        except ObjectMissing as error:
            self.report.add(FindingKind.ROOT_MISSING, name.hex(), error)
        except ObjectDamaged as error:
            self.report.add(FindingKind.ROOT_DAMAGED, name.hex(), error)
        return ()

    async def _leaf(self, project: str, name: bytes, live: set[bytes]) -> None:
        self._require_row("leaf", name, live)
        try:
            ids = leaf_ids(await asyncio.to_thread(self.objects.read_leaf, name))
        except ObjectMissing as error:
            self.report.add(FindingKind.LEAF_MISSING, name.hex(), error)
            return
        except ObjectDamaged as error:
            self.report.add(FindingKind.LEAF_DAMAGED, name.hex(), error)
            return
        wanted = list(dict.fromkeys(item for item in ids if item != ZERO_ID))
        await self._require_chunks(project, name, wanted)

    async def _require_chunks(self, project: str, leaf: bytes, wanted: list[bytes]) -> None:
        """The chunks, and the bases that deltas among them stand on, must have rows."""
        missing: list[bytes] = []
        seen: set[bytes] = set()
        while wanted:
            some, wanted = wanted[:LOCATE_IDS], wanted[LOCATE_IDS:]
            seen.update(some)
            found = await self.index.locate(project, some)
            missing += [item for item in some if item not in found]
            bases = dict.fromkeys(at.base for at in found.values() if at.base is not None)
            wanted += [base for base in bases if base not in seen]
        if missing:
            await self.index.mark_damaged(project, missing)
            self.report.add(FindingKind.CHUNK_UNKNOWN, leaf.hex(), f"first {missing[0].hex()}", len(missing))
            self.report.chunks_damaged += len(missing)

    def _require_row(self, kind: str, name: bytes, live: set[bytes]) -> None:
        if name not in live:
            self.report.add(FindingKind.NODE_UNKNOWN, name.hex(), kind)

    # packs

    async def packs(self, *, read_data: bool) -> None:
        """Compare packs with rows, and read those of the subset."""
        stored = await asyncio.to_thread(lambda: {item.name for item in self.objects.packs()})
        rows = [pack async for pack in self.index.packs()]
        for name in stored.difference(row.name for row in rows):
            self.report.add(FindingKind.PACK_UNKNOWN, name.hex(), "no row")
        live = [row for row in rows if row.state is ObjectState.LIVE]
        for done, row in enumerate(live, start=1):
            await self.pack(row, reads=read_data and self._is_due(row.name))
            self.progress(CheckProgress("data" if read_data else "packs", done, len(live)))
        self.report.packs = len(live)

    def _is_due(self, name: bytes) -> bool:
        part, parts = self.subset
        return int.from_bytes(name[:8], "big") % parts == part - 1

    async def pack(self, row: PackInfo, *, reads: bool) -> None:
        """Compare one pack with its rows; with `reads` every byte of it."""
        rows = await self.index.chunks_of(row.name)
        try:
            if reads:
                await self._read(row, rows)
            else:
                index = await asyncio.to_thread(self.objects.read_pack_index, row.name)
                await self._compare(row, rows, index)
        except (ObjectMissing, ObjectDamaged) as error:
            kind = FindingKind.PACK_MISSING if isinstance(error, ObjectMissing) else FindingKind.PACK_DAMAGED
            self._add_pack(kind, row, error, len(rows))
            await self._lost(row.project, rows)

    def _add_pack(self, kind: FindingKind, row: PackInfo, detail: object, chunks: int) -> None:
        """A finding of a pack; a harmless one where it concerns no chunk."""
        found = kind if chunks else FindingKind.PACK_DAMAGED_UNUSED
        self.report.add(found, row.name.hex(), detail, chunks)

    async def _compare(
        self, row: PackInfo, rows: Mapping[bytes, Location], index: PackIndex
    ) -> frozenset[bytes]:
        """The chunks whose rows disagree with the pack's index: they cannot be read, so they are lost."""
        stated = {(entry.id, Location.of(row.name, entry)) for entry in index.entries}
        wrong = frozenset(name for name, at in rows.items() if (name, at) not in stated)
        if wrong:
            name = row.name.hex()
            self.report.add(FindingKind.CHUNK_MISPLACED, name, f"first {min(wrong).hex()}", len(wrong))
            await self._lost(row.project, wrong)
        return wrong

    async def _read(self, row: PackInfo, rows: Mapping[bytes, Location]) -> None:
        found, data = await asyncio.to_thread(self.objects.examine_pack, row.name)
        self.report.packs_read += 1
        self.report.bytes_read += len(data)
        if found.index is None:
            raise ObjectDamaged(found.fault or "its index cannot be read")
        wrong = await self._compare(row, rows, found.index)
        bad = {name for name in found.damaged & rows.keys() if rows[name].codec is not Codec.DELTA}
        readable = {name: at for name, at in rows.items() if name not in bad | wrong}
        deltas = await self._bad_deltas(row.project, readable)
        if found.fault:
            self._add_pack(FindingKind.PACK_DAMAGED, row, found.fault, len(bad))
        if deltas:
            detail = f"patches that cannot be rebuilt, first {min(deltas).hex()}"
            self.report.add(FindingKind.CHUNK_DAMAGED, row.name.hex(), detail, len(deltas))
        await self._lost(row.project, bad | deltas)
        whole = list(readable.keys() - deltas)
        if whole:
            await self.index.mark_whole(row.project, whole)

    async def _bad_deltas(self, project: str, rows: Mapping[bytes, Location]) -> frozenset[bytes]:
        """Deltas that cannot be rebuilt: a hash of the pack says nothing about their bases.

        Each is read rather than suspected: a chunk that is called damaged while others stand on it could come
        back as a patch of one of them, and both would be lost.
        """
        reader = ChunkReader(self.objects, self.index)
        bad: set[bytes] = set()
        for name, at in rows.items():
            if at.codec is not Codec.DELTA:
                continue
            try:
                await reader.read(project, [name])
            except StoreError as error:
                if not isinstance(error, ObjectMissing | ObjectDamaged):
                    raise
                bad.add(name)
        return frozenset(bad)

    async def _lost(self, project: str, names: Iterable[bytes]) -> None:
        lost = list(names)
        if lost:
            await self.index.mark_damaged(project, lost)
            self.report.chunks_damaged += len(lost)
