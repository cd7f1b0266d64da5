"""The command as a process of its own, against a gateway on loopback; and its state directory."""

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from app.agent.daemon.errors import StateError
from app.agent.daemon.state import Enrolment, StateDir
from app.agent.daemon.version import VERSION
from app.wire.messages import Polled
from tests.daemon.fake_gateway import CREDENTIAL, REVERSE_TOKEN, TOKEN, FakeGateway

MIB = 1024 * 1024
Image = Callable[..., Path]
AGENT = (sys.executable, "-m", "app.agent.daemon")


def agent(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    parts = [*AGENT, *map(str, arguments)]
    return subprocess.run(parts, capture_output=True, text=True, timeout=60)


def enroll(gateway: FakeGateway, state: Path, *more: str | Path) -> subprocess.CompletedProcess[str]:
    return agent(
        "enroll", "--no-preflight", "--url", gateway.url, "--token", TOKEN, "--state-dir", state, *more
    )


def wait_for(claim: Callable[[], bool]) -> None:
    limit = time.monotonic() + 30
    while not claim():
        assert time.monotonic() < limit, "nothing happened for 30 seconds"
        time.sleep(0.05)


def test_enrol_run_status(gateway: FakeGateway, image: Image, tmp_path: Path) -> None:
    path, state = image("disk.img", 8 * MIB, (MIB, b"x" * MIB)), tmp_path / "state"
    done = enroll(gateway, state, "--disk", path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "(srv-1)" in done.stdout
    (message,) = gateway.enrolments
    assert [disk.path for disk in message.inventory.disks] == [str(path)]

    done = agent("run", "--once", "--state-dir", state)
    assert (done.returncode, done.stderr) == (0, "")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert {event["event"] for event in events} <= {"progress", "note", "summary"}
    (summary,) = [event for event in events if event["event"] == "summary"]
    assert summary["disks"][0]["root"] == gateway.commits[0].disks[0].root
    assert gateway.content(str(path)) == path.read_bytes()
    assert gateway.releases == 1
    assert {poll.instance for poll in gateway.polls} == {message.instance}

    told = json.loads(agent("status", "--json", "--state-dir", state).stdout)
    assert told["serverId"] == "srv-1"
    assert told["running"] is False
    assert told["lastPass"]["number"] == 1
    assert CREDENTIAL not in agent("status", "--state-dir", state).stdout


def test_the_state_is_for_its_owner_only(gateway: FakeGateway, image: Image, tmp_path: Path) -> None:
    state = tmp_path / "state"
    enroll(gateway, state, "--disk", image("disk.img", MIB))
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in state.iterdir()}
    assert modes == {"lock": 0o600, "instance": 0o600, "enrolment.json": 0o600}
    assert stat.S_IMODE(state.stat().st_mode) == 0o700


def test_an_enrolled_state_is_not_enrolled_again(gateway: FakeGateway, image: Image, tmp_path: Path) -> None:
    path, state = image("disk.img", MIB), tmp_path / "state"
    enroll(gateway, state, "--disk", path)
    done = enroll(gateway, state, "--disk", path)
    assert done.returncode == 1
    assert "ALREADY_ENROLLED" in done.stderr
    assert "--state-dir" in done.stderr
    assert len(gateway.enrolments) == 1


def test_a_launched_machine_sets_the_copy_of_the_source_state_aside(
    gateway: FakeGateway, image: Image, tmp_path: Path
) -> None:
    path, state = image("disk.img", MIB), tmp_path / "state"
    enroll(gateway, state, "--disk", path)
    (state / "hold.json").write_text("of the source")
    where = ("--no-preflight", "--url", gateway.url, "--state-dir", state, "--disk", path)
    wrong = agent("enroll", *where, "--token", "g2r_wrong")
    assert (wrong.returncode, (state / "hold.json").exists()) == (4, True)
    done = agent("enroll", *where, "--token", REVERSE_TOKEN)
    assert done.returncode == 0
    assert "its credential must not be used here" in done.stderr
    aside = tmp_path / "state.srv-1"
    assert (aside / "hold.json").read_text() == "of the source"
    assert sorted(each.name for each in state.iterdir()) == ["enrolment.json", "lock"]
    assert agent("run", "--once", "--state-dir", state).returncode == 0
    again = agent("enroll", *where, "--token", REVERSE_TOKEN)
    assert again.returncode == 1
    assert "it is there already" in again.stderr
    assert len(gateway.enrolments) == 2


def test_a_wrong_token_is_denied_in_one_line(gateway: FakeGateway, image: Image, tmp_path: Path) -> None:
    state, path = tmp_path / "state", image("disk.img", MIB)
    wrong = ("--url", gateway.url, "--token", "g2i_wrong", "--state-dir", state, "--disk", path)
    done = agent("enroll", *wrong)
    assert done.returncode == 4
    assert done.stderr == "go2cloud-agent: TOKEN_INVALID: the install token is unknown; make a new one\n"
    assert not (state / "enrolment.json").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("run", "--once"), 1, "NOT_ENROLLED"),
        (("status",), 1, "NOT_ENROLLED"),
        (("enroll", "--url", "http://192.0.2.1", "--token", "x"), 1, "PLAIN_HTTP_REFUSED"),
        (("enroll", "--url", "nonsense", "--token", "x"), 2, "USAGE"),
        (
            ("enroll", "--url", "http://127.0.0.1:9", "--token", "x", "--disk", "/nothing"),
            1,
            "DISK_NOT_FOUND",
        ),
        (
            ("enroll", "--url", "http://127.0.0.1:9", "--token", "x", "--disk", "/dev/null"),
            1,
            "DISK_NOT_FOUND",
        ),
        (("enroll", "--url", "http://127.0.0.1:9", "--token", "x", "--disk", __file__), 5, "UNREACHABLE"),
    ],
)
def test_failures_have_a_code_and_one_line(
    arguments: tuple[str, ...], code: int, words: str, tmp_path: Path
) -> None:
    done = agent(*arguments, "--state-dir", tmp_path / "state")
    assert done.returncode == code
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


