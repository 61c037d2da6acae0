"""Every error that LocationNet raises on purpose; each message is one line a user can act on.

Knows nothing of HTTP or of exit codes: the server and the command line translate.
"""

from __future__ import annotations

from typing import TypeVar

REPOSITORY = "https://github.com/locationnet/locationnet"


def install_command(extra: str) -> str:
    """Return the one command that installs LocationNet with an extra, as every page writes it."""
    return f"pip install 'locationnet[{extra}] @ git+{REPOSITORY}'"


AnyError = TypeVar("AnyError", bound=BaseException)


def without_frames(error: AnyError) -> AnyError:
    """Return an error, and what caused it, without the frames that they came through.

    A frame keeps its variables, so an error of a photo that is kept would keep its pixels too.
    """
    link: BaseException | None = error
    while link is not None:
        link.__traceback__ = None
        link = link.__cause__ or link.__context__
    return error


class LocationNetError(Exception):
    """Base of all errors raised on purpose; ``str(error)`` is one clear line."""


class InputError(LocationNetError):
    """A table of photos, its rows or its columns are not what was expected."""


class GridError(LocationNetError):
    """A grid file breaks a rule; the message names the file and the line."""


class BundleError(LocationNetError):
    """A bundle is missing, corrupt or inconsistent; the message names the file."""


class ImageError(LocationNetError):
    """The bytes are not an image that we read."""


class ImageTooLargeError(ImageError):
    """Decoding the image would take more memory than we give it."""


class MissingExtraError(LocationNetError):
    """A feature needs an optional dependency; the message names the extra to install."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs an optional part: {install_command(extra)}")


class MissingCodecError(MissingExtraError, ImageError):
    """The bytes are a HEIC image, and the optional part that decodes it is not installed."""

    def __init__(self) -> None:
        super().__init__("reading HEIC", "heic")


class FileEndingError(LocationNetError, ValueError):
    """The ending of a file to write names no format; the message lists those there are."""


class FullDiskError(LocationNetError):
    """There is not enough room on the disk to go on."""


class FetchError(LocationNetError):
    """A remote photo could not be fetched."""


class MalformedURLError(FetchError):
    """The text is not a URL that we can read."""


class RefusedURLError(FetchError):
    """The URL, or an address it leads to, is one that we do not contact."""


class RemoteFailedError(FetchError):
    """The remote server could not be reached or did not answer with a photo."""


_OWN = "; download the photo, and use the file"
_GONE = ": there is nothing at this address"
_TROUBLE = "; try again later"
_ADVICE = {
    401: f": it asks who you are{_OWN}", 403: f": it does not give this to programs{_OWN}",
    404: f"{_GONE}; is it complete?", 410: _GONE, 429: f": it is asked too often{_TROUBLE}",
}  # fmt: skip


class RemoteStatusError(RemoteFailedError):
    """The remote server answered with another HTTP status than 200.

    Parameters
    ----------
    status
        The status.
    retry_after
        The header ``Retry-After``, ``""`` where there was none.
    """

    def __init__(self, status: int, retry_after: str = "") -> None:
        advice = _ADVICE.get(status, _TROUBLE if status >= 500 else "")
        super().__init__(f"the remote server answered {status}, not 200" + advice)
        self.status = status
        self.retry_after = retry_after


class RemoteLastingError(RemoteFailedError):
    """The remote server is set up in a way that asking it again will not mend."""


class RemoteRedirectError(RemoteLastingError):
    """The remote server redirects in circles, or to what is not a valid URL."""


class RemoteTimeoutError(FetchError):
    """The remote server took longer than the total deadline."""


class RemoteTooLargeError(FetchError):
    """The remote answer holds more bytes than we accept."""
