"""The real service with one more kind of job, whose steps leave a mark outside of the database.

python -m tests.cluster.marking ARGUMENTS…, with the folder of the marks in MARKS.
"""

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

from app.contract.words import Place
from app.kit.ids import new_id
from app.work.context import Context
from app.work.kinds import JobKind, Step

PROGRAM: Final = (sys.executable, "-m", "tests.cluster.marking")
MARKS: Final = "MARKS"
KIND: Final = "test.mark"
STEPS: Final = 2


async def mark(context: Context) -> str:
    """Make the step's effect unless it is there; its own name."""
    return await context.thread(_mark, Path(os.environ[MARKS]), context.key.replace("/", "-"))


def _mark(folder: Path, key: str) -> str:
    """A file that is named by the step's key, and holds a name that no other try gives."""
    made = new_id("mrk")
    draft, place = folder / f".{made}", folder / key
    draft.write_text(made)
    with suppress(FileExistsError):
        place.hardlink_to(draft)
    draft.unlink()
    return place.read_text()


def kind() -> JobKind:
    """A step in each place."""
    return JobKind(KIND, (Step("decide", Place.CONTROL, mark), Step("write", Place.VOLUMES, mark)))


def main() -> None:
    """Register the kind where the composition root takes its own, and become the service."""
    from app.__main__ import main as become
    from app.migration.launch import kinds
    from app.migration.services import Services

    own = kinds.launch_kinds

    def with_marks(services: Services) -> tuple[JobKind, ...]:
        return (*own(services), kind())

    kinds.launch_kinds = with_marks
    become()


if __name__ == "__main__":
    main()
