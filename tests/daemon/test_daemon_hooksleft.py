"""Hooks whose agent was killed have their `post-thaw` from the next one, once, and in order."""

import subprocess
import sys
from pathlib import Path

from app.agent.daemon.hookmark import HookMark
from app.agent.daemon.hooks import Hooks
from app.agent.daemon.hooksleft import finish_left
from tests.daemon.live_disks import wait_for

AGENT = """
import sys, time
from pathlib import Path
from app.agent.daemon.hookmark import HookMark
from app.agent.daemon.hooks import Hooks
Hooks(Path(sys.argv[1]), mark=HookMark(Path(sys.argv[2]))).before_freeze()
print("begun", flush=True)
time.sleep(600)
"""


def hook(directory: Path, name: str, body: str) -> Path:
    directory.mkdir(mode=0o755, exist_ok=True)
    path = directory / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def agent(hooks: Path, run: Path) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", AGENT, hooks, run], stdout=subprocess.PIPE)


def test_only_what_a_killed_agent_began_is_ended_and_once(tmp_path: Path) -> None:
    hooks, run, log = tmp_path / "hooks.d", tmp_path / "run", tmp_path / "log"
    hook(hooks, "1", f"echo 1 $1 >> {log}")
    hook(hooks, "2", f"echo 2 $1 >> {log}; [ $1 = post-thaw ]")
    hook(hooks, "3", f"echo 3 $1 >> {log}")
    with agent(hooks, run) as process:
        assert process.stdout
        process.stdout.readline()
        assert finish_left(run) == (), "a live agent ends its hooks by itself"
        process.kill()
    results = finish_left(run)
    assert [(result.name, result.exit_code) for result in results] == [("1", 0), ("2", 0)]
    assert log.read_text().splitlines() == ["1 pre-freeze", "2 pre-freeze", "1 post-thaw", "2 post-thaw"]
    assert (finish_left(run), list(run.iterdir())) == ((), [])


def test_a_hook_that_still_prepares_is_waited_for_and_killed_at_its_limit(tmp_path: Path) -> None:
    """Else its end came before its beginning."""
    hooks, run, log = tmp_path / "hooks.d", tmp_path / "run", tmp_path / "log"
    first = "echo $1 >> {log}; [ $1 = post-thaw ] || sleep {seconds}; echo over >> {log}"
    for seconds, limit, said in ((1, 60, ["over"]), (600, 1, [])):
        log.unlink(missing_ok=True)
        hook(hooks, "1", first.format(log=log, seconds=seconds))
        with agent(hooks, run) as process:
            wait_for(log.exists, "the hook runs")
            process.kill()
        assert [result.has_succeeded for result in finish_left(run, float(limit))] == [True]
        assert log.read_text().split() == ["pre-freeze", *said, "post-thaw", "over"]


def test_a_hook_that_is_gone_is_told(tmp_path: Path) -> None:
    hooks, run = tmp_path / "hooks.d", tmp_path / "run"
    program = hook(hooks, "1", "true")
    with agent(hooks, run) as process:
        assert process.stdout
        process.stdout.readline()
        process.kill()
    program.unlink()
    (result,) = finish_left(run)
    assert "hook 1 is not run: it is no program in" in str(result)


def test_hooks_that_had_their_end_leave_no_mark(tmp_path: Path) -> None:
    hooks, run = tmp_path / "hooks.d", tmp_path / "run"
    hook(hooks, "1", "true")
    made = Hooks(hooks, mark=HookMark(run))
    for _ in range(2):
        before = made.before_freeze()
        assert len(list(run.iterdir())) == 1
        made.after_thaw(before)
        assert list(run.iterdir()) == []


def test_a_hook_that_cannot_be_marked_is_not_run(tmp_path: Path) -> None:
    hooks, run, log = tmp_path / "hooks.d", tmp_path / "run", tmp_path / "log"
    hook(hooks, "1", f"echo $1 >> {log}")
    run.write_text("a file is in the way")
    (result,) = Hooks(hooks, mark=HookMark(run)).before_freeze()
    assert "hook 1 is not run: it cannot be marked as begun" in str(result)
    assert not log.exists()
