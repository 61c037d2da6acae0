"""Clients of AWS's services, and what AWS refuses as one line that says what and where.

Credentials come from boto3's own chain and are neither looked at nor written anywhere. Knows
nothing of what the services are used for.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from locationnet.errors import LocationNetError, MissingExtraError

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

# How often a call is made before it fails, unless the environment says otherwise; S3 asks to slow
# down now and then, and seconds of waiting are cheaper than a run that ends.
_ATTEMPTS = 8
# At most so many connections; s3.py moves as many files at a time.
CONNECTIONS = 16

_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "RequestExpired"}
_UNKNOWN = {
    "AuthFailure",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidToken",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
_DENIED = {"403", "AccessDenied", "AccessDeniedException", "Forbidden", "UnauthorizedOperation"}
_BUSY = {
    "503",
    "RequestLimitExceeded",
    "ServiceUnavailable",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
}
# Permissions that are not called as the operation is.
_PERMISSIONS = {
    "CreateMultipartUpload": "PutObject",
    "CompleteMultipartUpload": "PutObject",
    "HeadBucket": "ListBucket",
    "HeadObject": "GetObject",
    "ListMultipartUploads": "ListBucketMultipartUploads",
    "ListObjectsV2": "ListBucket",
    "ListParts": "ListMultipartUploadParts",
    "UploadPart": "PutObject",
}
# EC2 adds a few kilobytes that only an administrator can decode.
_ENCODED = re.compile(r"\s*Encoded authorization failure message:.*", re.DOTALL)
# Where it says which permission: a launch also needs that of handing a role on.
_PERMISSION = re.compile(r"not authorized to perform: ([\w:*-]+)")
# Somebody may have written a password into an address.
_PASSWORD = re.compile(r"//[^/\s@]*@")


class AWSError(LocationNetError):
    """AWS refused or could not be reached; ``code`` is AWS's own name of the reason, or empty."""

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


def client(service: str, region: str | None = None) -> Any:
    """Return a client of a service, such as ``s3``.

    Parameters
    ----------
    service
        As boto3 calls it.
    region
        None for what boto3's configuration says.

    Raises
    ------
    MissingExtraError
        boto3 is not installed.
    AWSError
        No region is known, the profile that the environment names does not exist, or another of
        boto3's settings cannot be used.
    """
    with clear_errors(service):
        config = _botocore().config.Config(
            retries={"mode": "standard", "total_max_attempts": _most_attempts()},
            max_pool_connections=CONNECTIONS,
            user_agent_extra="locationnet",
        )
        try:
            return session().client(service, region_name=region, config=config)
        except json.JSONDecodeError:
            # Not what it said: that may hold the credentials.
            raise AWSError(
                f"{service}: the credential_process of AWS's configuration did not print JSON"
            ) from None
        except (OSError, ValueError) as error:
            raise AWSError(f"{service}: AWS's configuration: {_first_line(error)}") from error


def _most_attempts() -> int:
    text = os.environ.get("AWS_MAX_ATTEMPTS") or str(_ATTEMPTS)
    if not text.isdecimal() or int(text) < 1:
        raise AWSError(f"AWS_MAX_ATTEMPTS={text}: expected a number of at least 1")
    return int(text)


@cache
def session() -> Any:
    """Return boto3's session, one for all clients: it reads megabytes to know the services."""
    import boto3

    return boto3.session.Session()


@contextmanager
def clear_errors(where: str) -> Iterator[None]:
    """Turn what boto3 throws into an `AWSError` of one line.

    Parameters
    ----------
    where
        What was worked on, such as ``s3://bucket/key``; begins the message.
    """
    aws = _botocore().exceptions
    no_credentials = (
        aws.NoCredentialsError,
        aws.PartialCredentialsError,
        aws.CredentialRetrievalError,
    )
    try:
        yield
    except aws.ClientError as error:
        raise _refusal(where, error) from error
    except no_credentials as error:
        raise AWSError(
            f"{where}: no credentials of AWS were found: sign in with `aws configure` or"
            " `aws sso login`, or give the machine an instance profile"
        ) from error
    except (aws.ConnectionError, aws.HTTPClientError) as error:
        raise AWSError(f"{where}: AWS cannot be reached ({_first_line(error)})") from error
    except aws.ParamValidationError as error:
        # The first line only says that there is something wrong.
        raise AWSError(f"{where}: {' '.join(str(error).split())}") from error
    except aws.BotoCoreError as error:
        raise AWSError(f"{where}: {_first_line(error)}") from error


def _botocore() -> Any:
    try:
        import botocore.config
        import botocore.exceptions
    except ModuleNotFoundError as error:
        raise MissingExtraError("AWS", "aws") from error
    return botocore


def _refusal(where: str, error: ClientError) -> AWSError:
    answer = error.response
    operation = error.operation_name
    code = str(answer.get("Error", {}).get("Code", ""))
    said = _ENCODED.sub("", str(answer.get("Error", {}).get("Message", ""))).strip()
    status = int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if code in _EXPIRED:
        message = "the credentials of AWS have expired: sign in again"
    elif code in _UNKNOWN:
        message = f"AWS does not know these credentials ({code}): sign in again"
    elif code == "NoSuchBucket":
        message = "there is no such bucket"
    elif code in _DENIED:
        named = _PERMISSION.search(said)
        permission = named[1] if named else _PERMISSIONS.get(operation, operation)
        message = f"access denied: {permission} is not permitted"
    elif code.startswith("Insufficient"):
        # A failure of AWS's by its status, and the words say where there is room.
        message = f"{operation} was refused: {' '.join(said.split()) or code}"
    elif code in _BUSY or status == 429:
        message = f"AWS asked to slow down ({code}), {_attempts(answer)}: try again later"
    elif status >= 500:
        message = f"AWS failed ({operation}: {code or status}), {_attempts(answer)}: try again"
    else:
        message = f"{operation} was refused: {_first_line(said) or code}"
    return AWSError(f"{where}: {message}", code)


def _attempts(answer: Any) -> str:
    tries = int(answer.get("ResponseMetadata", {}).get("RetryAttempts", 0)) + 1
    return "at the first try" if tries == 1 else f"{tries} times"


def _first_line(error: object) -> str:
    lines = str(error).strip().splitlines()
    return _PASSWORD.sub("//", lines[0].rstrip(".")) if lines else type(error).__name__
