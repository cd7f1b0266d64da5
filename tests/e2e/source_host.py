"""A source host: the real agent program with its own state, and disks that the test makes."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.e2e.deployment import Deployment, run_command

AGENT = [sys.executable, "-m", "app.agent.daemon"]
WAIT_SECONDS = 120


@dataclass(frozen=True)
class SourceHost:
    """An agent with its state directory; `program` starts it, `extra` is added to its environment."""

    state: Path
    program: tuple[str, ...] = tuple(AGENT)
    extra: Mapping[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """The environment of the agent."""
        return dict(os.environ) | dict(self.extra)

    def command(self, verb: str, *arguments: str) -> list[str]:
        """The command line of a command of the agent."""
        return [*self.program, verb, *arguments, "--state-dir", str(self.state)]

    def enroll(
        self, deployment: Deployment, *disks: Path, token: str | None = None, url: str | None = None
    ) -> str:
        """Enrol with these disks, at the deployment or at `url`; the id of the new server."""
        options = [option for disk in disks for option in ("--disk", str(disk))]
        wanted = token or deployment.install_token()
        self.call(
            "enroll", "--no-preflight", "--url", url or deployment.agent_url, "--token", wanted, *options
        )
        return enrolled_as(self)

    def call(self, verb: str, *arguments: str) -> str:
        """Run a command of the agent that must succeed; its standard output."""
        return run_command(self.command(verb, *arguments), self.environment)

    def refused(self, verb: str, *arguments: str) -> tuple[int, str]:
        """Run a command of the agent that must fail; its exit code and standard error."""
        done = self.attempt(verb, *arguments)
        assert done.returncode != 0, f"{verb} succeeded:\n{done.stdout}"
        return done.returncode, done.stderr

    def attempt(self, verb: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run a command of the agent that may fail."""
        return subprocess.run(
            self.command(verb, *arguments),
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=WAIT_SECONDS,
        )

    def sync(self) -> dict[str, object]:
        """`run --once`; the summary."""
        return summary_of(self.call("run", "--once"))

    @contextmanager
    def running(self, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
        """`run` in the background; killed at the end if it still runs."""
        process = subprocess.Popen(
            self.command("run", *arguments),
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            yield process
        finally:
            process.send_signal(signal.SIGKILL)
            process.communicate(timeout=WAIT_SECONDS)


def enrolled_as(host: SourceHost) -> str:
    """The id of the server that a host is enrolled as."""
    server: str = json.loads(host.call("status", "--json"))["serverId"]
    return server


def summary_of(output: str) -> dict[str, object]:
    """The last summary among the JSON lines of a sync: a host that wrote meanwhile gets two checkpoints."""
    events = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    *_, summary = [event for event in events if event["event"] == "summary"]
    assert isinstance(summary, dict)
    return summary
