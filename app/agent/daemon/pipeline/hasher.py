"""The hashing stage: name each chunk, leave out what the service has, and pack the rest into frames.

Asked in this order: is it zero; is it the base's chunk at this place; does the service have it (it may
want a proof of possession); is it a small change of the base's chunk (a patch); else it is sent whole.
"""

import mmap
from collections.abc import Callable
from dataclasses import dataclass

from app.agent.daemon.pipeline.channel import Channel
from app.agent.daemon.pipeline.disk_pass import DiskPass
from app.agent.daemon.pipeline.inquiry import Inquiry
from app.agent.daemon.pipeline.leaves import LeafWork
from app.agent.daemon.pipeline.outgoing import FrameBuilder, Outgoing
from app.agent.daemon.pipeline.packer import Packer
from app.agent.daemon.pipeline.segment import Segment
from app.agent.daemon.service import Session
from app.wire.chunks import ZERO_ID, name_of, possession_proof
from app.wire.codec import encode
from app.wire.frames import ChunkRecord, PatchRecord, ProofRecord
from app.wire.messages import HAVE_KNOWN, HAVE_PROVE, Counters
from app.wire.patch import Patch, make_patch


@dataclass(frozen=True)
class Candidate:
    """A chunk that differs from the base's chunk at its place; `base` is that one's id."""

    id: bytes
    data: memoryview
    base: bytes


class Hasher:
    """Works on segments until there are no more; several of them run side by side."""

    def __init__(
        self,
        session: Session,
        segments: Channel[Segment],
        buffers: Channel[mmap.mmap],
        emit: Callable[[Outgoing], None],
        packer: Packer,
    ) -> None:
        self._session = session
        self._segments = segments
        self._buffers = buffers
        self._emit = emit
        self._packer = packer
        self._inquiry = Inquiry()

    def run(self) -> None:
        """Work until the channel of segments is closed. Raises AgentError, Aborted."""
        while (segment := self._segments.get()) is not None:
            with memoryview(segment.buffer) as view:
                self._process(segment, view)
            self._buffers.put(segment.buffer)
            segment.disk.tally.add(Counters(), seen=segment.end - segment.start)
            if segment.leaf.finish_segment(segment.damaged):
                self.finish_leaf(segment.disk, segment.leaf)

    def finish_leaf(self, disk: DiskPass, leaf: LeafWork) -> None:
        """All chunks of the leaf are on their way: send the leaf itself if it is new."""
        if disk.record(leaf) is not None:
            self._builder(disk, leaf).add_leaf(bytes(leaf.ids))

    def _builder(self, disk: DiskPass, leaf: LeafWork) -> FrameBuilder:
        target = self._session.limits.frame_bytes // 2
        return FrameBuilder(leaf.key, disk.tally, self._emit, target, lambda: self._packer.effort)

    def _process(self, segment: Segment, view: memoryview) -> None:
        builder = self._builder(segment.disk, segment.leaf)
        candidates = self._name_chunks(segment, view)
        missing = self._ask(segment, builder, candidates)
        self._send(segment, builder, missing)
        builder.flush()

    def _name_chunks(self, segment: Segment, view: memoryview) -> list[Candidate]:
        found: dict[bytes, Candidate] = {}
        zero = known = 0
        for number, data in segment.chunks(view):
            name, base = name_of(data), segment.leaf.base_id(number)
            segment.leaf.set_id(number, name)
            if name == ZERO_ID:
                zero += data.nbytes
            elif name in found or (name == base and name not in self._session.doubted):
                known += data.nbytes
            else:
                found[name] = Candidate(name, data, base)
        segment.disk.tally.add(Counters(zero=zero, known=known))
        return list(found.values())

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
        sent = patched = 0
        for candidate in missing:
            patch = patches.get(candidate.id)
            if patch is None:
                builder.add_chunk(self._whole(candidate))
                sent += candidate.data.nbytes
            else:
                builder.add_patch(_patched(candidate, patch))
                patched += len(patch.data)
        segment.disk.tally.add(Counters(sent=sent, patched=patched))

    def _whole(self, candidate: Candidate) -> ChunkRecord:
        codec, packed = self._packer.pack(candidate.data)
        return ChunkRecord(candidate.id, codec, candidate.data.nbytes, packed)

    def _patches(self, missing: list[Candidate]) -> dict[bytes, Patch]:
        """Patches, by the new chunk's id, for those that are small changes of the base's chunk."""
        doubted = self._session.doubted
        fit = [c for c in missing if c.base not in (ZERO_ID, c.id) and not {c.id, c.base} & doubted]
        if not fit:
            return {}
        known = self._session.signatures([candidate.base for candidate in fit])
        made = {c.id: make_patch(c.data, signed) for c, signed in zip(fit, known, strict=True) if signed}
        return {name: patch for name, patch in made.items() if patch is not None and patch.extents}


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
