"""One signal for the whole program that it should end, and one for its passes that they should rest.

Both are heard by whatever is waiting.
"""

import threading
from collections.abc import Callable

from app.agent.daemon.errors import AgentError


class Stopped(AgentError):
    """The agent was told to stop."""

    code = "STOPPED"


class Paused(AgentError):
    """An order came to send nothing more for now."""

    code = "PAUSED"


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
            raise self.failure()

    def failure(self) -> AgentError:
        """What whoever waits is ended with."""
        return Stopped("the agent was told to stop")


class Halt(Stop):
    """Ends passes, not the agent: set by an order to pause and cleared by one to run.

    The agent's own stop sets it for good.
    """

    def __init__(self, stop: Stop) -> None:
        super().__init__()
        self._stop = stop
        stop.listen(self.set)

    def clear(self) -> None:
        """Passes may run again, unless the agent stops."""
        self._event.clear()
        if self._stop.is_set:  # asked after: it may be set in between
            self._event.set()

    def heed_stop(self) -> None:
        """Raise Stopped if the agent itself was told to stop; a pause passes."""
        self._stop.check()

    def failure(self) -> AgentError:
        """Stopped or Paused."""
        if self._stop.is_set:
            return self._stop.failure()
        return Paused(
            "replication of this server is paused or stopped by an operator",
            remedy="resume it with: go2cloud server resume",
        )
