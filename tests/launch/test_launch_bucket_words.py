"""Signatures, parts, checksums, keys and refusals of buckets, without one."""

import base64
import hashlib
import itertools
from datetime import UTC, datetime
from pathlib import Path

import httpx2
import pytest

from app.launch.bucket.answers import Document, error_of, is_error
from app.launch.bucket.settings import AccessKeys, BucketSettings
from app.launch.bucket.signing import Unsigned, signed
from app.launch.bucket.uploading import MOST_PARTS, Span, composite, fits, spans
from app.launch.errors import BucketFull, BucketRefused, BucketUnreachable, LaunchError, SettingsWrong

MIB = 1 << 20
EXAMPLE = AccessKeys("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
NOTHING = hashlib.sha256(b"").hexdigest()


@pytest.mark.parametrize(
    ("method", "path", "query", "headers", "body", "signature"),
    [
        (
            "GET",
            "/test.txt",
            {},
            {"range": "bytes=0-9"},
            b"",
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        ),
        (
            "PUT",
            "/test$file.text",
            {},
            {"date": "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class": "REDUCED_REDUNDANCY"},
            b"Welcome to Amazon S3.",
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        ),
        (
            "GET",
            "/",
            {"lifecycle": ""},
            {},
            b"",
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
        ),
        (
            "GET",
            "/",
            {"prefix": "J", "max-keys": "2"},
            {},
            b"",
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
    ],
)
def test_signatures_are_those_of_the_examples_of_aws(
    method: str, path: str, query: dict[str, str], headers: dict[str, str], body: bytes, signature: str
) -> None:
    digest = hashlib.sha256(body).hexdigest()
    request = Unsigned(method, "examplebucket.s3.amazonaws.com", path, query, digest, headers)
    found = signed(request, EXAMPLE, "us-east-1", datetime(2013, 5, 24, tzinfo=UTC))
    assert found["authorization"].endswith(f",Signature={signature}")


def test_a_temporary_key_sends_its_token_signed() -> None:
    keys = AccessKeys("a", "b", "the-token")
    found = signed(Unsigned("GET", "h", "/", {}, NOTHING), keys, "r", datetime(2013, 5, 24, tzinfo=UTC))
    assert found["x-amz-security-token"] == "the-token"
    assert "x-amz-security-token" in found["authorization"]
    assert "the-token" not in repr(keys)


@pytest.mark.parametrize(
    "size", [0, 1, 64 * MIB - 1, 64 * MIB, 64 * MIB + 1, 640 << 30, (640 << 30) + 1, 5 << 40]
)
def test_parts_are_a_file_end_to_end_and_never_too_many(size: int) -> None:
    found = spans(size, 64 * MIB)
    assert 1 <= len(found) <= MOST_PARTS
    assert sum(span.length for span in found) == size
    assert all(one.offset + one.length == two.offset for one, two in itertools.pairwise(found))
    assert {span.length for span in found[:-1]} <= {found[0].length}


def test_small_files_are_one_part_and_larger_ones_several() -> None:
    assert spans(3, MIB) == (Span(0, 3),)
    assert spans(2 * MIB + 1, MIB) == (Span(0, MIB), Span(MIB, MIB), Span(2 * MIB, 1))


def test_a_checksum_of_parts_is_over_their_digests_with_their_number() -> None:
    digests = [hashlib.sha256(piece).digest() for piece in (b"one", b"two")]
    whole = hashlib.sha256(b"onetwo")
    over = base64.b64encode(hashlib.sha256(digests[0] + digests[1]).digest()).decode()
    assert composite(digests) == f"{over}-2"
    assert fits(f"{over}-2", digests, whole.hexdigest())
    assert fits(base64.b64encode(whole.digest()).decode(), digests, whole.hexdigest())
    assert not fits(f"{over}-3", digests, whole.hexdigest())
    assert not fits(over, digests, whole.hexdigest())


def answer(status: int, code: str = "", more: str = "", **headers: str) -> httpx2.Response:
    text = f"<?xml version='1.0'?><Error><Code>{code}</Code>{more}</Error>" if code else ""
    return httpx2.Response(
        status, headers={name.replace("_", "-"): each for name, each in headers.items()}, text=text
    )


@pytest.mark.parametrize(
    ("found", "kind", "remedy"),
    [
        (answer(404, "NoSuchBucket"), BucketRefused, "make the bucket"),
        (answer(403, "SignatureDoesNotMatch"), BucketRefused, "correct the keys"),
        (answer(403), BucketRefused, "correct the keys"),
        (answer(403, "RequestTimeTooSkewed"), BucketRefused, "clock"),
        (answer(403, "QuotaExceeded"), BucketFull, "quota"),
        (answer(507), BucketFull, "quota"),
        (
            answer(301, "PermanentRedirect", x_amz_bucket_region="eu-west-1"),
            BucketRefused,
            "region to eu-west-1",
        ),
        (
            answer(400, "AuthorizationHeaderMalformed", "<Region>eu-north-1</Region>"),
            BucketRefused,
            "region to eu-north-1",
        ),
        (answer(307), BucketRefused, "region and endpoint"),
        (answer(503, "SlowDown"), BucketUnreachable, "endpoint"),
        (answer(429), BucketUnreachable, "endpoint"),
        (answer(400, "RequestTimeout"), BucketUnreachable, "endpoint"),
        (answer(200, "InternalError"), BucketUnreachable, "endpoint"),
        (answer(418), BucketRefused, "object storage"),
    ],
)
def test_refusals_say_what_was_done_and_the_remedy(
    found: httpx2.Response, kind: type[LaunchError], remedy: str
) -> None:
    assert is_error(found)
    error = error_of(found, "write x to s3://images")
    assert type(error) is kind
    assert error.detail.startswith("write x to s3://images: ")
    assert remedy in (error.remedy or "")


def test_an_answer_that_is_no_xml_is_no_list() -> None:
    with pytest.raises(BucketRefused, match="no XML"):
        Document.of(httpx2.Response(200, text="<p>It works!<br>"), "list")


def keys_of(path: Path, text: str, section: str = "archive") -> AccessKeys:
    path.write_text(text)
    return BucketSettings("images", credentials=section, credentials_file=path).access_keys()


def test_keys_are_those_of_the_section(tmp_path: Path) -> None:
    text = """
# keys of the backup user
[default]
aws_access_key_id = AK1
aws_secret_access_key = one

[archive]
aws_access_key_id=AK2
aws_secret_access_key=50%/of=it
aws_session_token=tok
region=ignored
"""
    assert keys_of(tmp_path / "keys", text) == AccessKeys("AK2", "50%/of=it", "tok")
    assert keys_of(tmp_path / "keys", text, "default") == AccessKeys("AK1", "one")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[other]\naws_access_key_id = a", r"has no section \[archive\]; it has: other"),
        ("", "it has: none"),
        ("[archive]\naws_access_key_id = a", "no aws_secret_access_key"),
        ("[archive]\naws_access_key_id =\naws_secret_access_key = hush", "no aws_access_key_id"),
        ("hush-hush", "is no file of keys"),
        ("[archive]\naws_secret_access_key\nhush", r"is no file of keys"),
        ("[archive]\na = hush\na = hush", "is no file of keys.*line 3"),
    ],
)
def test_a_file_without_the_keys_is_told_and_not_cited(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SettingsWrong, match=said) as refused:
        keys_of(tmp_path / "keys", text)
    assert "hush" not in f"{refused.value.detail}{refused.value.remedy}"
    assert refused.value.__cause__ is None


def test_a_bucket_without_an_endpoint_is_at_aws() -> None:
    settings = BucketSettings("images", "a/b", region="eu-central-1")
    assert settings.url == "https://s3.eu-central-1.amazonaws.com"
    assert (str(settings), settings.key("x")) == ("s3://images/a/b", "a/b/x")
    assert (str(BucketSettings("images")), BucketSettings("images").key("x")) == ("s3://images", "x")
