"""Orders to a running program: at the n-th time that it comes to a named point, a signal strikes it there.

The order is a small file that a test writes while the program runs, so that one program serves many faults.
The program takes it off as it obeys: started again, it is not struck again. Nothing of this is product code;
`seams.py` hangs the points into the product from outside.
"""

import os
import signal
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ORDER_FILE = "FAULT_ORDER"
"""The environment variable that names the file in which a program finds its orders."""


@dataclass(frozen=True)
class Order:
    """Strike with `signal` when `point` is reached for the `nth` time from now on."""

    point: str
    nth: int = 1
    signal: int = signal.SIGKILL

    def __str__(self) -> str:
        """One line, as it stands in the file."""
        return f"{self.point} {self.nth} {int(self.signal)}"

    @classmethod
    def parse(cls, text: str) -> "Order":
        """The order of a line."""
        point, nth, number = text.split()
        return cls(point, int(nth), int(number))


@dataclass(frozen=True)
class OrderBook:
    """The test's side of the file."""

    path: Path

    @property
    def environment(self) -> Mapping[str, str]:
        """What the program's environment needs."""
        return {ORDER_FILE: str(self.path)}

    def give(self, order: Order) -> None:
        """Give an order, in place of an earlier one."""
        draft = self.path.with_suffix(".draft")
        draft.write_text(str(order))
        draft.rename(self.path)

    def withdraw(self) -> None:
        """Take an order back that was not carried out."""
        self.path.unlink(missing_ok=True)

    @property
    def is_carried_out(self) -> bool:
        """Whether the program came to the point and was struck, or has no order."""
        return not self.path.exists()


class Obedience:
    """The program's side: counts how often it came to the point of its order."""

    def __init__(self, path: Path) -> None:
        """Look for orders in this file."""
        self._path = path
        self._lock = threading.Lock()
        self._order = ""
        self._count = 0

    def reach(self, point: str) -> None:
        """The program is at `point`; this may be its last call."""
        with self._lock:
            try:
                text = self._path.read_text()
            except FileNotFoundError:
                return
            if text != self._order:
                self._order, self._count = text, 0
            order = Order.parse(text)
            if order.point != point:
                return
            self._count += 1
            if self._count < order.nth:
                return
            self._path.unlink()
            self._order = ""
        os.kill(os.getpid(), order.signal)
