"""The script that a machine of EC2 runs when it first starts.

Knows what must stand in it; the script itself is ``userdata.sh``, beside this file.
"""

from __future__ import annotations

import json
import re
from importlib.metadata import version
from importlib.resources import files

from locationnet.aws.job import Job
from locationnet.errors import InputError

# Where the machine image has none of its own.
_UV = "0.13.9"
_PYTHON = "3.11"
# EC2 refuses more.
_MOST_BYTES = 16_384


def user_data(job: Job) -> str:
    """Return the script for a job.

    Raises
    ------
    InputError
        It is longer than EC2 allows.
    """
    values = {
        "JOB": job.to_json(),
        "MINUTES": str(job.shutdown_minutes),
        "UV": _UV,
        "PYTHON": _PYTHON,
        "BOTO3": version("boto3"),
        # A list of JSON is one of Python too.
        "PACKAGE": json.dumps([job.region, job.package.bucket, f"{job.package.path}/"]),
    }
    template = (files(__package__) / "userdata.sh").read_text(encoding="utf-8")
    text = re.sub(r"@([A-Z0-9]+)@", lambda match: values[match[1]], template)
    if len(text.encode()) > _MOST_BYTES:
        raise InputError("[train]: so many options do not fit into the user data of EC2")
    return text
