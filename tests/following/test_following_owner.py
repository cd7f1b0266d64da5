"""Whatever goes wrong around a cut, the owner's programs are told of its end and other work goes on."""

from pathlib import Path

import pytest

from app.agent.daemon.following.owner import OwnerHooks
from app.agent.daemon.hooks import Hooks

FIRST = """#!/bin/sh
echo "first $1" >> {log}
rm -f {second}
"""


class Work:
    """Other work; `depth` is how many times it was told to pause."""

    def __init__(self) -> None:
        self.depth = 0

    def pause(self) -> bool:
        """Pause."""
        self.depth += 1
        return True

    def resume(self) -> None:
        """Go on."""
        self.depth -= 1


def hook(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o700)


def test_a_hook_that_vanishes_while_hooks_are_run_leaves_no_other_one_without_its_end(tmp_path: Path) -> None:
    """A database that was told to hold its files still would do so for ever."""
    folder, log, notes, work = tmp_path / "hooks", tmp_path / "log", list[str](), Work()
    folder.mkdir()
    hook(folder / "1", FIRST.format(log=log, second=folder / "2"))
    hook(folder / "2", "#!/bin/sh\n")
    owner = OwnerHooks(Hooks(folder), notes.append, work)
    owner.before()
    assert work.depth == 1
    owner.after()
    assert (log.read_text().splitlines(), work.depth) == (["first pre-freeze", "first post-thaw"], 0)
    assert "hook 2 is not run" in owner.failure


def test_other_work_goes_on_where_nobody_can_be_told_of_a_hook(tmp_path: Path) -> None:
    def note(_text: str) -> None:
        raise BrokenPipeError

    folder, log, work = tmp_path / "hooks", tmp_path / "log", Work()
    folder.mkdir()
    hook(folder / "1", f"#!/bin/sh\necho $1 >> {log}\nexit 1\n")
    owner = OwnerHooks(Hooks(folder), note, work)
    with pytest.raises(BrokenPipeError):
        owner.before()
    with pytest.raises(BrokenPipeError):
        owner.after()
    assert (log.read_text().split(), work.depth) == (["pre-freeze", "post-thaw"], 0)
    owner.after()
    assert work.depth == 0, "an end without a beginning resumes nothing"
