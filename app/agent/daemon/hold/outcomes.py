"""What the journal says after an effect of a hold."""

from collections.abc import Sequence
from dataclasses import replace

from app.agent.daemon.capture.activity import FROZEN
from app.agent.daemon.errors import AgentError
from app.agent.daemon.hold.record import Record, Stage
from app.agent.daemon.hooks import HookResult
from app.agent.daemon.sync import SyncResult
from app.wire.hold import (
    FINAL_NOT_FROZEN,
    HOOK_FAILED,
    MAX_HOOKS,
    MAX_OUTPUT,
    HeldRoot,
    HoldServices,
    HookRun,
)

MOST_DETAIL = 1000


def after_stop(record: Record, results: Sequence[HookResult]) -> Record:
    """The hooks that stop the services have run. After a reboot that ends in HOLDING, whatever came of it:
    only an order ends what is firm."""
    stage = Stage.HOLDING if record.stage == Stage.RESTOPPING else Stage.STOPPED
    done = replace(record, stage=stage, hooks=_runs(results))
    if not results:
        return replace(done, services=HoldServices.NO_HOOK)
    failed = _failed(results)
    if not failed:
        return replace(done, services=HoldServices.STOPPED)
    return replace(done, services=HoldServices.FAILED, code=HOOK_FAILED, detail=failed)


def after_keep(record: Record, results: Sequence[HookResult]) -> Record:
    """The hooks that keep the services stopped over a reboot have run. One that failed is told and changes
    nothing: the agent stops the services again then."""
    hooks = (*record.hooks, *_runs(results))[-MAX_HOOKS:]
    detail = record.detail or _failed(results)
    return replace(record, stage=Stage.HELD, is_held=True, hooks=hooks, detail=detail)


def after_start(record: Record, results: Sequence[HookResult]) -> Record:
    """The hooks that start the services have run."""
    failed = _failed(results)
    done = replace(record, stage=Stage.STARTED, hooks=_runs(results))
    if failed:
        return replace(done, services=HoldServices.NOT_STARTED, code=HOOK_FAILED, detail=failed)
    was_untouched = record.services in (HoldServices.UNTOUCHED, HoldServices.NO_HOOK) and not results
    return replace(done, services=record.services if was_untouched else HoldServices.STARTED)


def after_final(record: Record, made: SyncResult) -> Record:
    """The last pass made this checkpoint."""
    if made.label != FROZEN:
        why = made.detail or made.reason or "no filesystem of these disks could be frozen"
        return failed_final(record, FINAL_NOT_FROZEN, f"checkpoint {made.number} is {made.label}: {why}")
    return replace(
        record,
        stage=Stage.FINISHED,
        checkpoint_id=made.checkpoint_id,
        label=made.label,
        frozen_ms=round(made.frozen_seconds * 1000),
        roots=tuple(HeldRoot(disk.disk_id, disk.root) for disk in made.disks),
    )


def failed_final(record: Record, code: str, detail: str) -> Record:
    """There will be no final checkpoint."""
    return replace(record, stage=Stage.FINISHED, code=code[:64], detail=detail[:MOST_DETAIL])


def failure_of(record: Record, error: AgentError) -> Record:
    """The last pass failed for good."""
    return failed_final(record, error.code, str(error))


def _failed(results: Sequence[HookResult]) -> str:
    """A sentence about those that failed; empty where none did."""
    return "; ".join(str(result) for result in results if not result.has_succeeded)[:MOST_DETAIL]


def _runs(results: Sequence[HookResult]) -> tuple[HookRun, ...]:
    return tuple(
        HookRun(
            result.name[:255],
            result.phase,
            result.has_succeeded,
            str(result)[:1000],
            result.output[-MAX_OUTPUT:],
        )
        for result in results[-MAX_HOOKS:]
    )
