"""``locationnet ec2``: training on machines of EC2, and folders to S3 and back."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from locationnet.cli.options import check_train_options
from locationnet.cli.terminal import say

if TYPE_CHECKING:
    from locationnet.aws.ec2.launch import Plan
    from locationnet.aws.ec2.machines import Running
    from locationnet.aws.recipe import EC2Recipe

app = typer.Typer(
    help="Train on machines of EC2.\n\nExample: locationnet ec2 train recipe.toml --dry-run",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Recipe = Annotated[
    Path, typer.Argument(metavar="RECIPE.toml", help="What to train, on what, and where it goes.")
]
# How long a machine that was asked to stop may take: to notice, to write, to copy, to shut down.
_STOPPING_S = 600.0
_FOLLOW_S = 10.0


@app.command()
def train(
    recipe: Recipe,
    package: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Holds the wheel and requirements.txt.")
    ] = Path("dist"),
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be made, and make nothing.")
    ] = False,
    price: Annotated[
        float | None,
        typer.Option(min=0, help="What a machine costs an hour, for --dry-run to multiply."),
    ] = None,
) -> None:
    """Launch machines that train, keep checkpoints in S3 and end by themselves.

    Example: locationnet ec2 train recipe.toml --dry-run

    Where S3 holds the run already, it goes on from the newest checkpoint.
    """
    from locationnet.aws.ec2 import launch
    from locationnet.aws.recipe import cost

    read = _read(recipe)
    planned = launch.plan(read, package)
    if dry_run:
        _show(planned)
        say(cost(read.machine, price))
        return
    for machine in launch.launch(read, planned):
        say(f"{machine.id} {machine.state}  {machine.type} {machine.market} {machine.zone}")
    say(f"launch {planned.job.launch}; next: locationnet ec2 logs {recipe} --follow")


@app.command()
def status(recipe: Recipe) -> None:
    """List the machines of a run, and the checkpoints in S3.

    Example: locationnet ec2 status recipe.toml
    """
    from locationnet.aws.ec2 import machines

    read = _read(recipe)
    found = machines.machines(read)
    for machine in found:
        say(_line(machine))
    if not found:
        say("no machines")
    states = machines.states(read)
    say(f"newest checkpoint in S3: {states[-1] if states else 'none'}  ({read.out})")


@app.command()
def logs(
    recipe: Recipe,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the machines are gone.")
    ] = False,
    machine: Annotated[int, typer.Option(min=0, help="Of a group: 0 is the one that leads.")] = 0,
) -> None:
    """Print what the newest launch has said; without that, its machines' consoles.

    Example: locationnet ec2 logs recipe.toml --follow
    """
    from locationnet.aws.ec2 import machines
    from locationnet.errors import LocationNetError

    read = _read(recipe)
    launch = machines.newest_launch(read, machine)
    if launch is None:
        raise LocationNetError(
            f"{read.name}: there is neither a log in {read.out} nor a machine that EC2 knows of"
            " (it forgets them an hour after their end)"
        )
    job = machines.launch_job(read, launch)
    done, waiting = 0, False
    while True:
        found = [it for it in machines.machines(read, ended=True) if it.launch == launch]
        running = [it for it in found if it.works]
        text = machines.read_log(read, job, machine, done)
        done += len(text)
        typer.echo(text.decode(errors="replace"), nl=False)
        if not follow or not running:
            break
        if not done and not waiting:
            waiting = True
            say(f"{running[0].id} is {running[0].state}, and installs first", error=True)
        time.sleep(_FOLLOW_S)
    if not done:
        for it in found:
            why = f" ({it.reason})" if it.reason else ""
            say(f"{it.id} is {it.state}{why} and has not started to train; its console:")
            typer.echo(machines.console(read, it))


@app.command()
def stop(
    recipe: Recipe,
    now: Annotated[
        bool, typer.Option("--now", help="Do not wait for a checkpoint: up to the last copy only.")
    ] = False,
) -> None:
    """Have a run write a checkpoint, copy it to S3 and end its machines; remove what is left.

    Example: locationnet ec2 stop recipe.toml
    """
    from rich.console import Console

    from locationnet.aws.ec2 import groups, machines
    from locationnet.errors import LocationNetError

    read = _read(recipe)
    found = machines.machines(read)
    if found and now:
        machines.terminate(read, found)
    elif found:
        machines.ask_to_stop(read, found)
    console = Console(stderr=True)
    with console.status("waiting", spinner="line") as shown:
        for found in machines.until_gone(read, _STOPPING_S):
            shown.update(", ".join(f"{machine.id} {machine.state}" for machine in found))
            # Whoever stopped it in the console left nobody there to notice the request.
            if stopped := [machine for machine in found if machine.state == "stopped"]:
                machines.terminate(read, stopped)
    if found:
        raise LocationNetError(
            f"{found[0].id} is still {found[0].state}: see `locationnet ec2 logs`, or give --now"
        )
    for what in groups.clean(read):
        say(f"removed {what}")
    say("no machines are left")


@app.command()
def sync(
    source: Annotated[str, typer.Argument(metavar="FROM", help="A folder, or s3://BUCKET/FOLDER.")],
    target: Annotated[str, typer.Argument(metavar="TO", help="The other of the two.")],
    region: Annotated[
        str | None, typer.Option(help="Of the bucket; boto3's configuration by default.")
    ] = None,
) -> None:
    """Copy a folder to S3 or back: only what differs, going on where an earlier call was cut.

    Example: locationnet ec2 sync packs/train s3://BUCKET/packs/train
    """
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn

    from locationnet.aws import sync
    from locationnet.aws.common import client
    from locationnet.aws.transfer import Location

    up = target.startswith("s3://")
    if up == source.startswith("s3://"):
        raise typer.BadParameter("expected a folder and an s3:// address, in either order")
    address, folder = Location.parse(target if up else source), Path(source if up else target)
    console = Console(stderr=True)
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        task = progress.add_task("sync", total=None)

        def advance(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        connection = client("s3", region)
        if up:
            moved = sync.push(connection, folder, address, advance=advance)
        else:
            moved = sync.pull(connection, address, folder, advance=advance)
    say(f"copied {moved.files:,} files ({moved.bytes:,} bytes), {moved.same:,} were the same")


@app.command()
def work(
    job: Annotated[Path, typer.Argument(metavar="JOB.json", help="Written by the user data.")],
    folder: Annotated[Path, typer.Option(help="For packs and the run.")],
    spent: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="Since the machine's boot.")
    ] = 0.0,
) -> None:
    """Do the work of one machine; its user data calls this, people need not.

    Example: locationnet ec2 work job.json --folder /opt/locationnet
    """
    from locationnet.aws.ec2.worker import work as do
    from locationnet.aws.job import Job

    raise typer.Exit(do(Job.read(job), folder, spent))


def _read(path: Path) -> EC2Recipe:
    from locationnet.aws.recipe import EC2Recipe, read_recipe
    from locationnet.aws.train_options import as_strings

    recipe = read_recipe(path, EC2Recipe)
    check_train_options(path, as_strings(recipe.train))
    return recipe


def _show(plan: Plan) -> None:
    """Print a plan as it would be carried out."""
    from locationnet.aws.ec2.groups import FIRST_PORT, LAST_PORT

    for file in plan.package:
        say(f"would copy {file} to {plan.job.package / file.name}")
    if plan.own_security_group:
        say(
            f"would make security group {plan.group}: TCP {FIRST_PORT}-{LAST_PORT} among its"
            " members"
        )
    if plan.group:
        say(f"would make placement group {plan.group}: cluster")
    say(f"would run {plan.request['MaxCount']} x {plan.request['InstanceType']}:")
    typer.echo(json.dumps(plan.request, indent=2))
    say(f"with this user data ({len(plan.script.encode()):,} bytes):")
    typer.echo(plan.script)


def _line(machine: Running) -> str:
    fields: list[Any] = [machine.id, machine.state, machine.type, machine.market, machine.zone]
    return "  ".join([*fields, f"since {machine.since:%Y-%m-%d %H:%M} UTC", machine.launch])
