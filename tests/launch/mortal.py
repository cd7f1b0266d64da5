"""A process that is killed at any of its effects: an exception that nothing handles, where it is named."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest


class Killed(BaseException):
    """The process ends here."""


class Mortal:
    """Kills whoever makes the effect number `last`, before or after it."""

    def __init__(self, last: int) -> None:
        self._last = last
        self._count = itertools.count()

    def watch(self, patch: pytest.MonkeyPatch, place: Any, name: str) -> None:
        patch.setattr(place, name, self._dying(getattr(place, name)))

    def _dying(self, effect: Callable[..., Any]) -> Callable[..., Any]:
        def dying(*args: Any, **kwargs: Any) -> Any:
            self._meet()
            result = effect(*args, **kwargs)
            self._meet()
            return result

        return dying

    def _meet(self) -> None:
        if next(self._count) == self._last:
            raise Killed
