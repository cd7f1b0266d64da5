"""The hooks of the host's owner around a cut, and what to say of them."""

from collections.abc import Callable, Iterable

from app.agent.daemon.hooks import HookResult, Hooks


class OwnerHooks:
    """See `delta.Hooks`. A hook that fails is told and does not prevent the cut: its filesystems are a true
    point in time all the same, only its program did not prepare for it. `failure` is the last such."""

    def __init__(self, hooks: Hooks, note: Callable[[str], None]) -> None:
        self._hooks = hooks
        self._note = note
        self._begun: tuple[HookResult, ...] = ()
        self.failure = ""

    def before(self) -> None:
        """Run those for `pre-freeze`."""
        self._begun = self._hooks.before_freeze()
        self._tell(self._begun)

    def after(self) -> None:
        """Run those for `post-thaw` of what was begun."""
        self._tell(self._hooks.after_thaw(self._begun))
        self._begun = ()

    def _tell(self, results: Iterable[HookResult]) -> None:
        for result in results:
            if not result.has_succeeded:
                self.failure = str(result)
                self._note(str(result))
