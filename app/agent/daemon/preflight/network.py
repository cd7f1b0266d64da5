"""The way to the service: small requests one after the other, then as much as fits in a few seconds each way.

All of it goes where replication goes: through the same proxy, over TLS where that is used. A small request is
one that the service answers with nothing, but only after it has looked at the credential.
"""

import statistics
import time
from dataclasses import dataclass, replace
from typing import Final

from app.agent.daemon.errors import AgentError, LinkError
from app.agent.daemon.link.endpoint import Endpoint
from app.agent.daemon.link.link import Link, Request
from app.agent.daemon.preflight import bandwidth
from app.agent.daemon.preflight.subject import Subject
from app.agent.daemon.stopping import Stopped
from app.wire.preflight import BLOCKER, NOTE, WARNING, Code, Finding, NetworkCheck, Preflight

REQUESTS: Final = 30
REQUEST_SECONDS: Final = 3.0
"""How long a small request may take before it counts as lost."""
LOOK_SECONDS: Final = 10.0
"""No further small request is sent after this long."""
HOPELESS: Final = 3
"""So many lost in a row at the start: nobody is there."""
_PING: Final = Request("GET", "/preflight/source?bytes=0", limit=0, timeout=REQUEST_SECONDS)


@dataclass(frozen=True)
class Delays:
    """Of `sent` small requests: `times` in seconds of those that count, how many failed, and how at last."""

    times: tuple[float, ...]
    sent: int
    failed: int
    error: str

    @property
    def loss_permille(self) -> int:
        """The share of those that failed."""
        return round(1000 * self.failed / self.sent) if self.sent else 1000

    @property
    def jitter(self) -> float:
        """Mean difference between one and the next, seconds."""
        steps = [abs(b - a) for a, b in zip(self.times, self.times[1:], strict=False)]
        return statistics.fmean(steps) if steps else 0.0


def check_network(subject: Subject, report: Preflight) -> Preflight:
    """Fill in network; nothing before the host is enrolled."""
    if subject.link is None:
        return report
    link = subject.link
    delays = measure_delays(link)
    check = _check(link.endpoint, delays)
    if delays.times:
        check = _with_rates(link, check)
    return replace(report, network=check, findings=(*report.findings, *_findings(link.endpoint, check)))


def measure_delays(link: Link) -> Delays:
    """Send small requests. Raises Stopped, and Refusal where the service does not serve this agent."""
    times: list[float] = []
    failed, error = 0, ""
    end = time.monotonic() + LOOK_SECONDS
    while len(times) + failed < REQUESTS and time.monotonic() < end:
        began = time.monotonic()
        try:
            link.send(_PING, attempts=1)
        except LinkError as problem:
            failed, error = failed + 1, str(problem)
            if failed == HOPELESS and not times:
                break
        else:
            times.append(time.monotonic() - began)
    # the first one made the connection, and says nothing of the way
    return Delays(tuple(times[1:] or times), len(times) + failed, failed, error)


def _check(endpoint: Endpoint, delays: Delays) -> NetworkCheck:
    times = delays.times or (0.0,)
    proxy = endpoint.proxy
    return NetworkCheck(
        requests=delays.sent,
        loss_permille=delays.loss_permille,
        delay_us=round(statistics.median(times) * 1e6),
        delay_min_us=round(min(times) * 1e6),
        jitter_us=round(delays.jitter * 1e6),
        up_rate=0,
        down_rate=0,
        is_tls=endpoint.is_tls,
        proxy=f"{proxy.host}:{proxy.port}"[:300] if proxy else "",
        error=delays.error[:1000],
    )


def _with_rates(link: Link, check: NetworkCheck) -> NetworkCheck:
    """With up_rate and down_rate, and error where measuring them failed."""
    try:
        down = replace(check, down_rate=bandwidth.download(link))
        return replace(down, up_rate=bandwidth.upload(link))
    except Stopped:
        raise
    except AgentError as error:
        return replace(check, error=str(error)[:1000])


def _findings(endpoint: Endpoint, check: NetworkCheck) -> list[Finding]:
    where, found = str(endpoint)[:1024], []
    if check.loss_permille == 1000:
        remedy = "check URL, firewall and proxy; see SERVICE_UNREACHABLE under troubleshooting"
        return [Finding(Code.SERVICE_UNREACHABLE, BLOCKER, where, check.error or "no answer", remedy)]
    if check.loss_permille:
        text = f"{check.loss_permille / 10:.1f} % of {check.requests} small requests failed: {check.error}"
        remedy = "requests are repeated, and replication goes on, slower; look at the network and the proxy"
        found.append(Finding(Code.REQUESTS_LOST, WARNING, where, text[:1000], remedy))
    elif check.error:
        remedy = "the estimate lacks the bandwidth; run the preflight again"
        text = f"the bandwidth was not measured: {check.error}"
        found.append(Finding(Code.BANDWIDTH_UNKNOWN, NOTE, where, text[:1000], remedy))
    if not check.is_tls:
        remedy = "nothing to do on a loopback or otherwise private way; else give the service a certificate"
        found.append(Finding(Code.NOT_ENCRYPTED, NOTE, where, "the disks travel unencrypted", remedy))
    return found
