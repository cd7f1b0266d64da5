"""The source's agent as an operating system keeps it: started again whenever it dies."""

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGKILL

from tests.e2e.source_host import SourceHost

WAIT_SECONDS = 60.0


@dataclass
class Keeper:
    """`exits` are the exit codes of the agents that ended."""

    host: SourceHost
    options: tuple[str, ...]
    log: Path
    exits: list[int] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)
    process: "subprocess.Popen[bytes] | None" = None

    @contextmanager
    def keeping(self) -> Iterator["Keeper"]:
        """The agent runs meanwhile, and not at the end."""
        thread = threading.Thread(target=self._keep)
        thread.start()
        try:
            yield self
        finally:
            self.over.set()
            if self.process is not None:
                self.process.kill()
            thread.join(WAIT_SECONDS)

    def _keep(self) -> None:
        with self.log.open("ab") as log:
            while not self.over.is_set():
                command = self.host.command("run", *self.options)
                process = subprocess.Popen(command, env=self.host.environment, stdout=log, stderr=log)
                self.process = process
                if self.over.is_set():
                    process.kill()
                code = process.wait()
                if not self.over.is_set():
                    self.exits.append(code)

    def require_killed(self, times: int) -> None:
        """No agent ended but by so many kills."""
        assert self.exits == [-SIGKILL] * times, f"{self.exits}: {self.log.read_text()[-3000:]}"
