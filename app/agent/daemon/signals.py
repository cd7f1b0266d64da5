"""SIGTERM and SIGINT set the stop, from a thread of its own: a handler could interrupt any lock."""

import signal
import threading
from typing import Final

from app.agent.daemon.stopping import Stop

_SIGNALS: Final = frozenset({signal.SIGTERM, signal.SIGINT})


def watch(stop: Stop) -> None:
    """Set `stop` at the first of the signals. Call before any other thread is started."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    threading.Thread(target=_await, args=(stop,), name="signals", daemon=True).start()


def _await(stop: Stop) -> None:
    signal.sigwait(_SIGNALS)
    stop.set()
