"""The stream that rbd takes and gives, by its documented bytes; what is cut off or strange is refused."""

import io

import pytest

from app.launch.errors import ToolFailed
from app.launch.rbd.command import RbdCommand
from app.launch.rbd.diff import END, Extent, data_header, header, read_diff, zeros
from app.launch.rbd.note import ImageNote
from app.launch.rbd.settings import RbdSettings

DIFF = header(8192, "chk-2", "chk-1") + data_header(0, 3) + b"abc" + zeros(4096, 4096) + END


def test_the_bytes_are_those_of_the_format() -> None:
    assert header(8192, "b", "a") == (b"rbd diff v1\nf\x01\0\0\0at\x01\0\0\0bs\x00\x20\0\0\0\0\0\0")
    assert data_header(1, 2) == b"w\x01\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0"


def test_what_is_written_is_read() -> None:
    assert list(read_diff(io.BytesIO(DIFF), 8192)) == [Extent(0, 3, b"abc"), Extent(4096, 4096, None)]


@pytest.mark.parametrize("length", range(0, len(DIFF), 5))
def test_a_diff_that_was_cut_off_is_refused(length: int) -> None:
    with pytest.raises(ToolFailed):
        list(read_diff(io.BytesIO(DIFF[:length]), 8192))


@pytest.mark.parametrize("wrong", [b"x" + bytes(16), data_header(0, 1 << 40)])
def test_a_strange_record_is_refused(wrong: bytes) -> None:
    with pytest.raises(ToolFailed):
        list(read_diff(io.BytesIO(header(8192, "chk-2") + wrong + END), 8192))


def test_an_image_of_another_size_is_refused() -> None:
    with pytest.raises(ToolFailed, match="8192 bytes"):
        list(read_diff(io.BytesIO(DIFF), 8193))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"owner": "x", "state": "NONE"}', "null"])
def test_a_note_of_somebody_else_is_none(text: str) -> None:
    assert ImageNote.decode(text) is None


@pytest.mark.parametrize(
    ("code", "said", "named"),
    [
        (2, "rbd: error opening pool 'p': (2) No such file or directory", "CEPH_REFUSED"),
        (13, "rbd: couldn't connect to the cluster!", "CEPH_REFUSED"),
        (110, "rbd: couldn't connect to the cluster!", "CEPH_UNREACHABLE"),
        (108, "rbd: import-diff failed: (108) Cannot send after transport endpoint shutdown", "VOLUME_BUSY"),
        (122, "rbd: import-diff failed: (122) Disk quota exceeded", "NODE_STORAGE_SHORT"),
        (22, "start snapshot 'chk-1' does not exist in the image, aborting", "TOOL_FAILED"),
    ],
)
def test_errors_of_rbd_have_names(code: int, said: str, named: str) -> None:
    assert RbdCommand(RbdSettings("p", "tgt-1")).failed("ls", code, said).code == named
