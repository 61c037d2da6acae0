"""Writing an index: photos are added, removed and kept out, each time wholly or not at all.

Knows the files and in which order they are written; what is searched in is `search`'s business.
Files that a manifest names are never changed: a change writes new ones, then replaces the manifest
by a rename, then throws the earlier ones away. Photos of an interrupted call that went through the
network are kept in ``.adding`` for the same call to go on.
"""

from __future__ import annotations

import io
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from locationnet.errors import InputError, LocationNetError
from locationnet.files import csv_writer, file_sha256, write_text, written_whole
from locationnet.progress import Progress
from locationnet.retrieval.embedding import Embedding, embed_all
from locationnet.retrieval.index import (
    FIELDS,
    MANIFEST,
    Contents,
    Index,
    check_network,
    read_contents,
)
from locationnet.retrieval.indexed_photos import PhotosToIndex, counts_text
from locationnet.retrieval.kinds import Kind, kind_for
from locationnet.retrieval.refinement import Sample, fit
from locationnet.retrieval.search import Vectors, build, faiss_module, open_file, write
from locationnet.tables.read import write_table

if TYPE_CHECKING:
    import pyarrow as pa

    from locationnet.model.bundle import Bundle
    from locationnet.model.locator import Locator

SKIPPED = "skipped.csv"
ALREADY_IN = "already in the index"
TWICE = "another row has the same id"
OPTED_OUT = "opted out"
_ADDING, _LOCK = ".adding", ".lock"
# Photos of a segment: what removing one costs.
_SEGMENT = 1 << 16


@dataclass(frozen=True)
class Change:
    """What a call did: photos ``added`` and ``removed``, ``skipped`` (name, reason), all left."""

    added: int
    removed: int
    skipped: tuple[tuple[str, str], ...]
    contents: Contents

    @property
    def reasons(self) -> dict[str, int]:
        """How many were skipped for each reason, sorted."""
        return dict(sorted(Counter(reason for _, reason in self.skipped).items()))


def add(
    out: Path,
    locator: Locator,
    photos: PhotosToIndex,
    *,
    kind: Kind | None = None,
    validation: PhotosToIndex | None = None,
    threads: int | None = None,
    advance: Progress | None = None,
) -> Change:
    """Add photos to an index, which is made where it is missing; the same call resumes.

    Parameters
    ----------
    out
        The index's folder.
    locator
        Its network's embeddings are indexed.
    photos
        Those that are in the index already, or have opted out, are skipped.
    kind
        How it is searched; by its size, or as it was, by default.
    validation
        Photos to fit the weights on; by default those of the index itself, each as if it and those
        that are nearly the same or by the same uploader were not in it.
    threads
        Photos worked on at a time; as many as there are processors by default.
    advance
        Called with the photos embedded so far and those to embed in all.

    Raises
    ------
    InputError
        The index is another network's or corrupt, or would have no photos.
    BundleError
        The network answers no embedding.
    LocationNetError
        Another call is writing the index, or it cannot be written.
    """
    faiss_module()
    with _locked(out):
        earlier = _earlier(out)
        if earlier is not None:
            check_network(out, earlier, locator.bundle)
            kind = kind or (earlier.kind if earlier.kind != kind_for(earlier.photos) else None)
        chosen, skipped = _new_ones(out, earlier, photos)
        made = Embedding(out / _ADDING, locator, photos.chosen(chosen))
        made.complete(threads, advance)
        segments = list(earlier.segments) if earlier else []
        files = dict(earlier.files) if earlier else {}
        samples, added = [], 0
        for embedded in made.read(_SEGMENT):
            skipped += embedded.unread
            if embedded.rows.num_rows:
                segments.append(_write_segment(out, files, embedded.rows, embedded.vectors))
                samples.append(embedded.sample())
                added += embedded.rows.num_rows
        if added:
            contents = search_over(
                out, _identity(locator.bundle, earlier), segments, files, kind, earlier
            )
        elif earlier is not None:
            contents = earlier
        else:
            raise InputError(
                f"{photos.name}: none of its photos can be indexed ({counts_text(skipped)})"
            )
        if validation is not None:
            samples = [embed_all(locator, validation, threads).sample()]
        if samples:
            index = Index(out, contents)
            weights = fit(index, Sample.joined(samples), locator.bundle, contents.weights)
            contents = contents.model_copy(update={"weights": weights})
        _write_skipped(out, skipped)
        _publish(out, contents)
        made.remove()
    return Change(added, 0, tuple(skipped), contents)


