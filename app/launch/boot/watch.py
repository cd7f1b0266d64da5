"""Watching a machine boot until its checks passed, a failure with a name was seen, or the time is over.

The serial line is read twice a second; ports are tried each in a task of its own; own scripts run last, one
after the other, when everything else passed. A screenshot alone is never a success.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Final

from app.contract.words import BootFailure, BootPhase, CheckKind
from app.kit.clock import Clock
from app.launch.boot.checks import Check, CheckPlan, HttpCheck, ScreenCheck, ScriptCheck, TcpCheck
from app.launch.boot.console import Console
from app.launch.boot.evidence import Evidence
from app.launch.boot.phases import SerialReader, readable
from app.launch.boot.probes import forwarded, try_once
from app.launch.boot.proof import BootProof, CheckResult, PhaseSeen
from app.launch.boot.screen import Picture
from app.launch.boot.verdict import REMEDIES
from app.launch.errors import SettingsWrong
from app.launch.threads import in_thread

LOOK_SECONDS: Final = 0.5
RETRY_SECONDS: Final = 1
FAILURE_SETTLE_SECONDS: Final = 2
"""From a failure on the serial line to the screenshot that shows it."""
LEAST_SECONDS: Final = 60
"""A watch that begins late, since its process was taken over late, looks at least so long."""
PIECE: Final = 4 * 1024 * 1024
TAIL_CHARACTERS: Final = 4000


@dataclass(frozen=True)
class Ending:
    """Why the watch ended; no reason means success."""

    reason: BootFailure | None
    detail: str


@dataclass
class BootWatch:
    """One watch over one machine."""

    console: Console
    plan: CheckPlan
    evidence: Evidence
    clock: Clock
    serial: SerialReader = field(default_factory=SerialReader)
    _offset: int = 0
    _results: dict[str, CheckResult] = field(default_factory=dict)
    _shot: Picture | None = None
    _shot_after: float = float("-inf")
    _until: float = 0
    """Seconds from the launch until what has not passed is a failure."""

    async def run(self) -> BootProof:
        """Watch to the end. Raises SettingsWrong where a check cannot be made of this machine."""
        if any(check.kind is CheckKind.IMAGES for check in self.plan.checks):
            raise SettingsWrong(
                "a machine publishes no images", remedy="check login, screen, ports or a script"
            )
        for port in sorted(self.plan.ports):
            forwarded(self.console, port)
        least = self.console.after() + min(LEAST_SECONDS, self.plan.seconds)
        self._until = max(self.plan.seconds, least)
        self.serial.phases = await in_thread(self.evidence.begin, await self.console.start())
        tasks = [asyncio.create_task(self._until_passed(check)) for check in self._network_checks()]
        try:
            ending = await self._watched(tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return await self._proved(ending)

    def _network_checks(self) -> list[TcpCheck | HttpCheck]:
        return [check for check in self.plan.checks if isinstance(check, TcpCheck | HttpCheck)]

    async def _watched(self, tasks: list[asyncio.Task[None]]) -> Ending:
        """Look until there is an ending; then settle and take the picture that is the proof."""
        scripts: asyncio.Task[None] | None = None
        try:
            while (ending := await self._look(tasks)) is None:
                if scripts is None and self._passed_but(CheckKind.SCREEN, CheckKind.SCRIPT):
                    scripts = asyncio.create_task(self._run_scripts())
                    tasks = [*tasks, scripts]
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            if scripts is not None:
                scripts.cancel()
                await asyncio.gather(scripts, return_exceptions=True)
        if ending.reason is not None:
            await self._settle(FAILURE_SETTLE_SECONDS)
            return ending
        await self._settle(self.plan.settle_seconds)
        return await self._broken() or self._judged_by_screen(ending)

    async def _look(self, tasks: list[asyncio.Task[None]]) -> Ending | None:
        for task in tasks:
            if task.done():
                task.result()
        await self._read_serial()
        if (broken := await self._broken()) is not None:
            return broken
        if self.console.after() - self._shot_after >= self.plan.picture_seconds:
            await self._take_picture()
        if self._passed_but(CheckKind.SCREEN):
            return Ending(None, "all checks passed")
        return self._out_of_time() if self.console.after() >= self._until else None

    async def _read_serial(self) -> None:
        """Read on in the serial log, and note phases that were not seen before."""
        known = len(self.serial.phases)
        while piece := await in_thread(self._next_piece):
            self._offset += len(piece)
            self.serial.feed(piece, round(self.console.after(), 2))
        login = self.serial.phases.get(BootPhase.LOGIN)
        for check in self.plan.checks:
            if check.kind is CheckKind.LOGIN and login is not None:
                self._results[check.name] = CheckResult(
                    check.name, check.kind, True, login, "a login prompt was seen"
                )
        if len(self.serial.phases) > known:
            await in_thread(self.evidence.keep_phases, self.serial.phases)

    def _next_piece(self) -> bytes:
        with self.console.serial.open("rb") as file:
            file.seek(self._offset)
            return file.read(PIECE)

    async def _broken(self) -> Ending | None:
        """A failure that has a name."""
        if self.serial.failure is not None:
            return Ending(self.serial.failure.reason, f"the serial line says: {self.serial.failure.words}")
        if not await self.console.alive():
            await self._read_serial()
            return Ending(
                BootFailure.MACHINE_ENDED, f"the machine ended. {self.console.last_words()}".strip()
            )
        if (fault := await self.console.fault()) is not None:
            return Ending(fault.reason, fault.words)
        return None

    async def _take_picture(self) -> None:
        self._shot_after = self.console.after()
        picture = await self.console.picture()
        if picture is not None:
            self._shot = picture
            await in_thread(self.evidence.keep_picture, picture, self._shot_after)

    async def _settle(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self._read_serial()
        await self._take_picture()

    def _passed_but(self, *kinds: CheckKind) -> bool:
        """Whether all checks passed but those of some kinds."""
        return all(
            check.name in self._results and self._results[check.name].passed for check in self._but(kinds)
        )

    def _but(self, kinds: tuple[CheckKind, ...]) -> list[Check]:
        return [check for check in self.plan.checks if check.kind not in kinds]

    async def _until_passed(self, check: TcpCheck | HttpCheck | ScriptCheck) -> None:
        """Try a check again and again; its last try is its result."""
        while True:
            found = await try_once(self.console, check)
            after = round(self.console.after(), 2) if found.passed else None
            self._results[check.name] = CheckResult(check.name, check.kind, found.passed, after, found.detail)
            if found.passed:
                return
            await asyncio.sleep(RETRY_SECONDS)

    async def _run_scripts(self) -> None:
        for check in self.plan.checks:
            if isinstance(check, ScriptCheck):
                await self._until_passed(check)

    def _out_of_time(self) -> Ending:
        missing = [result for result in self._all_results() if not result.passed]
        detail = "; ".join(f"{result.name}: {result.detail}" for result in missing)
        within = f"not within {self.plan.seconds:g} s: {detail}"
        if not self.serial.characters and (self._shot is None or self._shot.blank):
            return Ending(BootFailure.NO_SIGN_OF_LIFE, within)
        if set(self.serial.phases) == {BootPhase.FIRMWARE} and len(missing) == len(self.plan.checks):
            text = f"nothing followed when the firmware started the disk's boot code, {within}"
            return Ending(BootFailure.NO_BOOTABLE_DEVICE, text)
        if any(result.kind is CheckKind.LOGIN for result in missing):
            return Ending(BootFailure.NO_LOGIN, within)
        return Ending(BootFailure.CHECK_FAILED, within)

    def _judged_by_screen(self, ending: Ending) -> Ending:
        """The screen checks are about the last picture."""
        shows = self._shot is not None and not self._shot.blank
        detail = "the last screenshot shows something" if shows else "the last screenshot is blank"
        for check in self.plan.checks:
            if isinstance(check, ScreenCheck):
                after = round(self._shot_after, 2) if shows else None
                self._results[check.name] = CheckResult(check.name, check.kind, shows, after, detail)
                ending = ending if shows else Ending(BootFailure.CHECK_FAILED, detail)
        return ending

    def _all_results(self) -> tuple[CheckResult, ...]:
        """A result for each check, in the plan's order; those never tried did not pass."""
        return tuple(
            self._results.get(check.name) or CheckResult(check.name, check.kind, False, None, "not seen")
            for check in self.plan.checks
        )

    async def _proved(self, ending: Ending) -> BootProof:
        """Write the evidence and the result."""
        tail = await in_thread(self.evidence.keep_serial, self.console.serial)
        thumbnail = None
        if self._shot is not None:
            thumbnail = await in_thread(self.evidence.keep_thumbnail, self._shot)
        proof = BootProof(
            instance=self.console.instance,
            target=self.console.target,
            passed=ending.reason is None,
            reason=ending.reason,
            detail=ending.detail,
            remedy=None if ending.reason is None else REMEDIES[ending.reason],
            at=self.clock.now(),
            seconds=round(self.console.after(), 2),
            phases=tuple(
                PhaseSeen(phase, after) for phase, after in sorted(self.serial.phases.items(), key=_when)
            ),
            checks=self._all_results(),
            screenshots=tuple(self.evidence.pictures),
            thumbnail=thumbnail,
            accelerator=self.console.accelerator.value,
            serial_tail=readable(tail[-2 * TAIL_CHARACTERS :])[-TAIL_CHARACTERS:],
        )
        await in_thread(self.evidence.keep_proof, proof)
        return proof


def _when(seen: tuple[BootPhase, float]) -> tuple[float, int]:
    """By time, and by the order of the phases where a look saw several at once."""
    return seen[1], list(BootPhase).index(seen[0])
