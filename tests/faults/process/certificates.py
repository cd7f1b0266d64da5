"""A certificate for the loopback address that install tokens pin."""

import hashlib
import ssl
from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True)
class Pinned:
    """Files of a certificate, its key, and the authority that signed it."""

    cert: Path
    key: Path
    authority: Path

    @classmethod
    def make(cls, folder: Path) -> "Pinned":
        """A fresh one in `folder`."""
        made = cls(folder / "cert.pem", folder / "key.pem", folder / "authority.pem")
        authority = trustme.CA()
        issued = authority.issue_cert("127.0.0.1")
        made.cert.write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
        made.key.write_bytes(issued.private_key_pem.bytes())
        authority.cert_pem.write_to_path(str(made.authority))
        return made

    @property
    def settings(self) -> dict[str, str]:
        """The service's environment variables."""
        der = ssl.PEM_cert_to_DER_cert(self.cert.read_text())
        return {
            "G2C_TLS__CERT_FILE": str(self.cert),
            "G2C_TLS__KEY_FILE": str(self.key),
            "G2C_AGENT__CERT_FINGERPRINT": hashlib.sha256(der).hexdigest(),
        }