def remove(
    out: Path, ids: Iterable[str] = (), opt_out: Iterable[str] = (), uploaders: Iterable[str] = ()
) -> Change:
    """Remove photos from an index, and their rows and embeddings from its files.

    Parameters
    ----------
    out
        The index's folder.
    ids
        Photos that are in it; they may be added again.
    opt_out, uploaders
        Photos, and uploaders, that may never be added again, whether they are in it or not.

    Raises
    ------
    InputError
        A photo of `ids` is not in the index, or no photo would be left.
    """
    faiss_module()
    with _locked(out, make=False):
        contents = read_contents(out)
        index = Index(out, contents)
        own = index.rows["id"].to_pylist()
        ids = list(dict.fromkeys(ids))
        known = set(own)
        for photo in ids:
            if photo not in known:
                raise InputError(f"{out}: photo {photo!r} is not in the index")
        never, nobody = set(opt_out), set(uploaders)
        gone = set(ids) | never
        keep = np.array(
            [
                photo not in gone and by not in nobody
                for photo, by in zip(own, index.rows["uploader"].to_pylist(), strict=True)
            ]
        )
        if not keep.any():
            raise InputError(f"{out}: no photo would be left; remove the folder instead")
        contents = contents.model_copy(
            update={
                "opted_out": tuple(sorted({*contents.opted_out, *never})),
                "opted_out_uploaders": tuple(sorted({*contents.opted_out_uploaders, *nobody})),
            }
        )
        if not keep.all():
            segments, files = _without(out, index, keep)
            contents = search_over(
                out, contents.model_dump(), segments, files, contents.kind, contents
            )
        _publish(out, contents)
    return Change(0, int((~keep).sum()), (), contents)


def _without(out: Path, index: Index, keep: NDArray[np.bool_]) -> tuple[list[str], dict[str, str]]:
    """Write anew the segments of which photos go; return all, with the files' checksums."""
    segments, files, start = [], dict(index.contents.files), 0
    sizes = [len(np.load(out / f"{name}.npy", mmap_mode="r")) for name in index.contents.segments]
    for name, size in zip(index.contents.segments, sizes, strict=True):
        numbers = np.arange(start, start + size)
        start += size
        left = numbers[keep[numbers]]
        if len(left) < size:
            del files[f"{name}.npy"], files[f"{name}.parquet"]
            if not len(left):
                continue
            name = _write_segment(out, files, index.rows.take(left), index.vectors(left))
        segments.append(name)
    return segments, files


def _earlier(out: Path) -> Contents | None:
    return read_contents(out) if (out / MANIFEST).exists() else None


def _new_ones(
    out: Path, earlier: Contents | None, photos: PhotosToIndex
) -> tuple[list[int], list[tuple[str, str]]]:
    """Return the rows to add, and why others are not."""
    skipped, chosen = list(photos.skipped), []
    there = set() if earlier is None else set(Index(out, earlier).rows["id"].to_pylist())
    never = set(earlier.opted_out) if earlier else set()
    nobody = set(earlier.opted_out_uploaders) if earlier else set()
    seen: set[str] = set()
    pairs = zip(photos.rows["id"].to_pylist(), photos.rows["uploader"].to_pylist(), strict=True)
    for row, (photo, by) in enumerate(pairs):
        if photo in never or by in nobody:
            skipped.append((photo, OPTED_OUT))
        elif photo in there:
            skipped.append((photo, ALREADY_IN))
        elif photo in seen:
            skipped.append((photo, TWICE))
        else:
            seen.add(photo)
            chosen.append(row)
    return chosen, skipped


