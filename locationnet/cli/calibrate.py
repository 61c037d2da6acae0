"""``locationnet calibrate``: photos with known places in, a bundle whose probabilities hold out."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from locationnet.cli.options import Reducing, Threads
from locationnet.cli.terminal import progress_bar, say

if TYPE_CHECKING:
    from locationnet.calibrate.fit import Fit


def calibrate(
    bundle: Annotated[str, typer.Argument(metavar="BUNDLE", help="Its name or directory.")],
    benchmark: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|TABLE",
            help="Photos with known places that the model has not learned from, as for evaluate.",
        ),
    ] = None,
    images: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Its files, or where paths start.")
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Photos that belong together, not the uploader's."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write a calibrated copy here.")
    ] = None,
    precision: Reducing = None,
    undo: Annotated[
        bool, typer.Option("--undo", help="Give the bundle back what it said before.")
    ] = False,
    threads: Threads = None,
) -> None:
    """Measure how far a bundle's answers can be believed, and write that into its manifest.

    Example: locationnet calibrate geoclip --benchmark photos.csv

    Fits the temperature of the probabilities and the information below which answers abstain, and
    counts how often the strongest hint is right. A bundle that cannot be written to is copied to
    the data directory.
    """
    from locationnet.calibrate.calibrated_bundle import (
        default_target,
        write_calibrated,
    )
    from locationnet.calibrate.calibrated_bundle import (
        undo as give_back,
    )
    from locationnet.model.bundle import Bundle

    opened = Bundle.open(bundle)
    _ = opened.grid  # one of labels has no places to measure
    if undo:
        if benchmark is not None or out is not None or precision:
            raise typer.BadParameter("--undo takes no other option")
        give_back(opened)
        say(f"{opened.path}: as before it was calibrated")
        return
    if benchmark is None:
        raise typer.BadParameter("Missing option '--benchmark' (or '--undo').")

    from locationnet.calibrate.fit import fit
    from locationnet.evaluation.benchmark_files import load_benchmark
    from locationnet.model.locator import load_model

    target = default_target(opened) if out is None else out
    photos = load_benchmark(benchmark, images, cluster_column=cluster)
    locator = load_model(bundle)
    with tempfile.TemporaryDirectory() as made, progress_bar() as bar:
        task = bar.add_task("photos", total=len(photos))
        found = fit(
            locator,
            photos,
            reduced=[one.value for one in precision or []],
            folder=Path(made),
            threads=threads,
            advance=lambda done, total: bar.update(task, completed=done, total=total),
        )
        write_calibrated(opened, found, target, Path(made))
    _report(found, opened.manifest.temperature)
    same_name = target.parent == opened.path.parent
    say(f"wrote {target}" + ("" if same_name else f"; use it with --model {target.name}"))


def _report(found: Fit, temperature_before: float) -> None:
    measured = found.calibration
    say(f"{measured.photos:,} photos, intervals clustered by {measured.clustered_by}")
    if found.unread:
        say(f"{found.unread:,} photos could not be read, and do not count")
    say(
        f"temperature: {temperature_before:.3f} -> {found.temperature:.3f}; calibration error:"
        f" {measured.error_before:.3f} -> {measured.error_after:.3f}"
    )
    say(
        f"GeoScore: {measured.geoscore:,.0f}, of the prior {measured.prior_geoscore:,.0f};"
        f" answers below {found.abstain_below_bits:.3g} bits abstain"
    )
    for reduced, offer in found.precisions.items():
        say(
            f"{reduced}: {'allowed' if offer.allowed else 'not allowed'}, names the same cell for"
            f" {offer.top1_agreement:.1%} of {offer.photos:,} photos"
        )
    say("the strongest hint is right:")
    for rate in measured.hints:
        upper = "and more" if rate.to_bits is None else f"to {rate.to_bits}"
        text = f"  {rate.from_bits} {upper} bits: {rate.photos:,} photos"
        for name, share in (("country", rate.country), ("within 750 km", rate.within_750_km)):
            if share is not None:
                text += f", {name} {share.value:.1%} [{share.low:.1%}, {share.high:.1%}]"
        say(text)