def test_no_command_is_wrong_usage() -> None:
    assert agent().returncode == 2


def test_a_second_agent_of_the_same_server_is_named(
    gateway: FakeGateway, image: Image, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    enroll(gateway, state, "--disk", image("disk.img", MIB))
    gateway.faults.duplicate = True
    done = agent("run", "--once", "--state-dir", state)
    assert done.returncode == 1
    assert "DUPLICATE_AGENT" in done.stderr


def test_sigterm_ends_a_waiting_daemon_within_seconds(
    gateway: FakeGateway, image: Image, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    enroll(gateway, state, "--disk", image("disk.img", MIB, (0, b"first")))
    gateway.polled = Polled("none", 1, 3600)
    process = subprocess.Popen([*AGENT, "run", "--state-dir", str(state)], stdout=subprocess.PIPE, text=True)
    wait_for(lambda: len(gateway.commits) == 1)
    assert json.loads(agent("status", "--json", "--state-dir", state).stdout)["running"] is True
    second = agent("run", "--once", "--state-dir", state)
    assert (second.returncode, "STATE_IN_USE" in second.stderr) == (1, True)
    gateway.polled = Polled("sync", 1, 3600)
    wait_for(lambda: len(gateway.commits) >= 2)
    gateway.polled = Polled("none", 1, 3600)
    started = time.monotonic()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 0
    assert time.monotonic() - started < 5
    assert gateway.releases == 1


def test_a_daemon_syncs_at_its_interval_and_outlives_failures(
    gateway: FakeGateway, image: Image, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    enroll(gateway, state, "--disk", image("disk.img", MIB, (0, b"first")))
    gateway.polled = Polled("none", 1, 5)
    gateway.faults.busy_answers = 1
    process = subprocess.Popen([*AGENT, "run", "--state-dir", str(state)], stdout=subprocess.PIPE, text=True)
    wait_for(lambda: len(gateway.commits) >= 3)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 0


def test_a_daemon_ends_when_it_is_denied_again_and_again(
    gateway: FakeGateway, image: Image, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    enroll(gateway, state, "--disk", image("disk.img", MIB))
    kept = state / "enrolment.json"
    kept.write_text(kept.read_text().replace(CREDENTIAL, "revoked"))
    done = agent("run", "--state-dir", state)
    assert (done.returncode, "CREDENTIAL_INVALID" in done.stderr) == (4, True)


def test_the_agent_runs_at_low_priority(gateway: FakeGateway, image: Image, tmp_path: Path) -> None:
    state = tmp_path / "state"
    enroll(gateway, state, "--disk", image("disk.img", MIB))
    gateway.polled = Polled("none", 1, 3600)
    process = subprocess.Popen([*AGENT, "run", "--state-dir", str(state)], stdout=subprocess.DEVNULL)
    wait_for(lambda: len(gateway.commits) == 1)
    assert os.getpriority(os.PRIO_PROCESS, process.pid) == 10
    told = subprocess.run(["ionice", "-p", str(process.pid)], capture_output=True, text=True).stdout
    assert told.strip() == "best-effort: prio 7"
    process.terminate()
    assert process.wait(30) == 0


def test_the_agent_needs_less_than_200_mb_whatever_the_number_of_disks(
    gateway: FakeGateway, image: Image, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    paths = [image(f"disk{n}.img", 90 * MIB, (0, os.urandom(80 * MIB))) for n in range(5)]
    enroll(gateway, state, *(part for path in paths for part in ("--disk", path)))
    code = (
        "import io, pathlib, app.agent.daemon.cli as cli\n"
        f"arguments = ['run', '--once', '--state-dir', {str(state)!r}]\n"
        "assert cli.run(arguments, cli.Streams(io.StringIO(), io.StringIO())) == 0\n"
        "lines = pathlib.Path('/proc/self/status').read_text().splitlines()\n"
        "print(next(line.split()[1] for line in lines if line.startswith('VmHWM')))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr == ""
    assert int(done.stdout) * 1024 < 200_000_000


def test_a_pass_that_cannot_be_noted_is_good_all_the_same(
    gateway: FakeGateway, image: Image, tmp_path: Path
) -> None:
    """Else a host whose disk is full would take each of its commits for failures, and come ever later."""
    state = tmp_path / "state"
    enroll(gateway, state, "--disk", image("disk.img", MIB))
    (state / "last-pass.json.new").mkdir()
    done = agent("run", "--once", "--state-dir", state)
    assert (done.returncode, len(gateway.commits)) == (0, 1)
    assert "last-pass.json cannot be written" in done.stdout


@pytest.mark.root
def test_a_hook_is_not_ended_while_something_is_frozen_still(
    gateway: FakeGateway, image: Image, tmp_path: Path
) -> None:
    """It would write there, and wait for good: the agent with it."""
    state, log, hook = tmp_path / "state", tmp_path / "log", tmp_path / "hooks.d" / "app"
    hook.parent.mkdir(mode=0o755)
    hook.write_text(f"#!/bin/sh\necho $1 >> {log}\n")
    hook.chmod(0o755)
    enroll(gateway, state, "--disk", image("disk.img", MIB))
    mark = StateDir(state).run_dir / "hooks-1"
    mark.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    mark.write_bytes(b"%s\0app\0" % os.fsencode(hook.parent))
    code = (
        "import errno, io, app.agent.daemon.cli as cli\n"
        "from app.agent.daemon.freezer.rescue import Rescued\n"
        "cli.thaw_left_frozen = lambda _: (Rescued('8:1', '/data', errno.EIO),)\n"
        f"arguments = ['run', '--once', '--state-dir', {str(state)!r}]\n"
        "assert cli.run(arguments, cli.Streams(io.StringIO(), io.StringIO())) == 0\n"
    )
    try:
        subprocess.run([sys.executable, "-c", code], check=True)
        assert (log.exists(), mark.exists()) == (False, True)
    finally:
        shutil.rmtree(mark.parent)


def test_a_copied_state_directory_is_another_instance(tmp_path: Path) -> None:
    with StateDir(tmp_path / "one") as state:
        first, again = state.instance_id(), state.instance_id()
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    with StateDir(tmp_path / "two") as state:
        assert first == again != state.instance_id()


def test_a_damaged_state_is_named(tmp_path: Path) -> None:
    with StateDir(tmp_path) as state:
        state.save_enrolment(Enrolment("https://x", "srv-1", "n", "c"))
        assert state.require_enrolment().server_id == "srv-1"
        (tmp_path / "enrolment.json").write_text('{"url": 7}')
        with pytest.raises(StateError) as caught:
            state.enrolment()
    assert caught.value.code == "STATE_DAMAGED"


def test_the_daemon_imports_nothing_that_a_foreign_host_lacks() -> None:
    code = (
        "import sys, app.agent.daemon.__main__\n"
        "allowed = sys.stdlib_module_names | {'app', 'blake3', 'xxhash', 'zstandard', '_cffi_backend'}\n"
        "tops = {name.split('.')[0] for name in sys.modules}\n"
        "apart = ('app.agent', 'app.wire')\n"
        "ours = {n for n in sys.modules if n.startswith('app.') and not n.startswith(apart)}\n"
        "print(sorted(ours | {t for t in tops - allowed if not t.startswith('_')}))\n"
    )
    done = subprocess.run([sys.executable, "-S", "-c", SITE + code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")


SITE = f"import sys; sys.path[:0] = {[path for path in sys.path if path]!r}\n"


def test_the_agent_has_the_version_of_the_project() -> None:
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    assert f'\nversion = "{VERSION}"\n' in text
