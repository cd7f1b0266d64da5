"""The hashing stage: name each chunk, leave out what the service has, and pack the rest into frames.

Asked in this order: is it zero; is it the base's chunk at this place; is it a small change of that chunk as
the tracker tells (a patch); does the service have it (it may want a proof of possession); is it a small
change as the service's signatures tell (a patch too); else it is sent whole.

A patch that the service cannot rebuild the chunk from is sent whole in the next round. If the chunk is still
the same then and nothing was written to it meanwhile, the tracker missed a write: the pass is given up.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from app.agent.daemon.errors import TrackerGap
from app.agent.daemon.pipeline.channel import Channel
from app.agent.daemon.pipeline.disk_pass import DiskPass
from app.agent.daemon.pipeline.framememory import FrameMemory
from app.agent.daemon.pipeline.inquiry import Inquiry
from app.agent.daemon.pipeline.leaves import LeafKey, LeafWork, ReadyLeaf
from app.agent.daemon.pipeline.outgoing import FrameBuilder, Outgoing, leaf_frames
from app.agent.daemon.pipeline.packer import Packer
from app.agent.daemon.pipeline.segment import Segment
from app.agent.daemon.service import Session
from app.wire.chunks import BLOCK, ZERO_ID, name_of, possession_proof
from app.wire.codec import encode
from app.wire.frames import ChunkRecord, PatchRecord, ProofRecord
from app.wire.messages import HAVE_KNOWN, HAVE_PROVE, Counters
from app.wire.patch import Extent, Patch, make_patch, patch_of


@dataclass(frozen=True)
class Candidate:
    """A chunk that differs from the one before at its place, whose id is `base`. `start` is its place on the
    disk in bytes, `extents` the blocks that were written to, None where that is not known."""

    id: bytes
    data: memoryview
    base: bytes
    start: int
    extents: tuple[Extent, ...] | None

    @property
    def end(self) -> int:
        """Where the chunk ends on the disk, in bytes."""
        return self.start + self.data.nbytes


class Hasher:
    """Works on segments until there are no more; several of them run side by side."""

    def __init__(
        self,
        session: Session,
        segments: Channel[Segment],
        emit: Callable[[Outgoing], None],
        packer: Packer,
        memory: FrameMemory,
    ) -> None:
        self._session = session
        self._segments = segments
        self._emit = emit
        self._packer = packer
        self._memory = memory
        self._inquiry = Inquiry()

    def run(self) -> None:
        """Work until the channel of segments is closed. Raises AgentError, Aborted."""
        while (segment := self._segments.get()) is not None:
            self._process(segment)
            segment.give_back()
            segment.disk.tally.add(Counters(), seen=segment.covers)
            if segment.leaf.finish_segment(segment.read, segment.damaged):
                self.finish_leaf(segment.disk, segment.leaf)

    def finish_leaf(self, disk: DiskPass, leaf: LeafWork) -> None:
        """All chunks of the leaf are on their way: send the leaf itself if it is new."""
        ready = disk.record(leaf)
        if ready is not None:
            self.send_leaves(disk, [ready])

    def send_leaves(self, disk: DiskPass, leaves: Sequence[ReadyLeaf]) -> None:
        """Send leaves of one disk whose chunks are on their way, or with the service."""
        for frame in leaf_frames(leaves, self._session.whole_leaves, disk.tally, self._packer.effort):
            self._emit(frame)

    def builder(self, disk: DiskPass, key: LeafKey) -> FrameBuilder:
        """Gathers records of a leaf; its frames go where the hasher's go."""
        target = self._session.limits.frame_bytes // 2
        return FrameBuilder(key, disk.tally, self._emit, target, lambda: self._packer.effort, self._memory)

    def _process(self, segment: Segment) -> None:
        builder = self.builder(segment.disk, segment.leaf.key)
        small, others = self._split(self._name_chunks(segment))
        self._send_patches(segment, builder, small)
        self._send(segment, builder, self._ask(segment, builder, others))
        builder.flush()

    def _name_chunks(self, segment: Segment) -> list[Candidate]:
        found: dict[bytes, Candidate] = {}
        zero = known = 0
        for number, data in segment.chunks():
            name, base = name_of(data), segment.leaf.id_before(number)
            segment.leaf.set_id(number, name)
            if name == ZERO_ID:
                zero += data.nbytes
            elif name in found or (name == base and name not in self._session.doubted):
                known += data.nbytes
            else:
                found[name] = self._candidate(segment, number, data, name, base)
        segment.disk.tally.add(Counters(zero=zero, known=known))
        return list(found.values())

    def _candidate(
        self, segment: Segment, number: int, data: memoryview, name: bytes, base: bytes
    ) -> Candidate:
        start = number * segment.disk.base.chunk_size
        if not segment.leaf.is_partial:
            return Candidate(name, data, base, start, None)
        extents = _blocks(segment.disk.dirt.within(start, start + data.nbytes), start)
        candidate = Candidate(name, data, base, start, extents)
        if name in self._session.mismatched and not segment.disk.dirt.is_written(start, candidate.end):
            reason = f"the chunk at byte {start} differs from the replica where no write was seen"
            raise TrackerGap(segment.disk.base.key, segment.disk.reader.path, reason)
        return candidate

    def _split(self, candidates: list[Candidate]) -> tuple[list[tuple[Candidate, Patch]], list[Candidate]]:
        """Small changes that the tracker tells of, and the rest."""
        small, others = [], []
        for candidate in candidates:
            patch = self._known_patch(candidate)
            if patch is None:
                others.append(candidate)
            else:
                small.append((candidate, patch))
        return small, others

    def _known_patch(self, candidate: Candidate) -> Patch | None:
        if not candidate.extents or not self._may_be_patched(candidate):
            return None
        return patch_of(candidate.data, candidate.extents)

    def _may_be_patched(self, candidate: Candidate) -> bool:
        names = {candidate.id, candidate.base}
        return candidate.base not in (ZERO_ID, candidate.id) and not names & self._session.doubted

    def _ask(self, segment: Segment, builder: FrameBuilder, candidates: list[Candidate]) -> list[Candidate]:
        """The candidates that the service lacks; possession is proved where it is asked for."""
        if not candidates or not self._inquiry.is_due():
            return candidates
        answers = self._session.have([candidate.id for candidate in candidates])
        self._inquiry.learn(sum(answer in (HAVE_KNOWN, HAVE_PROVE) for answer in answers))
        missing, proofs, known = [], [], 0
        for candidate, answer in zip(candidates, answers, strict=True):
            if candidate.id in self._session.doubted or answer not in (HAVE_KNOWN, HAVE_PROVE):
                missing.append(candidate)
                continue
            known += candidate.data.nbytes
            if answer == HAVE_PROVE:
                proof = possession_proof(candidate.data, self._session.proof_key)
                proofs.append(ProofRecord(candidate.id, proof))
        segment.disk.tally.add(Counters(known=known))
        builder.add_proofs(proofs)
        return missing

    def _send(self, segment: Segment, builder: FrameBuilder, missing: list[Candidate]) -> None:
        patches = self._patches(missing)
        self._send_patches(segment, builder, [(c, patches[c.id]) for c in missing if c.id in patches])
        whole = [candidate for candidate in missing if candidate.id not in patches]
        for candidate in whole:
            builder.add_chunk(self._whole(candidate))
        segment.disk.tally.add(Counters(sent=sum(candidate.data.nbytes for candidate in whole)))

    def _send_patches(
        self, segment: Segment, builder: FrameBuilder, patches: list[tuple[Candidate, Patch]]
    ) -> None:
        for candidate, patch in patches:
            builder.add_patch(_patched(candidate, patch))
        segment.disk.tally.add(Counters(patched=sum(len(patch.data) for _, patch in patches)))

    def _whole(self, candidate: Candidate) -> ChunkRecord:
        """What is left of a delta goes compressed however fast the link is: journals and tables of inodes,
        which are written in one piece, would else weigh more than all patches."""
        is_delta = candidate.extents is not None
        codec, packed = encode(candidate.data) if is_delta else self._packer.pack(candidate.data)
        return ChunkRecord(candidate.id, codec, candidate.data.nbytes, packed)

    def _patches(self, missing: list[Candidate]) -> dict[bytes, Patch]:
        """Patches, by the new chunk's id, for those that the service's signatures show as small changes."""
        fit = [c for c in missing if c.extents is None and self._may_be_patched(c)]
        if not fit:
            return {}
        known = self._session.signatures([candidate.base for candidate in fit])
        made = {c.id: make_patch(c.data, signed) for c, signed in zip(fit, known, strict=True) if signed}
        return {name: patch for name, patch in made.items() if patch is not None and patch.extents}


def _blocks(ranges: Iterable[tuple[int, int]], start: int) -> tuple[Extent, ...]:
    """Byte ranges of a disk as blocks of the chunk that begins at `start`."""
    return tuple(((low - start) // BLOCK, -(-(high - low) // BLOCK)) for low, high in ranges)


def _patched(candidate: Candidate, patch: Patch) -> PatchRecord:
    codec, packed = encode(patch.data)
    return PatchRecord(
        candidate.id,
        candidate.base,
        candidate.data.nbytes,
        patch.extents,
        codec,
        len(patch.data),
        bytes(packed),
    )
