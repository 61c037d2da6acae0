"""Accepted places into XMP sidecars, or by ExifTool into the photos; each change can be undone.

Knows files and the journal; nothing of how places were found. What a file was is in the journal,
on disk, before the file is changed, so that a kill at any moment loses nothing.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree.ElementTree import ParseError

from locationnet.errors import FullDiskError, InputError, LocationNetError, MissingExtraError
from locationnet.files import written_whole
from locationnet.library import xmp
from locationnet.library.catalog import Catalog, Change
from locationnet.library.photo_facts import RAW_SUFFIXES, read_photo
from locationnet.library.places import PlacedPhoto, placed_photos
from locationnet.names import printable

# Copies of photos that ExifTool has changed, by the number of the change.
ORIGINALS = "originals"
_EXIF = "http://ns.adobe.com/exif/1.0/"
_NEW = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>
"""
_END = re.compile(rb"[ \t]*</(?:([A-Za-z_][\w.-]*):)?RDF\s*>")
_ABOUT = re.compile(rb"""<(?:[\w.-]+:)?Description\b[^>]*?\babout\s*=\s*("[^"]*"|'[^']*')""", re.S)
_EXIFTOOL_S = 120.0
# A tenth of a metre.
_SAME_DEGREES = 1e-6


@dataclass
class Written:
    """What became of it.

    Parameters
    ----------
    written
        Files that were written, or given back.
    unchanged
        Photos whose file says their place already.
    failed
        A line for each file that was left as it was.
    """

    written: int = 0
    unchanged: int = 0
    failed: list[str] = field(default_factory=list)


def write(
    catalog: Catalog,
    *,
    in_place: bool = False,
    advance: Callable[[int], object] = lambda _: None,
) -> Written:
    """Write each accepted place; a file that cannot be written is reported, and the rest goes on.

    Parameters
    ----------
    catalog
        The library.
    in_place
        Into the photos themselves, by ExifTool, instead of sidecars.
    advance
        Called with the number of photos done since the last call.

    Raises
    ------
    InputError
        ExifTool is not installed, and is needed.
    FullDiskError
        There is no room; what was written is in the journal.
    """
    tool = _exiftool() if in_place else ""
    found = Written()
    earlier = {change.path: change for change in catalog.writes()}
    for it in placed_photos(catalog):
        if it.state != "accepted":
            continue
        try:
            path = it.photo.path.resolve() if in_place else sidecar_for(it.photo.path)
            if not it.photo.path.is_file():
                raise LocationNetError(f"{it.photo.path}: is no longer there; scan again")
            done = False
            if not _says(path, it, earlier.get(path), catalog):
                done = True
                if in_place:
                    _write_photo(catalog, it, path, tool)
                else:
                    _write_sidecar(catalog, it, path)
            found.written += done
            found.unchanged += not done
        except (FullDiskError, MissingExtraError):
            raise
        except LocationNetError as error:
            found.failed.append(printable(str(error)))
        except OSError as error:
            where = printable(error.filename or it.photo.path)
            found.failed.append(f"{where}: {error.strerror or error}")
        advance(1)
    return found


def undo(catalog: Catalog) -> Written:
    """Give every file back that `write` has changed, byte for byte, the last change first.

    A file that somebody else has changed since is left as it is and reported; it stays in the
    journal.
    """
    found = Written()
    for change in reversed(catalog.writes()):
        try:
            if _give_back(catalog, change):
                found.written += 1
            else:
                found.unchanged += 1
        except FullDiskError:
            raise
        except LocationNetError as error:
            found.failed.append(printable(str(error)))
        except OSError as error:
            found.failed.append(f"{printable(change.path)}: {error.strerror or error}")
    return found


def with_position(sidecar: bytes, lat: float, lng: float) -> bytes:
    """Return a sidecar with a position added; all else stays as it is, to the byte.

    Raises
    ------
    ValueError
        It is not XMP in UTF-8, or says a position already.
    """
    from defusedxml.common import DefusedXmlException
    from defusedxml.ElementTree import fromstring

    said = xmp.parse(sidecar)
    if said.lat is not None:
        raise ValueError("it says a position already")
    ends = list(_END.finditer(sidecar))
    try:
        sidecar.decode("utf-8")
    except UnicodeDecodeError:
        ends = []
    if not ends:
        raise ValueError("it is not XMP in UTF-8")
    end = ends[-1]
    about = _ABOUT.search(sidecar)
    prefix = f"{end[1].decode()}:" if end[1] else ""
    named = about[1].decode() if about else '""'
    position = (
        f'  <{prefix}Description xmlns:exif="{_EXIF}"'
        f"{_about_attribute(prefix, named)}\n"
        f'   exif:GPSVersionID="2.3.0.0" exif:GPSMapDatum="WGS-84"\n'
        f'   exif:GPSLatitude="{_coordinate(lat, "NS")}"\n'
        f'   exif:GPSLongitude="{_coordinate(lng, "EW")}"/>\n'
    )
    made = sidecar[: end.start()] + position.encode() + sidecar[end.start() :]
    try:
        fromstring(made.strip(b"\0 \r\n\t"), forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError) as error:
        raise ValueError("it is not XMP that can be read") from error
    if xmp.parse(made).lat is None:
        raise ValueError("it is not XMP that can be read")
    return made