def _write_segment(out: Path, files: dict[str, str], rows: pa.Table, vectors: Vectors) -> str:
    name = f"photos-{uuid.uuid4().hex[:16]}"
    with written_whole(out / f"{name}.npy") as path, path.open("wb") as file:
        np.save(file, vectors.astype(np.float16))
    write_table(out / f"{name}.parquet", rows.select(list(FIELDS)))
    for suffix in (".npy", ".parquet"):
        files[name + suffix] = file_sha256(out / (name + suffix))
    return name


def search_over(
    out: Path,
    identity: dict[str, Any],
    segments: list[str],
    files: dict[str, str],
    kind: Kind | None,
    earlier: Contents | None,
) -> Contents:
    """Make what is searched over some segments; return contents that name all files."""
    arrays = [np.load(out / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in segments]
    photos, dimensions = sum(map(len, arrays)), arrays[0].shape[1]
    kind = kind or kind_for(photos)
    files = {name: sha for name, sha in files.items() if not name.startswith("search-")}
    learned, again = photos, None
    if earlier is not None and earlier.kind == kind and photos < 2 * earlier.learned_from:
        learned, again = earlier.learned_from, open_file(out / earlier.search, kind, to_change=True)

    def sample(count: int) -> Vectors:
        rng = np.random.default_rng(photos)
        share = min(1.0, count / photos)
        chosen = [array[np.flatnonzero(rng.random(len(array)) < share)] for array in arrays]
        return np.asarray(np.concatenate(chosen), np.float32)

    def parts() -> Iterator[Vectors]:
        for array in arrays:
            for start in range(0, len(array), 8192):
                yield np.asarray(array[start : start + 8192], np.float32)

    index = build(kind, dimensions, photos, sample, parts(), again)
    name = f"search-{uuid.uuid4().hex[:16]}.faiss"
    with written_whole(out / name) as path:
        write(index, path)
    files[name] = file_sha256(out / name)
    new: dict[str, Any] = {
        "dimensions": dimensions, "photos": photos, "kind": kind, "search": name,
        "learned_from": learned, "segments": tuple(segments), "files": files,
    }  # fmt: skip
    return Contents.model_validate({**identity, **new})


def _identity(bundle: Bundle, earlier: Contents | None) -> dict[str, Any]:
    """Return the fields of contents that do not come from the photos."""
    if earlier is not None:
        return earlier.model_dump()
    manifest = bundle.manifest
    return {
        "network_sha256": bundle.network_sha256,
        "model": f"{manifest.name} {manifest.version}",
    }


def _write_skipped(out: Path, skipped: Sequence[tuple[str, str]]) -> None:
    listing = io.StringIO()
    writer = csv_writer(listing)
    writer.writerow(("photo", "reason"))
    writer.writerows(skipped)
    write_text(out / SKIPPED, listing.getvalue())


def _publish(out: Path, contents: Contents) -> None:
    """Make contents those of the index, and throw away what they do not name."""
    write_text(out / MANIFEST, contents.model_dump_json(indent=1) + "\n")
    _sweep(out, contents)


def _sweep(out: Path, contents: Contents | None) -> None:
    named = set(contents.files) if contents else set()
    for pattern in ("photos-*", "search-*", ".photos-*.part", ".search-*.part"):
        for path in out.glob(pattern):
            if path.name not in named:
                path.unlink(missing_ok=True)


@contextmanager
def _locked(out: Path, *, make: bool = True) -> Iterator[None]:
    """Keep other calls away, and remove what a killed one left."""
    import fcntl  # which not every system has

    try:
        if make:
            out.mkdir(parents=True, exist_ok=True)
        elif not (out / MANIFEST).is_file():
            read_contents(out)
        lock = (out / _LOCK).open("a")
    except OSError as error:
        raise LocationNetError(f"{out}: cannot be written ({error.strerror})") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LocationNetError(
                f"{out}: another call is writing it; wait until that has ended"
            ) from None
        _sweep(out, _earlier(out))
        yield
