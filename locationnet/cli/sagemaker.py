"""``locationnet sagemaker``: training jobs and endpoints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from locationnet.cli.options import check_train_options
from locationnet.cli.terminal import data_output, json_text, say
from locationnet.names import valid_text

if TYPE_CHECKING:
    from locationnet.aws.recipe import SageMakerRecipe

app = typer.Typer(
    help="Train and serve on SageMaker.\n\n"
    "Example: locationnet sagemaker train recipe.toml --dry-run",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Recipe = Annotated[
    Path, typer.Argument(metavar="RECIPE.toml", help="What to train, on what, and where it goes.")
]


@app.command()
def train(
    recipe: Recipe,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be asked for, and ask for nothing.")
    ] = False,
) -> None:
    """Start a training job and follow its log; a job that is in progress is followed.

    Example: locationnet sagemaker train recipe.toml

    Ctrl-C ends the following only. Checkpoints of an earlier job are gone on with.
    """
    from locationnet.aws import jobs
    from locationnet.aws.recipe import cost

    read = _read(recipe)
    if dry_run:
        typer.echo(json.dumps(jobs.request(read), indent=2))
        say(cost(read.training))
        return
    job = jobs.start(read)
    try:
        for line in jobs.follow(read, job):
            say(line)
    except KeyboardInterrupt:
        say(f"{job} goes on; the same command follows it again", error=True)
        raise typer.Exit(130) from None
    say(f"wrote {jobs.model_data(read)}; next: locationnet sagemaker deploy {recipe}")


@app.command()
def deploy(
    recipe: Recipe,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="BUNDLE",
            help="A bundle's directory, or model.tar.gz in S3; by default of the newest job.",
        ),
    ] = None,
) -> None:
    """Make an endpoint of a trained model and wait until it answers.

    Example: locationnet sagemaker deploy recipe.toml --model bundle
    """
    from locationnet.aws import endpoints, jobs

    read = _read(recipe)
    if model is None:
        data = jobs.model_data(read)
    elif model.startswith("s3://"):
        data = model
    else:
        data = endpoints.upload_bundle(read, Path(model))
    try:
        for line in endpoints.deploy(read, data):
            say(line)
    except KeyboardInterrupt:
        say(
            f"endpoint {read.name} is still being made, and costs until"
            f" `locationnet sagemaker delete {recipe}`",
            error=True,
        )
        raise typer.Exit(130) from None
    say(f"next: locationnet sagemaker invoke {recipe} photo.jpg")


@app.command()
def invoke(
    recipe: Recipe,
    photos: Annotated[list[Path], typer.Argument(metavar="PHOTO...", help="Photos to locate.")],
) -> None:
    """Ask an endpoint where photos were taken; one JSON line for each.

    Example: locationnet sagemaker invoke recipe.toml photo.jpg
    """
    from locationnet.aws import endpoints

    read = _read(recipe)
    for photo in photos:
        answer = endpoints.invoke(read, photo)
        file = data_output()
        file.write(json_text({"photo": valid_text(photo), **answer}, file) + "\n")


@app.command()
def delete(recipe: Recipe) -> None:
    """Stop the run's training jobs and remove its endpoint, configuration and model.

    Example: locationnet sagemaker delete recipe.toml

    What lies in S3 stays.
    """
    from locationnet.aws import endpoints, jobs

    read = _read(recipe)
    done = False
    for job in jobs.names(read, "InProgress"):
        jobs.stop(read, job)
        say(f"asked {job} to stop")
        done = True
    for line in endpoints.delete(read):
        say(line)
        done = True
    if not done:
        say("nothing was there")


def _read(path: Path) -> SageMakerRecipe:
    from locationnet.aws.options import as_strings
    from locationnet.aws.recipe import SageMakerRecipe, read_recipe

    recipe = read_recipe(path, SageMakerRecipe)
    check_train_options(path, as_strings(recipe.train))
    return recipe
