"""Photos of a bucket, Multimedia Commons or another, in any store that speaks S3.

Knows keys and what a store answers; nothing of what a photo holds.
"""

from __future__ import annotations

from contextlib import closing
from typing import Any

from locationnet.commons import BUCKET, REGION
from locationnet.download.failures import (
    GONE,
    NO_ADDRESS,
    REFUSED,
    SLOW,
    THROTTLED,
    TOO_LARGE,
    UNREACHABLE,
    DownloadError,
)
from locationnet.download.rate_limit import RateLimiter
from locationnet.download.scheduler import Photo
from locationnet.errors import LocationNetError
from locationnet.net.s3 import anonymous_client

_MAX_BYTES = 64 << 20
_PART_BYTES = 1 << 20
_TIMEOUT_S = 30
_SLOW_DOWN = frozenset({"SlowDown", "Throttling", "RequestLimitExceeded", "TooManyRequests"})


class Bucket:
    """Reads photos without an account; safe to use from many threads.

    Parameters
    ----------
    endpoint_url
        The store, where it is not Amazon's.
    connections
        How many threads will read at a time, at most.
    bucket
        Its name.

    Raises
    ------
    MissingExtraError
        boto3 is not installed.
    InputError
        The endpoint is not a valid URL.
    """

    def __init__(
        self, endpoint_url: str | None = None, connections: int = 256, bucket: str = BUCKET
    ) -> None:
        self._bucket = bucket
        self.limiter = RateLimiter(0.0)  # a store is asked as often as it answers
        self._client = anonymous_client(
            endpoint_url,
            REGION,
            max_pool_connections=connections,
            connect_timeout=_TIMEOUT_S,
            read_timeout=_TIMEOUT_S,
            retries={"total_max_attempts": 1},  # trying again is the caller's
            response_checksum_validation="when_required",
        )

    def failure(self, photo: Photo) -> DownloadError | None:
        """Return why a photo has no key; None where it has one."""
        return None if photo.path else DownloadError(NO_ADDRESS)

    def host(self, photo: Photo) -> str:
        """Return ``""``: there is one host for all."""
        del photo
        return ""

    def get(self, photo: Photo) -> bytes:
        """Return the object of a photo.

        Raises
        ------
        DownloadError
            Why it cannot be had.
        LocationNetError
            There is no such bucket.
        """
        from botocore import exceptions

        try:
            answer = self._client.get_object(Bucket=self._bucket, Key=photo.path)
            with closing(answer["Body"]) as body:
                return _read(body)
        except exceptions.ClientError as error:
            raise _of_answer(error.response, self._bucket) from error
        except (exceptions.ConnectTimeoutError, exceptions.ReadTimeoutError) as error:
            raise DownloadError(SLOW) from error
        except (exceptions.BotoCoreError, OSError) as error:
            raise DownloadError(UNREACHABLE, str(error)) from error


def _read(body: Any) -> bytes:
    """Read an object to its end, so that a broken transfer is found out."""
    data = bytearray()
    while part := body.read(_PART_BYTES):
        data += part
        if len(data) > _MAX_BYTES:
            raise DownloadError(TOO_LARGE, f"more than {_MAX_BYTES:,} bytes")
    return bytes(data)


def _of_answer(response: dict[str, Any], bucket: str) -> LocationNetError:
    code = str(response.get("Error", {}).get("Code", ""))
    answer = response.get("ResponseMetadata", {})
    status = int(answer.get("HTTPStatusCode", 0))
    if code == "NoSuchBucket":
        return LocationNetError(f"the store has no bucket {bucket}")
    if status in (404, 410):
        return DownloadError(GONE, code)
    if status in (429, 503) or code in _SLOW_DOWN:
        header = str(answer.get("HTTPHeaders", {}).get("retry-after", ""))
        wait_s = float(header) if header.isascii() and header.isdigit() else None
        return DownloadError(THROTTLED, code, wait_s)
    if status >= 500:
        return DownloadError(UNREACHABLE, f"answered {status}")
    return DownloadError(REFUSED, code or f"answered {status}")
