"""What boto3 makes of its settings, as one line, and never with what is secret in them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from locationnet.aws import common
from locationnet.aws.common import AWSError, clear_errors, client
from tests.aws.servers import REGION


@pytest.fixture(autouse=True)
def _new_session(aws: str) -> Iterator[None]:
    """Sessions remember credentials."""
    common.session.cache_clear()
    yield
    common.session.cache_clear()


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("AWS_MAX_ATTEMPTS", "abc", "AWS_MAX_ATTEMPTS=abc: expected a number of at least 1"),
        ("AWS_MAX_ATTEMPTS", "0", "AWS_MAX_ATTEMPTS=0: expected a number of at least 1"),
        ("AWS_ENDPOINT_URL", "foo", "s3: AWS's configuration: Invalid endpoint: foo"),
        (
            "AWS_ENDPOINT_URL", "http://me:secret@ho st",
            "s3: AWS's configuration: Invalid endpoint: http://ho st",
        ),
    ],
)  # fmt: skip
def test_a_setting_that_cannot_be_used_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(AWSError) as caught:
        client("s3", REGION)
    assert str(caught.value) == said


@pytest.mark.parametrize(
    ("process", "said"),
    [
        ("/bin/echo a-secret", "the credential_process of AWS's configuration did not print JSON"),
        ("/no/such/program", "No such file or directory: '/no/such/program'"),
    ],
)
def test_a_program_for_credentials_that_prints_none_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, process: str, said: str
) -> None:
    config = tmp_path / "config"
    config.write_text(f"[default]\ncredential_process = {process}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(AWSError) as caught:
        client("s3", REGION)
    assert said in str(caught.value)
    assert "a-secret" not in str(caught.value)
    assert caught.value.__cause__ is None or "a-secret" not in str(caught.value.__cause__)


def test_a_wrong_parameter_is_named() -> None:
    with pytest.raises(AWSError) as caught, clear_errors("city"):
        client("sagemaker", REGION).describe_endpoint(EndpointName=5)
    assert str(caught.value).startswith(
        "city: Parameter validation failed: Invalid type for parameter EndpointName, value: 5"
    )
    assert "\n" not in str(caught.value)
