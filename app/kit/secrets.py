"""Secrets that go2cloud issues, and the digests that it stores of them.

A token is random and long, so that a plain SHA-256 of it can be stored and looked up by equality; a
password is short and chosen by a person, so that it is stored as a slow, salted Argon2id hash.
"""

import hashlib
import secrets

from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError

SECRET_BYTES = 32
"""Random bytes in a token."""

_HASHER = PasswordHasher()


def new_secret(prefix: str) -> str:
    """A new token ``<prefix>_<43 URL-safe characters>``; the prefix lets scanners and people recognise it."""
    return f"{prefix}_{secrets.token_urlsafe(SECRET_BYTES)}"


def digest(secret: str) -> bytes:
    """The SHA-256 of a token, 32 bytes: what is stored instead of it."""
    return hashlib.sha256(secret.encode()).digest()


def hash_password(password: str) -> str:
    """The Argon2id hash of a password with its salt and parameters. Takes tens of milliseconds of CPU."""
    return _HASHER.hash(password)


def verify_password(stored: str, password: str) -> bool:
    """Whether `password` is the one that `stored` was made from.

    As slow as `hash_password`: call both in a thread. Raises argon2.exceptions.InvalidHashError when
    `stored` is not a hash at all.
    """
    try:
        return _HASHER.verify(stored, password)
    except VerifyMismatchError:
        return False