def _about_attribute(prefix: str, named: str) -> str:
    # Without a prefix of the element, RDF's own namespace has to be named for the attribute.
    if prefix:
        return f" {prefix}about={named}"
    return f' xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" rdf:about={named}'


def _coordinate(degrees: float, sides: str) -> str:
    """Return degrees and minutes as XMP writes them; seven decimals are two tenths of a mm."""
    whole, minutes = divmod(round(abs(degrees) * 60, 7), 60)
    return f"{whole:.0f},{minutes:.7f}{sides[degrees < 0]}"


def sidecar_for(photo: Path) -> Path:
    """Return the sidecar to write: the one that is there, else by the name that most read.

    ``IMG.jpg.xmp`` for photos; ``IMG.xmp`` for raw files, the only name that Lightroom looks for.
    """
    beside = xmp.sidecars(photo)
    for path in beside:
        if path.is_file():
            return path
    return beside[photo.suffix.lower() in RAW_SUFFIXES]


def _says(path: Path, it: PlacedPhoto, earlier: Change | None, catalog: Catalog) -> bool:
    """Return whether a file says a place; ours that is not the accepted one is taken back first."""
    if not path.exists():
        return False
    is_sidecar = path.suffix.lower() == ".xmp"
    said = xmp.parse(path.read_bytes()) if is_sidecar else read_photo(path)[1]
    if said.lat is None or said.lng is None:
        return False
    if earlier is None or _digest(path.read_bytes()) != earlier.after:
        return True
    if max(abs(said.lat - (it.lat or 0)), abs(said.lng - (it.lng or 0))) < _SAME_DEGREES:
        return True
    _give_back(catalog, earlier)
    return False


def _write_sidecar(catalog: Catalog, it: PlacedPhoto, path: Path) -> None:
    before = path.read_bytes() if path.exists() else None
    try:
        after = with_position(before or _NEW.encode(), it.lat or 0.0, it.lng or 0.0)
    except ValueError as error:
        raise LocationNetError(f"{path}: {error}; left as it is") from error
    times = None if before is None else path.stat().st_mtime_ns
    with catalog.changes():
        catalog.begin_write(it.photo.number, path, before, times, _digest(after))
    _replace(path, after)


def _write_photo(catalog: Catalog, it: PlacedPhoto, path: Path, tool: str) -> None:
    stat = path.stat()
    if (stat.st_size, stat.st_mtime_ns) != (it.photo.size, it.photo.changed_ns):
        raise LocationNetError(f"{path}: has changed since the scan; scan again")
    with catalog.changes():
        number = catalog.begin_write(it.photo.number, path, None, stat.st_mtime_ns, b"")
    kept = _original(catalog, number)
    kept.parent.mkdir(exist_ok=True)
    # ExifTool makes the new file beside the old one, which stays whole until it is replaced.
    part = path.with_name(f".{path.name}.part{path.suffix}")
    part.unlink(missing_ok=True)  # of a run that was killed
    try:
        with written_whole(kept) as copy:
            shutil.copy2(path, copy)
        run = subprocess.run(  # noqa: S603  # its name was looked up, and the rest are arguments
            [
                tool, "-P", "-n", "-q", "-o", os.fspath(part),
                f"-EXIF:GPSLatitude={abs(it.lat or 0)!r}",
                f"-EXIF:GPSLatitudeRef={'NS'[(it.lat or 0) < 0]}",
                f"-EXIF:GPSLongitude={abs(it.lng or 0)!r}",
                f"-EXIF:GPSLongitudeRef={'EW'[(it.lng or 0) < 0]}",
                "-EXIF:GPSMapDatum=WGS-84", os.fspath(path.absolute()),
            ],
            capture_output=True, timeout=_EXIFTOOL_S, check=False,
        )  # fmt: skip
        if run.returncode or not part.exists():
            said = run.stderr.decode("utf-8", "replace").strip().splitlines() or ["it failed"]
            raise LocationNetError(f"{path}: ExifTool: {said[0]}")
        with catalog.changes():
            catalog.finish_write(number, _digest(part.read_bytes()))
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        with catalog.changes():
            catalog.forget_write(number)
        kept.unlink(missing_ok=True)
        raise


def _give_back(catalog: Catalog, change: Change) -> bool:
    kept = _original(catalog, change.number)
    before = kept.read_bytes() if kept.is_file() else change.before
    now = change.path.read_bytes() if change.path.exists() else None
    back = False
    if now is not None and _digest(now) == change.after:
        if before is None:
            change.path.unlink()
        else:
            _replace(change.path, before)
            if change.changed_ns is not None:
                os.utime(change.path, ns=(change.changed_ns, change.changed_ns))
        back = True
    elif now != before and change.after:
        raise LocationNetError(f"{change.path}: was changed by others since; left as it is")
    with catalog.changes():
        catalog.forget_write(change.number)
    kept.unlink(missing_ok=True)
    return back


def _replace(path: Path, data: bytes) -> None:
    with written_whole(path) as part:
        part.write_bytes(data)
        if path.exists():
            shutil.copymode(path, part)


def _original(catalog: Catalog, number: int) -> Path:
    return catalog.folder / ORIGINALS / str(number)


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _exiftool() -> str:
    tool = shutil.which("exiftool")
    if tool is None:
        raise InputError("--in-place needs ExifTool, of the system's package of that name")
    return tool
