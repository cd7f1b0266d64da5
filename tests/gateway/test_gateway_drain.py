"""A service that is told to stop answers the agents that wait, and does not wait for them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from app.wire.jsonform import encode
from app.wire.messages import Poll, Polled
from tests.gateway.hand_agent import HandAgent
from tests.gateway.service import Gateway, prepare, settings_in
from tests.services.processes import free_port

START_SECONDS = 30.0
PROMPT_SECONDS = 10.0
"""Half of what uvicorn would wait for requests that do not end."""


@contextmanager
def service(folder: Path, port: int) -> Iterator["subprocess.Popen[bytes]"]:
    """`go2cloud serve` as a process of its own, on data that are prepared."""
    environment = dict(os.environ, G2C_DATA_DIR=str(folder), G2C_HTTP_LISTEN_PORT=str(port))
    command = [sys.executable, "-m", "app", "serve", "--role", "agent"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def first_agent(gateway: Gateway, process: "subprocess.Popen[bytes]") -> HandAgent:
    """An agent that enrols as soon as the service listens."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            return gateway.enrolled()
        except ConnectionRefusedError:
            assert process.poll() is None, "the service ended"
            assert time.monotonic() < deadline, "the service did not start"
            time.sleep(0.1)


def test_an_agent_that_waits_is_answered_and_holds_nothing_up(tmp_path: Path) -> None:
    settings, port = settings_in(tmp_path), free_port()
    gateway = Gateway(port, prepare(settings), settings.database.path)
    with service(tmp_path, port) as process, ThreadPoolExecutor(1) as threads:
        agent = first_agent(gateway, process)
        poll = encode(Poll(agent.instance, "idle", 50))
        waiting = threads.submit(agent.caller.call, "POST", "/poll", poll)
        time.sleep(1)
        assert not waiting.done()
        process.send_signal(signal.SIGTERM)
        assert waiting.result(PROMPT_SECONDS).good(Polled).command == "none"
        assert process.wait(PROMPT_SECONDS) == 0
