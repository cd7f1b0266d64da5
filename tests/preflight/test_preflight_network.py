"""The way to a real service: measured directly, through a proxy, on a link that is capped, late or cut."""

from collections.abc import Callable, Iterator

import pytest

from app.agent.daemon.disk.mounts import MountTables
from app.agent.daemon.disk.standing import OnDisks
from app.agent.daemon.errors import Refusal
from app.agent.daemon.link.endpoint import Endpoint
from app.agent.daemon.link.link import Link
from app.agent.daemon.preflight import bandwidth
from app.agent.daemon.preflight.network import check_network, measure_delays
from app.agent.daemon.preflight.subject import Subject
from app.agent.daemon.stopping import Stop
from app.wire.preflight import NetworkCheck, Preflight
from tests.faults.process.stream_proxy import Harm, Plague, StreamProxy, stream_proxy
from tests.gateway.service import Gateway
from tests.preflight.connect_proxy import connect_proxy
from tests.services.processes import free_port

MIB = 1 << 20
EMPTY = Preflight("", "", "", 1, "1.0")
Connect = Callable[..., Link]


@pytest.fixture
def credential(measured_gateway: Gateway) -> str:
    """That of a new server."""
    found = measured_gateway.enrolled().caller.credential
    assert found
    return found


@pytest.fixture
def connect(credential: str) -> Iterator[Connect]:
    """Make the link of an enrolled agent to a port."""
    made: list[Link] = []

    def make(port: int, proxy: str = "") -> Link:
        made.append(Link(Endpoint.parse(f"http://127.0.0.1:{port}", proxy=proxy), Stop(), credential))
        return made[-1]

    yield make
    for link in made:
        link.close()


@pytest.fixture
def bad_way(measured_gateway: Gateway) -> Iterator[StreamProxy]:
    """A way to the service on which things happen."""
    with stream_proxy(measured_gateway.port, seed=3) as proxy:
        yield proxy


def checked(link: Link) -> tuple[NetworkCheck, dict[str, str]]:
    """What was measured, and the severities by code."""
    report = check_network(Subject((), (), OnDisks(), MountTables(), link, lambda: None), EMPTY)
    assert report.network is not None
    return report.network, {each.code: each.severity for each in report.findings}


def test_a_good_way_is_measured_in_both_directions(connect: Connect, measured_gateway: Gateway) -> None:
    check, findings = checked(connect(measured_gateway.port))
    assert (check.requests, check.loss_permille, check.error) == (30, 0, "")
    assert 0 < check.delay_min_us <= check.delay_us
    assert check.up_rate > MIB
    assert check.down_rate > MIB
    assert (check.is_tls, check.proxy) == (False, "")
    assert findings == {"NOT_ENCRYPTED": "note"}


def test_all_of_it_goes_through_the_proxy(connect: Connect, measured_gateway: Gateway) -> None:
    with connect_proxy() as proxy:
        check, _ = checked(connect(measured_gateway.port, proxy.url))
        assert check.proxy == proxy.url.removeprefix("http://")
        assert check.loss_permille == 0
        assert check.up_rate > MIB
        assert check.down_rate > MIB
        assert proxy.connections >= 3
        assert proxy.carried > 2 * MIB


def test_a_capped_link_is_measured_as_what_it_is(connect: Connect, bad_way: StreamProxy) -> None:
    rate = 4 * MIB
    bad_way.inflict(Plague(Harm.CAP, rate=rate))
    link = connect(bad_way.port)
    assert rate / 4 < bandwidth.upload(link) < rate * 2
    assert rate / 4 < bandwidth.download(link) < rate * 3


def test_a_late_link_has_delay_and_jitter(connect: Connect, bad_way: StreamProxy) -> None:
    bad_way.inflict(Plague(Harm.DELAY, late=0.02))
    delays = measure_delays(connect(bad_way.port))
    check_times = sorted(delays.times)
    assert check_times[len(check_times) // 2] > 0.01
    assert delays.jitter > 0.001


def test_lost_requests_are_counted_and_the_rest_is_measured(connect: Connect, bad_way: StreamProxy) -> None:
    link = connect(bad_way.port)
    bad_way.inflict(Plague(Harm.CUT, every=2000))
    delays = measure_delays(link)
    assert delays.failed > 0
    assert 0 < delays.loss_permille <= 1000
    assert delays.error


def test_a_service_that_is_away_blocks(connect: Connect) -> None:
    check, findings = checked(connect(free_port()))
    assert (check.requests, check.loss_permille, check.up_rate) == (3, 1000, 0)
    assert findings == {"SERVICE_UNREACHABLE": "blocker"}


def test_an_agent_that_is_denied_is_not_measured(measured_gateway: Gateway) -> None:
    link = Link(Endpoint.parse(f"http://127.0.0.1:{measured_gateway.port}"), Stop(), "g2a_wrong")
    with pytest.raises(Refusal) as caught:
        measure_delays(link)
    assert caught.value.code == "AGENT_CREDENTIAL_INVALID"
    link.close()
