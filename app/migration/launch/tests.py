"""The life of a test in the database: chosen, launched, judged, terminated."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import delete, select

from app.contract.words import ConsistencyLabel, LifecycleState, ServerOperation, TestState
from app.kit.database import UnitOfWork
from app.kit.errors import Json
from app.kit.ids import new_id
from app.kit.settings import LaunchingSettings
from app.launch.boot.proof import BootProof, document
from app.launch.machine import Forward
from app.migration.launch.errors import TestMoved, TestNotFound
from app.migration.launch.evidence import CONVERSION
from app.migration.launch.queries import content_of, find_checkpoint, newest_to_boot
from app.migration.launch.settings import get_settings
from app.migration.launch.states import TRANSITIONS, TestAction
from app.migration.launch.tables import TestEvidenceRow, TestRow
from app.migration.replication.tables import CheckpointRow
from app.migration.retention.checkpoints import keep, let_go
from app.migration.servers.enrolment import find_server
from app.migration.servers.lifecycle import change, take_back

TARGET = "qemu"


@dataclass(frozen=True)
class Wanted:
    """What to test, and at which target: a checkpoint's id, or None for the newest that can be relied on."""

    checkpoint_id: str | None = None
    requested_by: str = ""
    target_id: str = TARGET


@dataclass(frozen=True)
class Chosen:
    """The test that a job makes, and what its operator has to be told about the checkpoint."""

    test_id: str
    checkpoint_number: int
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Effect:
    """Whose effect a test is: the job's and the step's key."""

    job_id: str
    key: str
    server_id: str


async def choose(uow: UnitOfWork, effect: Effect, wanted: Wanted, caps: LaunchingSettings) -> Chosen:
    """Make the test, or find the one that this effect made before; the server is TESTING then.

    Raises CheckpointNotFound, LifecycleNotAllowed.
    """
    known = await _made_by(uow, effect.key)
    if known is not None:
        return Chosen(known.id, known.checkpoint_number)
    server = await find_server(uow, effect.server_id)
    if wanted.checkpoint_id is None:
        checkpoint = await newest_to_boot(uow, server)
    else:
        checkpoint = await find_checkpoint(uow, server, wanted.checkpoint_id)
    settings = await get_settings(uow, server, caps)
    test = TestRow(
        id=new_id("tst"),
        server_id=server.id,
        job_id=effect.job_id,
        effect=effect.key,
        checkpoint_id=checkpoint.id,
        checkpoint_number=checkpoint.number,
        label=checkpoint.label,
        source_time=checkpoint.source_time,
        came_from=server.lifecycle_state,
        target=wanted.target_id,
        machine=settings.machine.model_dump(mode="json"),
        forwards=[],
        requested_by=wanted.requested_by[:200],
        created_at=uow.now,
    )
    await change(uow, server, ServerOperation.TEST)
    await keep(uow, checkpoint.id)
    uow.session.add(test)
    await uow.session.flush()
    return Chosen(test.id, checkpoint.number, await _warnings(uow, checkpoint))


async def _made_by(uow: UnitOfWork, key: str) -> TestRow | None:
    found: TestRow | None = await uow.session.scalar(select(TestRow).where(TestRow.effect == key))
    return found


async def _warnings(uow: UnitOfWork, checkpoint: CheckpointRow) -> tuple[str, ...]:
    found = []
    if checkpoint.label == ConsistencyLabel.FUZZY:
        found.append(
            f"checkpoint {checkpoint.number} is fuzzy: the source wrote while it was read, so a failed boot "
            "may be the checkpoint's fault; test one that is frozen or quiet"
        )
    unreadable = (await content_of(uow, checkpoint.id)).unreadable_bytes
    if unreadable:
        found.append(
            f"{unreadable} bytes of checkpoint {checkpoint.number} are zeros: the source could not read them"
        )
    return tuple(found)


async def unchoose(uow: UnitOfWork, key: str) -> None:
    """Undo `choose`: the test is over. Without a verdict the server is what it was before it."""
    test = await _made_by(uow, key)
    if test is None or test.state == TestState.TERMINATED or test.terminated_at is not None:
        return
    act(uow, test, TestAction.TERMINATE)
    await uow.session.flush()
    if test.passed is None:
        server = await find_server(uow, test.server_id)
        await take_back(uow, server, ServerOperation.TEST, LifecycleState(test.came_from))
        await let_go(uow, test.checkpoint_id)


def act(uow: UnitOfWork, test: TestRow, action: TestAction) -> None:
    """Change the state of a test by the table. Raises TestMoved for what the table has not."""
    after = TRANSITIONS.get((TestState(test.state), action))
    if after is None:
        raise TestMoved(
            f"test {test.id} is {test.state}: {action} is not possible",
            remedy="look what became of it: go2cloud server tests; then order another one",
        )
    test.state = after
    if action is TestAction.TERMINATE:
        test.terminated_at = test.terminated_at or uow.now
        test.forwards = []
    elif action is TestAction.LAUNCH:
        test.launched_at = test.launched_at or uow.now


async def get_test(uow: UnitOfWork, test_id: str) -> TestRow:
    """The row of a test as it is now. Raises TestNotFound."""
    found = await uow.session.get(TestRow, test_id, populate_existing=True)
    if found is None:
        raise TestNotFound(f"there is no test {test_id}")
    return found


async def place(uow: UnitOfWork, test_id: str, node: str) -> None:
    """From now on something of the test may be on the node."""
    (await get_test(uow, test_id)).node = node


async def launched(uow: UnitOfWork, test_id: str, forwards: Sequence[Forward]) -> None:
    """Its machine is there."""
    test = await get_test(uow, test_id)
    act(uow, test, TestAction.LAUNCH)
    test.forwards = [{"guest": each.guest, "host": each.host} for each in forwards]


async def judged(uow: UnitOfWork, test_id: str, proof: BootProof, evidence: dict[str, bytes]) -> None:
    """Its machine was watched to the end: keep the verdict and what was seen; repeating replaces both."""
    test = await get_test(uow, test_id)
    if proof.passed:
        act(uow, test, TestAction.PASS)
    test.passed, test.checked_at = proof.passed, uow.now
    test.proof = _object(document(proof))
    seen = (TestEvidenceRow.test_id == test_id, TestEvidenceRow.name != CONVERSION)
    await uow.session.execute(delete(TestEvidenceRow).where(*seen))
    uow.session.add_all(
        TestEvidenceRow(test_id=test_id, name=name, content=content) for name, content in evidence.items()
    )


def _object(value: Json) -> dict[str, Json]:
    assert isinstance(value, dict)
    return value


async def terminated(uow: UnitOfWork, test_id: str) -> None:
    """Its machine and volumes are gone."""
    act(uow, await get_test(uow, test_id), TestAction.TERMINATE)
