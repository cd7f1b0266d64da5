"""Signatures with Ed25519 (RFC 8032), and the keys that make and check them.

A key is named by its fingerprint: the SHA-256 of its public half as SubjectPublicKeyInfo (DER), in lower-case
hexadecimal digits. ``openssl pkey -pubin -in key.pem -outform DER | sha256sum`` tells the same.
"""

import hashlib
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

ALGORITHM: Final = "Ed25519"
SIGNATURE_BYTES: Final = 64
KEY_BYTES: Final = 32


class KeyUnreadable(ValueError):
    """A text that is no key of the kind that is needed; the message says what it is instead."""


@dataclass(frozen=True)
class PublicKey:
    """What signatures are checked with; `raw` has 32 bytes."""

    raw: bytes

    @property
    def fingerprint(self) -> str:
        """64 lower-case hexadecimal digits that name the key."""
        der = self._key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return hashlib.sha256(der).hexdigest()

    @property
    def pem(self) -> str:
        """The key as a PEM text."""
        return self._key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    def verifies(self, signature: bytes, content: bytes) -> bool:
        """Whether the signature is this key's of these bytes."""
        try:
            self._key().verify(signature, content)
        except (InvalidSignature, ValueError):
            return False
        return True

    def _key(self) -> Ed25519PublicKey:
        return Ed25519PublicKey.from_public_bytes(self.raw)


@dataclass(frozen=True)
class Signer:
    """A private key."""

    key: Ed25519PrivateKey

    @classmethod
    def generated(cls) -> "Signer":
        """A new one."""
        return cls(Ed25519PrivateKey.generate())

    @property
    def public(self) -> PublicKey:
        """The half of it that everybody may have."""
        return PublicKey(self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))

    @property
    def pem(self) -> str:
        """The key itself as a PEM text (PKCS 8), which is a secret."""
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()

    def sign(self, content: bytes) -> bytes:
        """The signature, 64 bytes; the same for the same content."""
        return self.key.sign(content)


def read_signer(pem: bytes) -> Signer:
    """The key of a PEM text (PKCS 8, without a passphrase). Raises KeyUnreadable."""
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise KeyUnreadable("it is no private key in PEM without a passphrase") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyUnreadable(f"it is a private key of another kind than {ALGORITHM}")
    return Signer(key)


def read_public(pem: bytes) -> PublicKey:
    """The key of a PEM text (SubjectPublicKeyInfo). Raises KeyUnreadable."""
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyUnreadable("it is no public key in PEM") from error
    if not isinstance(key, Ed25519PublicKey):
        raise KeyUnreadable(f"it is a public key of another kind than {ALGORITHM}")
    return PublicKey(key.public_bytes(Encoding.Raw, PublicFormat.Raw))
