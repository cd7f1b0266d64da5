"""Looking for an operator's pattern in what a guest answered, in a process of its own.

A regular expression can take longer than the world stands, and holds the interpreter's lock meanwhile: in a
thread it would stop every request and every heartbeat of the process. Run by path, the file is the program
that searches: standard library only, with limits for time and memory.
"""

import json
import re
import resource
import subprocess
import sys
from pathlib import Path
from typing import Final

SEARCH_SECONDS: Final = 10
SEARCH_BYTES: Final = 1 << 30
"""Address space of the search: the matcher's own stack grows with the text."""
MOST_FOUND: Final = 200
"""Characters of a match that are told."""


class SearchTooLong(Exception):
    """The search did not end within its time, or its memory."""


def search(pattern: str, text: str) -> str | None:
    """The beginning of what the pattern matches in `text` (its dot matches line ends, too), or None.

    Blocks for at most about SEARCH_SECONDS. Raises SearchTooLong.
    """
    command = [sys.executable, "-I", "-S", str(Path(__file__))]
    question = json.dumps([pattern, text]).encode()
    try:
        done = subprocess.run(
            command, input=question, capture_output=True, check=False, timeout=SEARCH_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise SearchTooLong(f"the search took longer than {SEARCH_SECONDS} s") from error
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise SearchTooLong(f"the search ended with {done.returncode}: {said}"[:MOST_FOUND])
    found: str | None = json.loads(done.stdout)
    return found


def main() -> None:
    """Read pattern and text as JSON, write the match as JSON."""
    resource.setrlimit(resource.RLIMIT_AS, (SEARCH_BYTES, SEARCH_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (SEARCH_SECONDS, SEARCH_SECONDS))
    pattern, text = json.loads(sys.stdin.buffer.read())
    found = re.search(pattern, text, re.DOTALL)
    sys.stdout.write(json.dumps(found.group()[:MOST_FOUND] if found else None))


if __name__ == "__main__":
    main()
