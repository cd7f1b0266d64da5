"""The way of an enrolled host to its service."""

from app.agent.daemon.link.endpoint import Endpoint
from app.agent.daemon.link.link import Link
from app.agent.daemon.state import Enrolment
from app.agent.daemon.stopping import Stop


def link_of(enrolment: Enrolment, stop: Stop) -> Link:
    """A link to the service that the host is enrolled at."""
    endpoint = Endpoint.parse(
        enrolment.url,
        fingerprint=enrolment.fingerprint,
        allow_plain_http=enrolment.allow_plain_http,
        proxy=enrolment.proxy,
    )
    return Link(endpoint, stop, enrolment.credential)
