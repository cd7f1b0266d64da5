"""What counts as bytes here: anything contiguous that hashing and compression read without a copy."""

from typing import TypeAlias

Buffer: TypeAlias = bytes | bytearray | memoryview
