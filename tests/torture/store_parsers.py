"""Fuzzing of all parsers by coverage, for as long as it is let.

It needs atheris, which is not installed with the project: `uv pip install atheris`.

    python -m tests.torture.store_parsers --minutes N [--corpus FOLDER]

The first byte of an input picks the parser. A crash, or more memory than 512 MB, ends the run with the input
in a file; give that file as the only argument to see it again.
"""

import argparse
import importlib
import logging
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.faults.store.hostile_parsers import PARSERS

MOST_BYTES = 64 * 1024
MOST_MEMORY_MB = 512


def one(data: bytes) -> None:
    """Let the parser that the first byte picks read the rest."""
    if data:
        PARSERS[data[0] % len(PARSERS)].accepts(data[1:])


def main(arguments: list[str]) -> None:
    """Fuzz; does not return: the fuzzer ends the process."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture.store_parsers")
    parser.add_argument("input", nargs="?", type=Path)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--corpus", type=Path)
    asked = parser.parse_args(arguments)
    if asked.input is not None:
        one(asked.input.read_bytes())
        return
    atheris = _atheris()
    corpus = asked.corpus or Path(tempfile.mkdtemp(prefix="g2c-corpus-"))
    write_samples(corpus)
    options = [
        f"-max_total_time={int(asked.minutes * 60)}",
        f"-max_len={MOST_BYTES}",
        f"-rss_limit_mb={MOST_MEMORY_MB}",
        "-timeout=20",
    ]
    atheris.instrument_all()
    atheris.Setup(["store_parsers", *options, str(corpus)], one)
    atheris.Fuzz()


def _atheris() -> Any:
    try:
        return importlib.import_module("atheris")
    except ImportError:
        logging.getLogger(__name__).critical("atheris is missing: uv pip install atheris")
        raise


def write_samples(corpus: Path) -> None:
    """Each parser's good samples, for the fuzzer to start from."""
    corpus.mkdir(parents=True, exist_ok=True)
    for number, parser in enumerate(PARSERS):
        for at, sample in enumerate(parser.samples):
            (corpus / f"sample-{number}-{at}").write_bytes(bytes([number]) + sample)


if __name__ == "__main__":
    main(sys.argv[1:])
