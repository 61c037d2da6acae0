"""Why a photo is not there, in the words of ``problems.csv``.

Knows nothing of servers or files.
"""

from __future__ import annotations

from locationnet.errors import LocationNetError

NO_ADDRESS = "no address"
GONE = "no longer there"
REFUSED = "refused by the server"
FORBIDDEN = "forbidden by robots.txt"
NOT_CONTACTED = "an address that is not contacted"
PLACEHOLDER = "a placeholder, not the photo"
DUPLICATE = "the same bytes as another photo"
WEB_PAGE = "a web page, not a photo"
EMPTY = "empty"
NO_IMAGE = "not a JPEG, PNG, WebP, AVIF or HEIC image"
NEEDS_HEIC = "HEIC, which needs the optional part heic"
DAMAGED = "truncated or corrupt"
TOO_LARGE = "too large"
THROTTLED = "the server asks to slow down"
UNREACHABLE = "the server cannot be reached or fails"
FAULTY = "the server is set up wrongly"
SLOW = "the server is too slow"

# Another day may be better; and reasons to ask for fewer at a time.
TEMPORARY = frozenset({THROTTLED, UNREACHABLE, SLOW})
# Others can change too: a table may know an address by now, a host its mind. No message says to
# try again, but who does gets a new answer.
RETRYABLE = TEMPORARY | {NO_ADDRESS, FORBIDDEN, FAULTY}

# How often a photo is asked for in one run.
_TRIES = 5
# The transfer may be at fault, or the file.
_TRIES_DAMAGED = 2


class DownloadError(LocationNetError):
    """A photo that could not be had.

    Parameters
    ----------
    reason
        One of this module's.
    detail
        What in particular.
    wait_s
        Seconds that the server asks to wait before it is asked again.
    """

    def __init__(self, reason: str, detail: str = "", wait_s: float | None = None) -> None:
        super().__init__(f"{reason} ({detail})" if detail else reason)
        self.reason = reason
        self.detail = detail
        self.wait_s = wait_s

    @property
    def temporary(self) -> bool:
        """Whether the photo may be there another day."""
        return self.reason in TEMPORARY

    @property
    def tries(self) -> int:
        """How often to ask in one run before this is believed."""
        if self.temporary:
            return _TRIES
        return _TRIES_DAMAGED if self.reason == DAMAGED else 1
