"""What an HTTP status means for a photo: whether it is gone, refused, or may come another day.

Knows nothing of who was asked or how.
"""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from locationnet.download.failures import GONE, REFUSED, THROTTLED, UNREACHABLE, DownloadError
from locationnet.errors import RemoteStatusError

_GONE = frozenset({404, 410})
# "Not implemented" and "HTTP version not supported" are not breakdowns.
_NEVER = frozenset({501, 505})
# "Request timeout" and "too early".
_SOON = frozenset({408, 425})


def of_status(error: RemoteStatusError) -> DownloadError:
    """Return why there is no photo; a ``Retry-After`` means that there may be one later."""
    said = f"answered {error.status}"
    if error.status in _GONE:
        return DownloadError(GONE, said)
    if error.status in _NEVER:
        return DownloadError(REFUSED, said)
    wait_s = retry_after_s(error.retry_after, datetime.now(UTC))
    if error.status == 429 or wait_s is not None:
        return DownloadError(THROTTLED, said, wait_s)
    if error.status >= 500 or error.status in _SOON:
        return DownloadError(UNREACHABLE, said)
    return DownloadError(REFUSED, said)


def retry_after_s(header: str, now: datetime) -> float | None:
    """Return the seconds that a ``Retry-After`` means: a number or a date; None for neither."""
    text = header.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - now).total_seconds())
