"""What a machine of EC2 can ask about itself, from the second version of the metadata service.

Knows tokens and paths; nothing of what the answers are used for.
"""

from __future__ import annotations

import os
import time
import urllib.error
import urllib.request

from locationnet.errors import LocationNetError

# boto3 reads the same variable.
ENDPOINT = "AWS_EC2_METADATA_SERVICE_ENDPOINT"
_DEFAULT = "http://169.254.169.254"
_TOKEN_SECONDS = 21_600
_TIMEOUT_S = 2.0


class Metadata:
    """The metadata service of this machine."""

    def __init__(self) -> None:
        self._endpoint = os.environ.get(ENDPOINT, _DEFAULT).rstrip("/")
        self._token, self._expires = "", 0.0

    def read(self, path: str) -> str | None:
        """Return what stands under a path such as ``local-ipv4``, or None if nothing does.

        Raises
        ------
        LocationNetError
            The service does not answer: this is not a machine of EC2.
        """
        try:
            return self._fetch("GET", f"meta-data/{path}", {self._header(): self._fresh_token()})
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == 404:
                return None
            self._expires = 0.0
            raise LocationNetError(f"the metadata service answered {error.code}") from error
        except (OSError, ValueError) as error:
            raise LocationNetError("the metadata service of EC2 does not answer") from error

    def spot_notice(self) -> bool:
        """Whether the machine is about to be taken back; False where nobody can say."""
        try:
            return self.read("spot/instance-action") is not None
        except LocationNetError:
            return False

    def _fresh_token(self) -> str:
        if time.monotonic() > self._expires - 60:
            seconds = {self._header("-ttl-seconds"): str(_TOKEN_SECONDS)}
            self._token = self._fetch("PUT", "api/token", seconds)
            self._expires = time.monotonic() + _TOKEN_SECONDS
        return self._token

    @staticmethod
    def _header(suffix: str = "") -> str:
        return f"X-aws-ec2-metadata-token{suffix}"

    def _fetch(self, method: str, path: str, headers: dict[str, str]) -> str:
        url = f"{self._endpoint}/latest/{path}"
        request = urllib.request.Request(url, headers=headers, method=method)  # noqa: S310 - http
        # No proxy: the address means this machine's host.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=_TIMEOUT_S) as answer:
            return str(answer.read().decode())
