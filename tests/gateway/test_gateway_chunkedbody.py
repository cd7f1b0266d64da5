"""The chunked coding of HTTP: taken apart however it is cut, and read as a parser of the field reads it."""

from itertools import pairwise

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.agent.gateway.chunkedbody import ChunkedBody, ChunkingError

HEAD = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
PIECES = st.lists(st.binary(min_size=1, max_size=300), max_size=5)
EXTENSIONS = st.sampled_from([b"", b";name", b";name=value", b' ;a="b;c"', b"\t; x"])
TRAILERS = st.lists(st.sampled_from([b"X-Sum: 1\r\n", b"A:\r\n"]), max_size=2)


def chunked(pieces: list[bytes], extension: bytes = b"", trailers: list[bytes] | None = None) -> bytes:
    """The pieces as one chunk each."""
    body = b"".join(b"%X%b\r\n%b\r\n" % (len(piece), extension, piece) for piece in pieces)
    return body + b"0\r\n" + b"".join(trailers or []) + b"\r\n"


def read(*parts: bytes) -> tuple[bytes, bytes, bool]:
    """The data, what follows the body, and whether it ended."""
    body, data, rest = ChunkedBody(), b"", b""
    for part in parts:
        view = memoryview(part)
        while view.nbytes and not body.ended:
            if body.left:
                taken = view[: body.left]
                body.took(taken.nbytes)
                data, view = data + bytes(taken), view[taken.nbytes :]
            else:
                view = body.take_line(view)
        rest += bytes(view)
    return data, rest, body.ended


class Parsed:
    """What httptools makes of a request with this body."""

    def __init__(self, body: bytes) -> None:
        self.data = b""
        self.is_complete = False
        self.is_refused = False
        parser = httptools.HttpRequestParser(self)
        try:
            parser.feed_data(HEAD + body)
        except httptools.HttpParserError:
            self.is_refused = True

    def on_body(self, body: bytes) -> None:
        """Data of the body."""
        self.data += body

    def on_message_complete(self) -> None:
        """The body's end."""
        self.is_complete = True


@given(PIECES, EXTENSIONS, TRAILERS, st.lists(st.integers(0, 2000), max_size=12), st.binary(max_size=9))
def test_any_split_gives_the_same_data_and_rest(
    pieces: list[bytes], extension: bytes, trailers: list[bytes], cuts: list[int], behind: bytes
) -> None:
    stream = chunked(pieces, extension, trailers) + behind
    places = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    assert read(*(stream[low:high] for low, high in pairwise(places))) == (b"".join(pieces), behind, True)


@given(PIECES, st.integers(0, 2000))
def test_a_body_that_is_cut_off_has_not_ended(pieces: list[bytes], cut: int) -> None:
    stream = chunked(pieces)
    assert not read(stream[: cut % len(stream)])[2]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"\r\n", "hexadecimal"),
        (b"x\r\n", "hexadecimal"),
        (b"-1\r\n", "hexadecimal"),
        (b"+1\r\n", "hexadecimal"),
        (b"0x1\r\n", "hexadecimal"),
        (b"1_0\r\n", "hexadecimal"),
        (b" 1\r\n", "hexadecimal"),
        (b"1 \r\n", "hexadecimal"),
        (b"123456789\r\n", "hexadecimal"),
        (b"\xd9\xa1\r\n", "hexadecimal"),
        (b"1;a\rb\r\n", "hexadecimal"),
        (b"1\nx\r\n", "does not end"),
        (b"1\r\nxy\r\n", "longer than its size"),
        (b"1\r\nx\n", "does not end"),
        (b"1" * 1025, "too long"),
        (b"1;" + b"e" * 1030 + b"\r\n", "too long"),
        (b"0\r\n" + b"t" * 1025, "too long"),
        (b"0\r\nX: y\n", "does not end"),
    ],
)
def test_what_is_not_chunked_is_refused_in_any_pieces(body: bytes, says: str) -> None:
    with pytest.raises(ChunkingError, match=says):
        read(body)
    with pytest.raises(ChunkingError, match=says):
        read(*(body[at : at + 1] for at in range(len(body))))


@given(PIECES, st.data())
def test_what_a_parser_of_the_field_takes_too_it_takes_for_the_same(
    pieces: list[bytes], data: st.DataObject
) -> None:
    stream = bytearray(chunked(pieces))
    for _ in range(data.draw(st.integers(0, 2))):
        place = data.draw(st.integers(0, len(stream) - 1))
        stream[place : place + data.draw(st.integers(0, 2))] = data.draw(
            st.sampled_from([b"", b"\r", b"\n", b"0", b";"])
        )
    try:
        found, rest, ended = read(bytes(stream))
    except ChunkingError:
        return
    theirs = Parsed(bytes(stream))
    if not rest and not theirs.is_refused:
        assert (theirs.is_complete, theirs.data) == (ended, found)
