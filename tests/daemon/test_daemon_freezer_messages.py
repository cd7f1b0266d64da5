"""What daemon and freezer tell each other, the note for the rescue, and how the process is started."""

import struct
import sys
from pathlib import Path

import pytest

from app.agent.daemon.disk.standing import Standing
from app.agent.daemon.errors import FreezeError
from app.agent.daemon.freezer.client import Freezer
from app.agent.daemon.freezer.command import freezer_command
from app.agent.daemon.freezer.note import Note, notes_in
from app.agent.daemon.freezer.protocol import (
    ANSWER_BYTES,
    REQUEST_BYTES,
    Answer,
    Fate,
    Kind,
    Op,
    Reason,
    Request,
)
from app.agent.daemon.freezer.rescue import Rescued, thaw_left_frozen
from app.agent.daemon.freezer.results import Outcome, Thawed
from tests.daemon.disk_images import run

STANDING = Standing("ext4", "8:1", ("8:1",), Path("/"), 1, "/", False, 0, frozenset({"disk"}))


def test_messages_have_one_size_and_come_back() -> None:
    request = Request(Op.FREEZE, 259, 1 << 19, 2.0, 10.0, 3)
    answer = Answer(Kind.DONE, Reason.BUDGET, 65535, -5, 1.5, 0.25)
    assert (len(request.packed()), len(answer.packed())) == (REQUEST_BYTES, ANSWER_BYTES) == (28, 24)
    assert Request.unpacked(request.packed()) == request
    assert Answer.unpacked(answer.packed()) == answer


@pytest.mark.parametrize("message", [b"", b"\0" * 28, b"\xff" * 28, b"\x01" * 27])
def test_what_is_no_request_is_refused(message: bytes) -> None:
    with pytest.raises((ValueError, struct.error)):
        Request.unpacked(message)


def test_a_note_is_live_as_long_as_its_writer_is(tmp_path: Path) -> None:
    note = Note(tmp_path / "run")
    note.write(["7:1", "259:0"])
    (found,) = notes_in(tmp_path / "run")
    assert (found.numbers, found.is_live) == (("7:1", "259:0"), True)
    assert found.path.stat().st_mode & 0o777 == 0o600
    note.remove()
    note.remove()
    assert list(notes_in(tmp_path / "run")) == []


def test_a_stale_note_of_what_is_mounted_no_more_is_removed(tmp_path: Path) -> None:
    (tmp_path / "frozen-1").write_text("4095:1048575\n")
    assert thaw_left_frozen(tmp_path) == (Rescued("4095:1048575", "", 2),)
    assert str(Rescued("4095:1048575", "", 2)) == "4095:1048575 is not mounted any more"
    assert list(tmp_path.iterdir()) == []
    assert thaw_left_frozen(tmp_path / "none") == ()


@pytest.mark.parametrize(
    ("thawed", "was_held"),
    [
        (Thawed((Outcome(STANDING, Fate.THAWED), Outcome(STANDING, Fate.SYNCED)), 1.0), True),
        (Thawed((Outcome(STANDING, Fate.THAWED), Outcome(STANDING, Fate.STRANGER, 22)), 1.0), False),
        (Thawed((Outcome(STANDING, Fate.STUCK, 5),), 1.0), False),
        (Thawed((Outcome(STANDING, Fate.THAWED),), 1.0, timer_fired=True), False),
        (Thawed((Outcome(STANDING, Fate.THAWED),), 1.0, freezer_died=True), False),
    ],
)
def test_a_cut_is_held_only_if_every_thaw_was_the_asked_one(thawed: Thawed, was_held: bool) -> None:
    assert thawed.was_held is was_held


@pytest.mark.parametrize("fate", Fate)
def test_every_fate_has_words(fate: Fate) -> None:
    assert str(Outcome(STANDING, fate)).startswith("ext4 at / ")


def test_the_process_is_python_or_the_agent_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    own = freezer_command(5, Path("/run/x"))
    assert own == [sys.executable, "-B", "-m", "app.agent.daemon.freezer", "5", "/run/x"]
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    assert freezer_command(5, Path("/run/x")) == [sys.executable, "freezer", "5", "/run/x"]


def test_the_agent_itself_can_be_the_freezer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def command(fd: int, directory: Path) -> list[str]:
        return [sys.executable, "-m", "app.agent.daemon", "freezer", str(fd), str(directory)]

    monkeypatch.setattr("app.agent.daemon.freezer.client.freezer_command", command)
    freezer = Freezer(tmp_path)
    freezer.start()
    freezer.prepare(())
    assert freezer.freeze(10.0).outcomes == ()
    assert freezer.thaw().was_held
    freezer.close()
    assert freezer.pid == 0


@pytest.mark.parametrize("program", ["/bin/false", "/no/such/program"])
def test_a_freezer_that_does_not_start_is_told(
    program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.agent.daemon.freezer.client.freezer_command", lambda *_: [program])
    freezer = Freezer(tmp_path)
    with pytest.raises(FreezeError, match="the freezer's process") as raised:
        freezer.start()
    assert raised.value.code == "FREEZER_DIED"
    with pytest.raises(FreezeError, match="it is not running"):
        freezer.prepare(())
    freezer.close()


def test_without_a_place_for_the_note_nothing_is_frozen(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    freezer = Freezer(tmp_path / "file")
    freezer.start()
    freezer.prepare(())
    with pytest.raises(FreezeError, match="the note of what is frozen cannot be written: File exists"):
        freezer.freeze(10.0)
    freezer.close()


def test_the_freezer_loads_little() -> None:
    """All that it loads stays locked in memory."""
    script = "import app.agent.daemon.freezer.__main__, sys; print(*sys.modules)"
    loaded = run(sys.executable, "-c", script).split()
    ours = {name for name in loaded if name.startswith("app.")}
    assert "blake3" not in loaded
    assert not {name for name in ours if "freezer" not in name} - {
        "app.agent",
        "app.agent.daemon",
        "app.agent.daemon.priority",
    }
