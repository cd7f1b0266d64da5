"""What a watch can see of a running machine; a driver of machines implements it."""

from pathlib import Path
from typing import Protocol

from app.contract.words import Accelerator
from app.launch.boot.phases import NamedFailure
from app.launch.boot.screen import Picture
from app.launch.machine import Forward


class Console(Protocol):
    """A machine that was launched, running or not. Coroutines block no loop."""

    @property
    def instance(self) -> str:
        """Its id."""

    @property
    def target(self) -> str:
        """The kind of target that it was launched at."""

    @property
    def accelerator(self) -> Accelerator:
        """What runs its instructions."""

    @property
    def forwards(self) -> tuple[Forward, ...]:
        """Its ports that can be reached."""

    @property
    def serial(self) -> Path:
        """What the machine wrote to its serial line; it grows, and is begun anew at each start."""

    async def start(self) -> str:
        """Which start of the machine it is: the same as long as it runs, another when it is started again."""

    def after(self) -> float:
        """Seconds since the launch, by a clock that nobody sets."""

    async def alive(self) -> bool:
        """Whether the machine's process runs."""

    async def fault(self) -> NamedFailure | None:
        """What the hypervisor itself failed at, or None."""

    async def picture(self) -> Picture | None:
        """What the screen shows; None where there is no screen to be had."""

    async def accepted(self, guest: int) -> bool:
        """Whether the guest accepted a connection to its port `guest` a moment ago."""

    def last_words(self) -> str:
        """What the hypervisor wrote to its own log, at most a few lines."""
