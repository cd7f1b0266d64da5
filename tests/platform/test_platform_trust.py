"""In one process with TLS the platform believes this service's own certificate, and no other."""

import ssl
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import trustme

from app.kit.settings import Settings, load_settings
from app.platform.upstream import ApiUnreachable, Platform


class Alive(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


def certificate(folder: Path, name: str) -> Path:
    """A certificate for another name than the loopback address, with its key, in one file."""
    file = folder / f"{name}.pem"
    issued = trustme.CA().issue_cert(f"{name}.example")
    issued.private_key_and_cert_chain_pem.write_to_path(file)
    return file


@pytest.fixture
def service(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    file = certificate(tmp_path, "service")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Alive)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"https://127.0.0.1:{server.server_address[1]}", file
    server.shutdown()
    thread.join()
    server.server_close()


def settings_with(tmp_path: Path, certificate: Path | None) -> Settings:
    settings = load_settings({"HOME": str(tmp_path)})
    return replace(settings, tls=settings.tls.model_copy(update={"cert_file": certificate}))


async def test_its_own_certificate_is_believed(service: tuple[str, Path], tmp_path: Path) -> None:
    url, file = service
    platform = Platform.connect(settings_with(tmp_path, file), url)
    await platform.ping()
    await platform.close()


@pytest.mark.parametrize("known", ["other", None])
async def test_no_other_certificate_is_believed(
    service: tuple[str, Path], tmp_path: Path, known: str | None
) -> None:
    url, _ = service
    file = None if known is None else certificate(tmp_path, known)
    platform = Platform.connect(settings_with(tmp_path, file), url)
    with pytest.raises(ApiUnreachable):
        await platform.ping()
    await platform.close()
