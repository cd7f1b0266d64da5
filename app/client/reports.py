"""Calls on signed reports, which come as files: `app.contract.signedreport` says what one is worth."""

from app.client.call import Call, model, segment
from app.contract.resources.report import ReportKey


def key() -> Call[ReportKey]:
    """The public key that reports are signed with now."""
    return Call("GET", "/reports/key", model(ReportKey))


def of_server(ref: str) -> Call[bytes]:
    """The report of a server as a signed document of JSON."""
    return Call("GET", f"/servers/{segment(ref)}/report", bytes)


def of_wave(ref: str) -> Call[bytes]:
    """The report of a wave as a signed document of JSON."""
    return Call("GET", f"/waves/{segment(ref)}/report", bytes)


def page_of_wave(ref: str) -> Call[bytes]:
    """The report of a wave as a signed page of HTML."""
    return Call("GET", f"/waves/{segment(ref)}/report", bytes, headers={"Accept": "text/html"})


def page_of_server(ref: str) -> Call[bytes]:
    """The report of a server as a signed page of HTML."""
    return Call("GET", f"/servers/{segment(ref)}/report.html", bytes)
