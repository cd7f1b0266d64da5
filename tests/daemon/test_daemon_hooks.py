"""The owner's hooks run in order and in time, and only if nobody else could have written them."""

import os
from pathlib import Path

import pytest

from app.agent.daemon.hooks import OUTPUT_BYTES, HookResult, Hooks, Phase
from tests.daemon.live_disks import wait_for


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    made = tmp_path / "hooks.d"
    made.mkdir(mode=0o755)
    return made


def hook(directory: Path, name: str, body: str, mode: int = 0o755) -> Path:
    path = directory / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(mode)
    return path


def test_hooks_run_in_the_order_of_their_names_and_know_the_phase(directory: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    for name in ("20-b", "10-a", "30-c"):
        hook(directory, name, f'echo "{name} $1 $GO2CLOUD_PHASE" >> {log}; echo said by {name}')
    hook(directory, "README", "exit 1", 0o644)
    hook(directory, ".hidden", "exit 1")
    hook(directory, "10-a~", "exit 1")
    (directory / "folder").mkdir()
    hooks = Hooks(directory)
    before = hooks.before_freeze()
    assert [result.name for result in before] == ["10-a", "20-b", "30-c"]
    assert all(result.has_succeeded and not result.timed_out for result in before)
    assert before[0].output == "said by 10-a\n"
    after = hooks.after_thaw(before)
    assert log.read_text().splitlines() == [
        *(f"{name} pre-freeze pre-freeze" for name in ("10-a", "20-b", "30-c")),
        *(f"{name} post-thaw post-thaw" for name in ("10-a", "20-b", "30-c")),
    ]
    assert {result.phase for result in after} == {Phase.POST_THAW}


def test_a_failing_hook_stops_the_row_and_is_undone_with_those_before_it(directory: Path) -> None:
    hook(directory, "1", "true")
    hook(directory, "2", "[ $1 = post-thaw ] || exit 3")
    hook(directory, "3", "true")
    hooks = Hooks(directory)
    before = hooks.before_freeze()
    assert [(result.name, result.exit_code) for result in before] == [("1", 0), ("2", 3)]
    assert not before[-1].has_succeeded
    assert str(before[-1]).startswith("hook 2 pre-freeze ended with 3 after ")
    assert [(result.name, result.exit_code) for result in hooks.after_thaw(before)] == [("1", 0), ("2", 0)]


def is_gone(pid_file: Path) -> bool:
    """Whether the process of this pid has ended; it may wait for a parent that never collects it."""
    try:
        return Path(f"/proc/{int(pid_file.read_text())}/stat").read_text().split(") ")[1][0] == "Z"
    except FileNotFoundError:
        return True


def test_a_hook_that_overruns_is_killed_with_its_children(directory: Path, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    hook(directory, "1", f"echo begun; sleep 600 & echo $! > {pid}; wait")
    (result,) = Hooks(directory, limit=1.0).before_freeze()
    assert (result.timed_out, result.exit_code, result.output) == (True, -9, "begun\n")
    assert not result.has_succeeded
    wait_for(lambda: is_gone(pid), "a child of the hook lives on")


def test_a_hook_may_start_a_service_that_keeps_its_output_open(directory: Path, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    hook(directory, "1", f"setsid sleep 600 & echo $! > {pid}; echo started")
    (result,) = Hooks(directory, limit=60.0).before_freeze()
    assert (result.has_succeeded, result.output) == (True, "started\n")
    assert not is_gone(pid)
    os.kill(int(pid.read_text()), 9)


def test_output_is_bounded_and_its_end_is_kept(directory: Path) -> None:
    hook(directory, "1", "head -c 1000000 /dev/zero | tr '\\0' x; echo; echo the end >&2")
    (result,) = Hooks(directory).before_freeze()
    assert len(result.output) == OUTPUT_BYTES
    assert result.output.endswith("x\nthe end\n")


def test_hooks_that_close_their_output_are_waited_for(directory: Path, tmp_path: Path) -> None:
    hook(directory, "1", f"exec >&- 2>&-; sleep 0.5; touch {tmp_path}/done")
    (result,) = Hooks(directory).before_freeze()
    assert result.has_succeeded
    assert (tmp_path / "done").exists()


@pytest.mark.parametrize("mode", [0o775, 0o757])
def test_what_others_can_write_is_not_run(mode: int, directory: Path, tmp_path: Path) -> None:
    path = hook(directory, "1", f"touch {tmp_path}/ran", mode)
    hook(directory, "2", "true")
    refused, run = Hooks(directory).before_freeze()
    assert (refused.was_run, refused.has_succeeded, run.has_succeeded) == (False, False, True)
    assert str(refused) == (
        f"hook 1 is not run: {path} can be written by others than its owner: chmod go-w {path}"
    )
    assert not (tmp_path / "ran").exists()
    assert [result.name for result in Hooks(directory).after_thaw((refused, run))] == ["2"]


def test_a_directory_that_others_can_write_has_no_hooks(directory: Path) -> None:
    hook(directory, "1", "true")
    directory.chmod(0o777)
    (result,) = Hooks(directory).before_freeze()
    assert f"{directory} can be written by others" in result.refused


@pytest.mark.root
def test_what_belongs_to_another_user_is_not_run(directory: Path) -> None:
    os.chown(hook(directory, "1", "true"), 12345, 0)
    (result,) = Hooks(directory).before_freeze()
    assert "belongs to user 12345: it must belong to root" in result.refused


def test_what_cannot_be_started_is_told(directory: Path) -> None:
    path = directory / "1"
    path.write_bytes(b"no program")
    path.chmod(0o755)
    (result,) = Hooks(directory).before_freeze()
    assert result == HookResult(
        "1", Phase.PRE_FREEZE, None, refused="it cannot be started: Exec format error"
    )


def test_without_a_directory_there_are_no_hooks(tmp_path: Path) -> None:
    assert Hooks(tmp_path / "none").before_freeze() == ()
    assert Hooks(tmp_path / "none").after_thaw(()) == ()
