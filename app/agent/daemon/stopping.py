"""One signal for the whole program that it should end, heard by whatever is waiting."""

import threading
from collections.abc import Callable

from app.agent.daemon.errors import AgentError


class Stopped(AgentError):
    """The agent was told to stop."""

    code = "STOPPED"


class Stop:
    """Set once. Listeners are called in the thread that sets it and must not block."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._listeners: list[Callable[[], None]] = []

    @property
    def is_set(self) -> bool:
        """Whether the agent was told to stop."""
        return self._event.is_set()

    def set(self) -> None:
        """Tell everyone to stop."""
        self._event.set()
        for listener in tuple(self._listeners):
            listener()

    def listen(self, listener: Callable[[], None]) -> None:
        """Call `listener` when the stop comes."""
        self._listeners.append(listener)

    def unlisten(self, listener: Callable[[], None]) -> None:
        """Do not call `listener` any more."""
        self._listeners.remove(listener)

    def wait(self, seconds: float) -> bool:
        """Sleep; True at once when the stop comes."""
        return self._event.wait(seconds)

    def check(self) -> None:
        """Raise Stopped if the agent was told to stop."""
        if self.is_set:
            raise Stopped("the agent was told to stop")
