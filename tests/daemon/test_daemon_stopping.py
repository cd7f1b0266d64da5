"""An order to run takes back a pause, and never the end of the agent."""

import pytest

from app.agent.daemon.stopping import Halt, Stop, Stopped


def test_passes_may_run_again_after_a_pause() -> None:
    halt = Halt(Stop())
    halt.set()
    halt.clear()
    halt.check()


def test_a_stop_that_comes_while_a_pause_is_taken_back_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal may come between any two steps; a pass of hours began then, and did not end."""
    stop = Stop()
    halt = Halt(stop)
    halt.set()
    clear = halt._event.clear

    def interrupted() -> None:
        stop.set()
        clear()

    monkeypatch.setattr(halt._event, "clear", interrupted)
    halt.clear()
    with pytest.raises(Stopped):
        halt.check()
