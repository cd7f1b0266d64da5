"""Replaying a model's journal on the real services, comparing every answer and what it left behind."""

from collections.abc import Sequence
from pathlib import Path

from app.contract.resources.checkpoint import VerifyResult
from app.kit.errors import Go2CloudError
from app.migration.catalogue.service import get_checkpoint
from app.migration.replication.maintenance import check_store
from app.migration.replication.service import verify_stream
from app.store.findings import no_progress
from app.store.gc import Collected
from app.wire.messages import HAVE_KNOWN, HAVE_PROVE, HAVE_SEND, Committed, Opened, PutResult
from app.wire.tree import LEAF_BYTES
from tests.faults.protocol import journal as entries
from tests.faults.protocol import translation, words
from tests.faults.protocol.explore import run
from tests.faults.protocol.holding import Held
from tests.faults.protocol.journal import Entry, Journal
from tests.faults.protocol.real_service import RealService, Standing, real_service
from tests.faults.protocol.scenario import scenario
from tests.faults.protocol.words import Answer, Refusal

HAVE = {HAVE_KNOWN: words.KNOWN, HAVE_PROVE: words.PROVE, HAVE_SEND: words.SEND}
Plain = tuple[object, ...]


class Drift(AssertionError):
    """The services do something else than the model."""


def recorded(seed: int, steps: int) -> list[Entry]:
    """The journal of a good run of the model, stopped at coarse points only."""
    journal = Journal(keeps=True)
    outcome = run(seed, steps=steps, is_coarse=True, journal=journal, heals=False)
    assert not outcome.violation, outcome.violation
    return journal.entries


async def conform(seed: int, steps: int, template: Path, folder: Path) -> int:
    """Replay a seed; how many answers were compared. Raises Drift."""
    plan = scenario(seed)
    found = recorded(seed, steps)
    async with real_service(template, folder, plan.shape, packs_are_small=plan.packs_are_small) as real:
        replay = Replay(real)
        try:
            for number, entry in enumerate(found):
                await _taken(replay, seed, number, entry)
        finally:
            await replay.stop()
        await is_whole(real)
    return replay.compared


async def _taken(replay: "Replay", seed: int, number: int, entry: Entry) -> None:
    try:
        await replay.take(entry)
    except Drift as drift:
        raise Drift(f"seed {seed}, entry {number} {entry}: {drift}") from drift


class Replay:
    """Takes the entries of a journal, one after the other."""

    def __init__(self, real: RealService) -> None:
        self._real = real
        self._running: dict[int, Held] = {}
        self.compared = 0

    async def take(self, entry: Entry) -> None:
        """Do what the entry says, and compare."""
        match entry:
            case entries.Began(task, server, request):
                self._running[task] = Held()
                await self._running[task].start(self._real.ask(server, request))
            case entries.Stepped(task, point):
                _same("the point that is reached", self._running[task].point, point)
                await self._running[task].go_on()
            case entries.Finished(task, answer, heads):
                await self._compare(self._running.pop(task), answer, heads)
            case entries.Crashed():
                await self.stop()
                self._real.crash()
            case entries.Passed(seconds):
                self._real.clock.advance(translation.seconds(seconds))

    async def stop(self) -> None:
        """End what is running."""
        for held in self._running.values():
            await held.kill()
        self._running.clear()

    async def _compare(self, held: Held, answer: Answer, heads: dict[str, entries.Head]) -> None:
        _same("the point where the model has ended", held.point, None)
        theirs = await _outcome(held)
        self._pair(answer, theirs)
        _same("the answer", _plain_real(theirs), _plain_model(answer))
        _same("generations and heads", await self._real.heads(), {n: _standing(h) for n, h in heads.items()})
        self.compared += 1

    def _pair(self, ours: Answer, theirs: object) -> None:
        pairs = self._real.pairs
        if isinstance(ours, words.Opened) and isinstance(theirs, Opened):
            pairs.sessions[ours.session] = theirs
            _same("the head of the session", pairs.pair(ours.head, theirs.head), True)
        if isinstance(ours, words.Committed) and isinstance(theirs, Committed):
            _same("the checkpoint", pairs.pair(ours.checkpoint, theirs.checkpoint_id), True)


def _standing(head: entries.Head) -> Standing:
    return Standing(head.generation, head.number, tuple(translation.root_hex(root) for root in head.roots))


async def _outcome(held: Held) -> object:
    try:
        return await held.result()
    except Go2CloudError as error:
        return error
    except Exception as error:  # noqa: BLE001 - an internal error is an outcome that is compared
        return error


def _same(what: str, theirs: object, ours: object) -> None:
    if theirs != ours:
        raise Drift(f"{what}: the services have {theirs!r}, the model {ours!r}")


def _plain_model(answer: Answer) -> Plain:
    match answer:
        case Refusal():
            return ("refused", answer.code, tuple(sorted(answer.ids)))
        case words.Opened():
            roots = tuple(translation.root_hex(root) for root in answer.roots)
            return ("opened", answer.generation, roots, tuple(sorted(answer.resend)))
        case words.PutResult():
            return ("put", answer.stored, answer.known, tuple(answer.refused))
        case words.Committed():
            return ("committed", answer.number, tuple(translation.root_hex(root) for root in answer.roots))
        case words.Collected():
            return ("collected", *vars(answer).values())
        case None:
            return ("nothing",)
    if answer and isinstance(answer[0], tuple):
        return ("leaves", b"".join(translation.leaf(ids) for ids in answer if isinstance(ids, tuple)))
    return ("have", *answer)


def _plain_real(answer: object) -> Plain:
    match answer:
        case Go2CloudError():
            return ("refused", answer.code, _ids(answer.extra.get("ids", ())))
        case Exception():
            return ("refused", "INTERNAL", repr(answer))
        case Opened():
            return (
                "opened",
                answer.generation,
                tuple(disk.root for disk in answer.disks),
                _ids(answer.resend),
            )
        case PutResult():
            refused = tuple(translation.value_of(bytes.fromhex(each.id)) for each in answer.refused)
            return ("put", answer.stored, answer.known, refused)
        case Committed():
            return ("committed", answer.number, tuple(disk.root for disk in answer.disks))
        case Collected():
            return ("collected", *list(vars(answer).values())[:6])
        case bytes() if len(answer) and len(answer) % LEAF_BYTES == 0:
            return ("leaves", answer)
        case bytes():
            return ("have", *(HAVE[code] for code in answer))
    return ("nothing",)


def _ids(texts: object) -> tuple[int, ...]:
    assert isinstance(texts, Sequence)
    return tuple(sorted(translation.value_of(bytes.fromhex(text)) for text in texts))


async def is_whole(real: RealService) -> None:
    """At the end every retained checkpoint reads back whole, and the store agrees with the database."""
    for name, standing in (await real.heads()).items():
        if standing.number:
            async with real.services.database.reading() as uow:
                checkpoint = await get_checkpoint(uow, real.servers[name], "latest")
            *_, result = [event async for event in verify_stream(real.services, checkpoint)]
            _same("whether the head reads back", isinstance(result, VerifyResult) and result.agrees, True)
    report = await check_store(real.services, read_data=True, subset=None, progress=no_progress)
    _same("what a check of the store finds", [f for f in report.findings if not f.is_harmless], [])
