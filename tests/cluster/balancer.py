"""What stands before several servers: each new connection goes to the next one that takes it."""

import itertools
import socket

from tests.faults.process.stream_proxy import StreamProxy

LOOK_SECONDS = 0.5


class Balancer(StreamProxy):
    """A proxy that goes round the ports of its servers and leaves out those where nobody listens."""

    def __init__(self, ports: tuple[int, ...]) -> None:
        """Nothing listens yet."""
        super().__init__(ports[0], seed=0)
        self._ports = ports
        self._round = itertools.cycle(ports)

    def next_target(self) -> int:
        """The next port where somebody listens; any where nobody does."""
        for port in itertools.islice(self._round, len(self._ports)):
            if _listens(port):
                return port
        return self._ports[0]


class Standby(Balancer):
    """Sends every new connection to the first of its servers that listens: the next one stands by."""

    def next_target(self) -> int:
        """The first port where somebody listens; the first of all where nobody does."""
        return next((port for port in self._ports if _listens(port)), self._ports[0])


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(LOOK_SECONDS)
        return probe.connect_ex(("127.0.0.1", port)) == 0
