"""Pictures of a console: read, judged, written as PNG."""

import struct
import zlib

import pytest

from app.launch.boot.screen import Picture


def screen(width: int = 720, height: int = 400, letters: int = 0) -> Picture:
    """A black screen with so many letters of 8 × 8 pixels on it."""
    pixels = bytearray(width * height * 3)
    for letter in range(letters):
        for y in range(8):
            at = ((letter // 80 * 16 + y) * width + letter % 80 * 9) * 3
            pixels[at : at + 24] = b"\xaa" * 24
    return Picture(width, height, bytes(pixels))


def unpacked(png: bytes) -> tuple[int, int, bytes]:
    """Width, height and pixels of a PNG whose rows have no filter; every checksum is verified."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    parts, at = {}, 8
    while at < len(png):
        (length,) = struct.unpack_from(">I", png, at)
        kind, data = png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        assert struct.unpack_from(">I", png, at + 8 + length)[0] == zlib.crc32(kind + data)
        parts[kind] = data
        at += length + 12
    width, height = struct.unpack_from(">II", parts[b"IHDR"])
    raw, row = zlib.decompress(parts[b"IDAT"]), width * 3 + 1
    assert {raw[at] for at in range(0, len(raw), row)} == {0}
    return width, height, b"".join(raw[at + 1 : at + row] for at in range(0, len(raw), row))


def test_a_ppm_is_read_and_its_png_has_the_same_pixels() -> None:
    pixels = bytes(range(18))
    picture = Picture.of_ppm(b"P6\n3 2\n255\n" + pixels)
    assert (picture.width, picture.height, picture.pixels) == (3, 2, pixels)
    assert unpacked(picture.png()) == (3, 2, pixels)


@pytest.mark.parametrize("data", [b"", b"P5\n1 1\n255\n\0", b"P6\n2 2\n255\n\0\0\0", b"P6\n0 0\n255\n"])
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="picture"):
        Picture.of_ppm(data)


@pytest.mark.parametrize(("letters", "blank"), [(0, True), (1, True), (25, False), (2000, False)])
def test_a_cursor_is_blank_and_a_line_of_text_is_not(letters: int, blank: bool) -> None:
    assert screen(letters=letters).blank is blank


def test_a_blank_screen_need_not_be_black() -> None:
    assert Picture(100, 100, b"\x20\x40\x60" * 10_000).blank


def test_a_thumbnail_keeps_thin_strokes() -> None:
    whole = screen(1280, 800, letters=40)
    small = whole.thumbnail(320)
    assert (small.width, small.height) == (320, 200)
    assert len(small.pixels) == 320 * 200 * 3
    assert not small.blank
    assert max(small.pixels) == 0xAA
    assert screen(64, 64).thumbnail(320).width == 64
