"""Single files of the Hugging Face hub, fetched once, resumed after a stop, and checked.

Knows the hub; not what the files are. What another program has fetched into the hub's own cache is
taken from there; what is fetched here stays in the user's data directory, named after its revision.
"""

from __future__ import annotations

import errno
import logging
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from locationnet.errors import (
    FullDiskError,
    InputError,
    LocationNetError,
    MissingExtraError,
    RemoteFailedError,
)
from locationnet.files import file_sha256
from locationnet.home import downloads_folder

_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?", re.ASCII)


@dataclass(frozen=True)
class Source:
    """A file that an import was made of.

    Parameters
    ----------
    path
        Where it lies.
    origin
        Where it is from: a hub's repository with the revision, a package, or nothing more than the
        file's own name, since folders are nobody else's business.
    sha256
        Its checksum.
    commit
        Of the repository; ``""`` for what is from elsewhere.
    """

    path: Path
    origin: str
    sha256: str
    commit: str = ""

    @property
    def fields(self) -> dict[str, str]:
        """What a manifest notes of it."""
        return {"file": self.path.name, "from": self.origin, "sha256": self.sha256}


def local_source(path: Path) -> Source:
    """Return a file of the user's.

    Raises
    ------
    InputError
        It cannot be read.
    """
    try:
        return Source(path, "a local file", file_sha256(path))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error


def get(where: str, name: str, revision: str | None = None, sha256: str | None = None) -> Source:
    """Return one file of a folder, or of a repository of the hub; see `fetch`.

    Raises
    ------
    InputError
        There is no such folder, and no repository can be called so; or the file is not there.
    """
    folder = Path(where).expanduser()
    if where and folder.is_dir():
        return local_source(folder / name)
    if _REPOSITORY.fullmatch(where) is None or folder.exists():
        raise InputError(f"{where}: no such folder, and no name of a model on the hub")
    return fetch(where, name, revision, sha256)


def fetch(
    repository: str, name: str, revision: str | None = None, sha256: str | None = None
) -> Source:
    """Fetch one file of a repository, unless it is here already.

    Parameters
    ----------
    repository
        ``owner/name``.
    name
        The file's.
    revision
        A branch, a tag or a commit; the default branch by default.
    sha256
        What the file must be, where that is known.

    Raises
    ------
    MissingExtraError
        huggingface-hub is not installed.
    RemoteFailedError
        It cannot be fetched: what has arrived is kept, and the next call resumes.
    FullDiskError
        There is no room for it.
    InputError
        The hub has no such file.
    LocationNetError
        What arrived is not the file.
    """
    try:
        import huggingface_hub as hub
        from huggingface_hub import constants
    except ModuleNotFoundError as error:
        raise MissingExtraError("fetching from the Hugging Face hub", "geoclip") from error
    what = f"{repository}/{name}"
    with _one_line_errors(what):
        if revision is not None and _COMMIT.fullmatch(revision):
            found = _kept(hub, repository, name, revision)
            if found is not None:
                return _checked(found, repository, revision, sha256)
        url = hub.hf_hub_url(repository, name, revision=revision)
        about = hub.get_hf_file_metadata(url, token=None, headers=_headers())
        commit, size = about.commit_hash, about.size
        if commit is None or _COMMIT.fullmatch(commit) is None or size is None:
            raise RemoteFailedError(f"{what}: {constants.ENDPOINT} does not answer as a hub")
        # Large files are named by their checksum.
        if sha256 is None and _SHA256.fullmatch(about.etag or ""):
            sha256 = about.etag
        found = _kept(hub, repository, name, commit)
        if found is None:
            found = _downloaded(url, _place(repository, name, commit), size)
    return _checked(found, repository, commit, sha256)


def _kept(hub: Any, repository: str, name: str, commit: str) -> Path | None:
    """Return the file where an earlier call or another program has put it."""
    own = _place(repository, name, commit)
    if own.is_file():
        return own
    cached = hub.try_to_load_from_cache(repository, name, revision=commit)
    return Path(cached) if isinstance(cached, str) else None


def _place(repository: str, name: str, commit: str) -> Path:
    return downloads_folder() / repository.replace("/", "--") / commit / name


def _checked(path: Path, repository: str, commit: str, sha256: str | None) -> Source:
    """Return the file if it is what it should be; remove it if we fetched something else."""
    found = file_sha256(path)
    if sha256 is not None and found != sha256:
        if path.is_relative_to(downloads_folder()):
            path.unlink()
        raise LocationNetError(
            f"{path}: not {repository}'s {path.name} (its sha256 is {found[:12]}…, expected"
            f" {sha256[:12]}…)"
        )
    return Source(path, f"{repository}@{commit}", found, commit)


def _downloaded(url: str, path: Path, size: int) -> Path:
    from huggingface_hub.file_download import http_get

    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    with part.open("ab") as file:
        here = file.tell()
        if here > size:
            file.truncate(0)
            here = 0
        http_get(
            url,
            file,
            resume_size=here,
            headers=_headers(),
            expected_size=size,
            displayed_filename=path.name,
        )
    part.replace(path)
    return path


def _headers() -> dict[str, str]:
    """Return what the hub wants with each request, the user's own key where one is set up."""
    from huggingface_hub import utils

    headers: dict[str, str] = utils.build_hf_headers()  # type: ignore[attr-defined]
    return headers


@contextmanager
def _one_line_errors(what: str) -> Iterator[None]:
    """Turn what the hub's library raises, often a page of advice, into one line."""
    from huggingface_hub import constants, errors, utils

    bars: Any = utils  # which says of little in it that it may be imported

    library = logging.getLogger("huggingface_hub")
    level, quiet = library.level, bars.are_progress_bars_disabled()
    library.setLevel(logging.ERROR)
    if not sys.stderr.isatty():
        bars.disable_progress_bars()
    try:
        yield
    except errors.EntryNotFoundError as error:
        raise InputError(f"{what}: no such file on {constants.ENDPOINT}") from error
    except errors.RevisionNotFoundError as error:
        raise InputError(f"{what}: no such revision on {constants.ENDPOINT}") from error
    except errors.RepositoryNotFoundError as error:  # or one that is not open to all
        raise InputError(f"{what}: no such model on {constants.ENDPOINT}") from error
    except errors.HFValidationError as error:
        raise InputError(f"{what}: not a name that the hub gives") from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise FullDiskError(f"{what}: no room to keep it in {downloads_folder()}") from error
        if error.filename is not None:
            raise LocationNetError(
                f"{error.filename}: cannot be written ({error.strerror})"
            ) from error
        raise _unreachable(what, constants.ENDPOINT, error) from error
    except Exception as error:  # of the HTTP library, which is another one in each version
        raise _unreachable(what, constants.ENDPOINT, error) from error
    finally:
        library.setLevel(level)
        if not quiet:
            bars.enable_progress_bars()


def _unreachable(what: str, endpoint: str, error: Exception) -> LocationNetError:
    if isinstance(error, LocationNetError):
        return error
    why = " ".join(str(error).split()) or type(error).__name__
    return RemoteFailedError(f"{what}: cannot be fetched from {endpoint} ({why[:200]})")
