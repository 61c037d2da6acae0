"""``locationnet library``: places for one's own photos that say none, on one's own machine."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from locationnet.cli.options import Threads
from locationnet.cli.outputs import require_folder, require_new_folder
from locationnet.cli.terminal import progress_bar, say

if TYPE_CHECKING:
    from locationnet.library.scan import Scanned
    from locationnet.library.write import Written

app = typer.Typer(
    help="Find places for your own photos that say none; nothing leaves your machine.\n\n"
    "Example: locationnet library scan ~/Pictures -o library",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Library = Annotated[Path, typer.Argument(metavar="LIBRARY", help="The folder that scan wrote.")]


@app.command()
def scan(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where your photos lie.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="LIBRARY", help="The folder of the library.")
    ],
) -> None:
    """List the photos of a folder with their time, camera and place, in one file.

    Example: locationnet library scan ~/Pictures -o library

    Reads the positions that are embedded in your photos, which no other command does. The photos
    stay as they are. Again, it reads only what is new or changed.
    """
    from locationnet.library.catalog import Catalog
    from locationnet.library.scan import scan as scan_folder

    require_new_folder(out)
    say("reading embedded positions (only `library scan` does); they stay in this library")
    with Catalog(out, create=True) as catalog, progress_bar() as bar:
        task = bar.add_task("photos", total=None)
        found = scan_folder(folder, catalog, lambda done: bar.update(task, advance=done))
        photos = catalog.photos()
    for line in found.unreadable:
        say(f"error: {line}", error=True)
    _report(found)
    known = sum(photo.known for photo in photos)
    timed = sum(photo.facts.taken is not None for photo in photos if not photo.known)
    say(
        f"{out}: {len(photos):,} photos: {known:,} say where, {timed:,} others when,"
        f" {len(photos) - known - timed:,} neither"
    )
    if found.unreadable:
        raise typer.Exit(1)


def _report(found: Scanned) -> None:
    say(f"{found.read:,} read, {found.unchanged:,} unchanged, {found.moved:,} moved")
    counts = [
        (found.missing, "no longer there; kept until they come back"),
        (found.duplicates, "the same file as another"),
        (found.links, "links to what is listed anyway"),
    ]
    for count, what in counts:
        if count:
            say(f"{count:,} {what}")
    if found.other:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in found.other.most_common(8))
        say(f"{found.other.total():,} other files are not read: {kinds}")


@app.command()
def propose(
    library: Library,
    gpx: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="A track of where you were; repeat for several."),
    ] = None,
    max_radius: Annotated[
        float,
        typer.Option(
            metavar="KM", min=0, help="Leave alone what half of the probability is wider around."
        ),
    ] = 500,
    use: Annotated[
        str,
        typer.Option(metavar="SOURCES", help="Of time and model, with a comma between."),
    ] = "time",
    model: Annotated[
        str, typer.Option(help="A bundle's name or directory (see `locationnet models`).")
    ] = "demo",
    threads: Threads = None,
) -> None:
    """Propose a place for each photo that says when it was taken but not where.

    Example: locationnet library propose library --gpx hike.gpx

    From the photos with places before and after, and from tracks. It hides known photos of yours to
    learn how far you get in an hour, and says how good its proposals are here. Nothing is written
    to the photos.
    """
    from locationnet.library.catalog import Catalog
    from locationnet.library.propose import clock_text
    from locationnet.library.propose import propose as propose_places
    from locationnet.library.tracks import read_gpx

    sources = _sources(use)
    tracks = [read_gpx(path) for path in gpx or []]
    with Catalog(library) as catalog:
        photos = catalog.photos()
        voice = None
        if "model" in sources:
            from locationnet.library.model_voice import model_voice
            from locationnet.model.locator import load_model

            voice = model_voice(load_model(model), threads)
        found = propose_places(photos, tracks, voice=voice, max_radius_km=max_radius)
        catalog.replace_proposals(found.proposals)
    for camera, hours in found.clock_h.items():
        say(f"{camera or 'camera without a name'}: its clock {clock_text(hours)}, as others were")
    for one, other in found.apart:
        say(f"{one or 'camera without a name'} and {other or 'one without a name'} travel apart")
    if found.here is not None:
        off = found.here.off_km
        shares = ", ".join(f"{(off <= km).mean():.0%} within {km} km" for km in (1, 25, 200))
        say(
            f"of {len(off):,} photos whose place is known, hidden one by one: {shares};"
            f" {found.here.inside:.0%} within the 50 % radius"
        )
    if "model" in sources:
        heard = f"counts with weight {found.strength:g}" if found.strength else "does not help here"
        say(f"the model {heard}")
    offered = sum(it.offered for it in found.proposals.values())
    known = sum(photo.known for photo in photos)
    without = len(photos) - known - len(found.proposals)
    say(
        f"{library}: {len(found.proposals):,} proposals, {offered:,} of them within"
        f" {max_radius:g} km, {len(found.proposals) - offered:,} left alone"
    )
    if without:
        why = "say no time" if known else "have no known photo to go by"
        say(f"{without:,} photos {why}")


def _sources(use: str) -> set[str]:
    sources = {part.strip() for part in use.split(",")}
    if not sources <= {"time", "model"} or "time" not in sources:
        raise typer.BadParameter(f"--use {use}: expected time, or time,model")
    return sources


@app.command()
def export(
    library: Library,
    out: Annotated[
        Path,
        typer.Option("--out", "-o", metavar="FILE", help="Its suffix: .csv, .gpx, .kml, .geojson."),
    ],
) -> None:
    """Write each photo with its place, 50 % radius, state and reasons to one file.

    Example: locationnet library export library -o proposals.csv

    The states are known, proposed, accepted and left alone; CSV has a row for every photo, the
    others a point for each that has a place.
    """
    from locationnet.files import write_text
    from locationnet.library.catalog import Catalog
    from locationnet.library.places import FORMATS, placed_photos

    require_folder(out)
    form = FORMATS.get(out.suffix.lower())
    if form is None:
        raise typer.BadParameter(f"{out}: expected one of {', '.join(FORMATS)}")
    with Catalog(library) as catalog:
        photos = placed_photos(catalog)
    write_text(out, form(photos))
    states = Counter(it.state for it in photos)
    counts = ", ".join(f"{count:,} {state}" for state, count in sorted(states.items()))
    say(f"{out}: {len(photos):,} photos: {counts or 'none'}")


@app.command()
def review(
    library: Library,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="To listen on; 0 takes a free one.")
    ] = 0,
) -> None:
    """Show proposals on a page of your own machine, to accept, move and reject them.

    Example: locationnet library review library

    Open the printed address; its token keeps everybody else out. Ends with Ctrl-C. Photos stay as
    they are.
    """
    from locationnet.library.catalog import Catalog
    from locationnet.library.review import serve

    with Catalog(library) as catalog:
        serve(catalog, port, lambda address: say(f"review at {address}  (Ctrl-C ends it)"))


@app.command()
def write(
    library: Library,
    in_place: Annotated[
        bool,
        typer.Option("--in-place", help="Into the photos themselves, by ExifTool. Keeps copies."),
    ] = False,
) -> None:
    """Write accepted places to XMP sidecars beside the photos.

    Example: locationnet library write library

    Only what you have accepted is written, and photos stay as they are without --in-place. Each
    change is in the library's journal: `locationnet library undo` gives every file back.
    """
    from locationnet.library.catalog import Catalog
    from locationnet.library.write import write as write_places

    with Catalog(library) as catalog, progress_bar() as bar:
        task = bar.add_task("photos", total=None)
        found = write_places(
            catalog, in_place=in_place, advance=lambda done: bar.update(task, advance=done)
        )
    what = "photos" if in_place else "sidecars"
    _end(found, f"{found.written:,} {what} written, {found.unchanged:,} said a place already")


@app.command()
def undo(library: Library) -> None:
    """Give back every file that write has changed, byte for byte.

    Example: locationnet library undo library

    A file that something else has changed since is named and left as it is.
    """
    from locationnet.library.catalog import Catalog
    from locationnet.library.write import undo as give_back

    with Catalog(library) as catalog:
        found = give_back(catalog)
    _end(found, f"{found.written:,} files are as they were")


def _end(found: Written, summary: str) -> None:
    for line in found.failed:
        say(f"error: {line}", error=True)
    say(summary)
    if found.failed:
        raise typer.Exit(1)
