"""The certificates of a cluster that lives for a day: an authority, the API server's, the administrator's."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.services.processes import required_binary

DAYS = "2"


@dataclass(frozen=True)
class Certificates:
    """A folder of keys and certificates in PEM."""

    folder: Path

    def file(self, name: str) -> str:
        """The path of one of them, as text."""
        return str(self.folder / name)

    def make(self, *addresses: str) -> None:
        """Make all of them; the API server answers at `addresses`."""
        self.folder.mkdir()
        subject = ["-newkey", "rsa:2048", "-nodes", "-subj"]
        ca = ["-keyout", self.file("ca.key"), "-out", self.file("ca.crt")]
        _openssl("req", "-x509", "-days", DAYS, *subject, "/CN=end-to-end", *ca)
        names = self.folder / "names"
        names.write_text("subjectAltName=" + ",".join(f"IP:{address}" for address in addresses))
        self._signed("api", "/CN=kube-apiserver", "-extfile", str(names))
        self._signed("admin", "/O=system:masters/CN=admin")
        _openssl("genrsa", "-out", self.file("accounts.key"), "2048")
        _openssl("rsa", "-in", self.file("accounts.key"), "-pubout", "-out", self.file("accounts.pub"))

    def _signed(self, name: str, subject: str, *options: str) -> None:
        request, key = self.file(f"{name}.csr"), self.file(f"{name}.key")
        _openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", subject, "-keyout", key, "-out", request)
        by = ["-CA", self.file("ca.crt"), "-CAkey", self.file("ca.key"), "-CAcreateserial", "-days", DAYS]
        _openssl("x509", "-req", "-in", request, *by, "-out", self.file(f"{name}.crt"), *options)


def _openssl(*arguments: str) -> None:
    subprocess.run([required_binary("openssl", "openssl"), *arguments], check=True, capture_output=True)
