"""What happens around a cut: the hooks of the host's owner, and other work that pauses."""

from collections.abc import Callable, Iterable
from typing import Protocol

from app.agent.daemon.hooks import HookResult, Hooks


class Pausing(Protocol):
    """Work beside the passes that must not disturb a cut."""

    def pause(self) -> bool:
        """Do nothing until `resume`."""

    def resume(self) -> None:
        """Go on."""


class OwnerHooks:
    """See `delta.Hooks`. A hook that fails is told and does not prevent the cut: its filesystems are a true
    point in time all the same, only its program did not prepare for it. `failure` is the last such; whoever
    begins a pass empties it."""

    def __init__(self, hooks: Hooks, note: Callable[[str], None], pausing: Pausing | None = None) -> None:
        self._hooks = hooks
        self._note = note
        self._pausing = pausing
        self._has_paused = False
        self._begun: tuple[HookResult, ...] = ()
        self.failure = ""

    def before(self) -> None:
        """Run those for `pre-freeze`."""
        if self._pausing is not None:
            self._pausing.pause()
            self._has_paused = True
        self._begun = self._hooks.before_freeze()
        self._tell(self._begun)

    def after(self) -> None:
        """Run those for `post-thaw` of what was begun, and let the other work go on."""
        begun, self._begun = self._begun, ()
        try:
            self._tell(self._hooks.after_thaw(begun))
        finally:
            if self._pausing is not None and self._has_paused:
                self._pausing.resume()
            self._has_paused = False

    def _tell(self, results: Iterable[HookResult]) -> None:
        for result in results:
            if not result.has_succeeded:
                self.failure = str(result)
                self._note(str(result))
