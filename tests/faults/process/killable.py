"""Starts the real service or the real agent with the named points of `seams.py` and `cutover_seams.py` in it.

python -m tests.faults.process.killable service|agent ARGUMENTS…
"""

import os
import sys
from pathlib import Path

from tests.faults.process import cutover_seams, seams
from tests.faults.process.ledger import LEDGER_FILE, Ledger
from tests.faults.process.orders import ORDER_FILE, Obedience

PACK_BYTES = 2 << 20
"""Where the service under fire seals a pack."""

ROOT = Path(__file__).parents[3]


def program(kind: str) -> tuple[str, ...]:
    """The command that starts a program under fire; its arguments follow."""
    return (sys.executable, "-m", "tests.faults.process.killable", kind)


def main() -> None:
    """Hang the points in and become the program."""
    kind = sys.argv.pop(1)
    reach = Obedience(Path(os.environ[ORDER_FILE])).reach
    if kind == "service":
        seams.hang_into_service(reach, PACK_BYTES)
        cutover_seams.hang_into_service(reach)
        from app.__main__ import main as become
    else:
        seams.hang_into_agent(reach, Ledger(Path(os.environ[LEDGER_FILE])))
        cutover_seams.hang_into_agent(reach)
        from app.agent.daemon.__main__ import main as become
    become()


if __name__ == "__main__":
    main()
