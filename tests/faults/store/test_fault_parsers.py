"""No bytes crash a parser or make it take memory that they do not fill: every refusal has its name."""

import tracemalloc

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.wire.chunks import MIB
from tests.faults.store.hostile_parsers import PARSERS, Parser
from tests.faults.store.store_ledger import Ledger

EXAMPLES = 250
BASE_BYTES = 48 * MIB
"""The largest single buffer that a header may ask for is a root node's 32 MiB, and it is filled once."""

BYTES_A_BYTE = 200
"""Python objects that a byte may become: a JSON list of empty lists is the worst."""

HOSTILE = [bytes(4), b"\xff" * 4, b"\x7f" + b"\xff" * 7, b"\x00\x10\x00\x00", b"\xff" * 32, b'"', b"[", b"}"]


@st.composite
def damaged(draw: st.DrawFn, samples: tuple[bytes, ...]) -> bytes:
    """A good sample with a few changes, or anything at all."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=2000))
    data = bytearray(draw(st.sampled_from(samples)))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        match draw(st.sampled_from(["flip", "write", "insert", "cut", "drop", "repeat"])):
            case "flip":
                if at < len(data):
                    data[at] ^= 1 << draw(st.integers(0, 7))
            case "write":
                value = draw(st.sampled_from(HOSTILE) | st.binary(min_size=1, max_size=8))
                data[at : at + len(value)] = value
            case "insert":
                data[at:at] = draw(st.sampled_from(HOSTILE) | st.binary(max_size=40))
            case "cut":
                del data[at:]
            case "drop":
                del data[at : at + draw(st.integers(1, 64))]
            case "repeat":
                data[at:at] = data[at : at + draw(st.integers(1, 4096))] * draw(st.integers(1, 8))
    return bytes(data)


@pytest.mark.parametrize("parser", PARSERS, ids=str)
def test_a_good_sample_is_taken_and_no_damage_crashes_a_parser_or_fills_the_memory(
    parser: Parser, ledger: Ledger
) -> None:
    @given(damaged(parser.samples))
    @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
    def survives(data: bytes) -> None:
        tracemalloc.start()
        try:
            parser.accepts(data)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < BASE_BYTES + BYTES_A_BYTE * len(data)

    assert all(parser.accepts(sample) for sample in parser.samples)
    survives()
    ledger.note("parser fuzz", cycles=EXAMPLES)
