"""The interruption of a machine of EC2: who has requested that it stops, and by when.

Knows signals, the time that is allowed, EC2's notice and the mark in S3; what follows is
`locationnet.aws.ec2.worker`'s business.
"""

from __future__ import annotations

import time
from typing import Any

from locationnet.aws import sync as folders
from locationnet.aws.common import AWSError
from locationnet.aws.ec2.imds import Metadata
from locationnet.aws.job import Job
from locationnet.train.interrupts import Interrupts

# Between two looks: the metadata service is this machine's own, S3 is not.
_NOTICE_S = 2.0
_MARK_S = 5.0
# A spot machine is taken two minutes after its notice.
_TAKEN_S = 115.0


class StopRequested(Exception):  # noqa: N818 - nothing went wrong
    """The machine is to end; the text says who has requested it."""


class Interruption:
    """Whether and why a machine is to end.

    Parameters
    ----------
    s3
        A client of S3.
    job, metadata, interrupts
        Where stop requests are looked for.
    ends, gone
        When the run's time is over, and when the machine is cut off whatever it does, both as
        ``time.monotonic()`` counts.
    """

    def __init__(
        self,
        s3: Any,
        job: Job,
        metadata: Metadata,
        interrupts: Interrupts,
        ends: float,
        gone: float,
    ) -> None:
        self._s3, self._mark, self._metadata = s3, job.stop_mark, metadata
        self._interrupts, self._ends = interrupts, ends
        self._next_notice = self._next_mark = 0.0
        self._found = ""
        # When the machine is there no more.
        self.gone = gone

    def reason(self) -> str:
        """Return the reason to end, or nothing; what was found once stays."""
        self._found = self._found or self._look()
        return self._found

    def check(self) -> None:
        """Raise `StopRequested` if the machine is to end."""
        if reason := self.reason():
            raise StopRequested(reason)

    def _look(self) -> str:
        now = time.monotonic()
        if self._interrupts.received is not None:
            return f"signal {self._interrupts.received}"
        if now > self._ends:
            return "the time that was allowed is over"
        if now >= self._next_notice:
            self._next_notice = now + _NOTICE_S
            if self._metadata.spot_notice():
                self.gone = min(self.gone, now + _TAKEN_S)
                return "EC2 takes this spot machine back"
        if now >= self._next_mark:
            self._next_mark = now + _MARK_S
            if self._is_marked():
                return "`locationnet ec2 stop` was called, or another machine of the launch ends"
        return ""

    def _is_marked(self) -> bool:
        try:
            return bool(folders.listing(self._s3, self._mark.parent).get(self._mark.name))
        except AWSError:
            return False  # S3 fails now and then; there is a next time
