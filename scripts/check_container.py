"""Performs the Dockerfile's steps for the service without Docker, and asks what comes of them.

The files that .dockerignore lets through are copied to a clean folder, the build stage's commands
run there, and the service's stage is started as its user (where this script may become that: it
runs as root then) with its environment, command line and health check, in a tree that nobody may
write. What differs from a container: the base image is this machine, and the service listens on
loopback, on a free port.

    python scripts/check_container.py [FOLDER]
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from docker.utils import exclude_paths
from dockerfile_parse import DockerfileParser

ROOT = Path(__file__).resolve().parents[1]
KEY = "a-key-for-this-check-only"
START_S, STOP_S = 60, 25


@dataclass(frozen=True)
class Stage:
    """One stage of a Dockerfile: its instructions, after those of the stage that it is built on."""

    steps: list[tuple[str, str]]

    def last(self, instruction: str) -> str:
        """Return the value that holds in the end."""
        return next(value for name, value in reversed(self.steps) if name == instruction)

    def command(self, instruction: str) -> list[str]:
        """Return the words of an ENTRYPOINT, CMD or HEALTHCHECK.

        Raises
        ------
        ValueError
            It is not in exec form.
        """
        words = json.loads("[" + self.last(instruction).partition("[")[2])
        return [str(word) for word in words]

    @property
    def environment(self) -> dict[str, str]:
        """What ENV sets."""
        words = [word for name, value in self.steps if name == "ENV" for word in shlex.split(value)]
        return dict(word.split("=", 1) for word in words)


def read_stages(dockerfile: Path = ROOT / "Dockerfile") -> dict[str, Stage]:
    """Return the stages by name, the last one also as an empty name."""
    stages: dict[str, Stage] = {}
    for step in DockerfileParser(path=str(dockerfile)).structure:
        name, value = step["instruction"], step["value"]
        if name == "FROM":
            base, _, own = value.partition(" AS ")
            stages[own] = stages[""] = Stage(list(stages[base].steps) if base in stages else [])
        elif name != "COMMENT":
            stages[""].steps.append((name, value))
    return stages


def copy_context(folder: Path, root: Path = ROOT) -> list[str]:
    """Copy what .dockerignore lets through, as Docker's own client sees it; return the names."""
    lines = (root / ".dockerignore").read_text(encoding="utf-8").splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    # The client always sends these two, and the builder takes them away again.
    found = exclude_paths(str(root), patterns) - {"Dockerfile", ".dockerignore"}
    names = sorted(name for name in found if (root / name).is_file())
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / name, folder / name)
    return names


def build(stage: Stage, context: Path, root: Path) -> None:
    """Perform a stage's steps with ``root`` in front of its absolute paths."""
    # The base image's Python; the service's user has to reach it, and cannot where it is a user's.
    python = shutil.which("python3.11", path="/usr/local/bin:/usr/bin")
    environment = {**os.environ, "UV_PYTHON": python or "3.11"}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"  # uv is there
    directory = root
    for name, value in stage.steps:
        words = shlex.split(value)
        if name == "ENV":
            for key, text in (word.split("=", 1) for word in words):
                environment[key] = f"{root}{text}" if text.startswith("/") else text
        elif name == "WORKDIR":
            directory = root / value.removeprefix("/")
            directory.mkdir(parents=True)
        elif name == "COPY" and not value.startswith("--from"):
            for word in words[:-1]:
                if (context / word).is_dir():
                    shutil.copytree(context / word, directory, dirs_exist_ok=True)
                else:
                    shutil.copy(context / word, directory)
        elif name == "RUN":
            command = " ".join(word for word in value.split() if not word.startswith("--mount="))
            print("+", command, flush=True)
            subprocess.run(command, shell=True, cwd=directory, env=environment, check=True)  # noqa: S602 - the Dockerfile's


class Container:
    """A stage's environment and user, without a container around them.

    Parameters
    ----------
    stage
        With ENTRYPOINT, CMD, HEALTHCHECK.
    root
        Where its files are.
    variables
        Further environment variables.
    """

    def __init__(self, stage: Stage, root: Path, **variables: str) -> None:
        self._stage = stage
        own = stage.environment
        path = own["PATH"].replace("/opt/", f"{root}/opt/").replace("$PATH", os.defpath)
        self._environment = {**own, "PATH": path, **variables}
        user = int(stage.last("USER").partition(":")[0])
        as_root = os.geteuid() == 0
        self._who: dict[str, Any] = (
            {"user": user, "group": user, "extra_groups": []} if as_root else {}
        )

    def start(self, command: list[str]) -> subprocess.Popen[str]:
        """Start a command."""
        program = shutil.which(command[0], path=self._environment["PATH"])
        return subprocess.Popen(
            [str(program), *command[1:]], cwd="/", env=self._environment, text=True,
            stderr=subprocess.PIPE, **self._who,
        )  # fmt: skip

    def serve(self) -> subprocess.Popen[str]:
        """Start what `docker run IMAGE` starts."""
        return self.start([*self._stage.command("ENTRYPOINT"), *self._stage.command("CMD")])

    def is_healthy(self) -> bool:
        """Run the health check."""
        asking = self.start(self._stage.command("HEALTHCHECK"))
        asking.communicate()
        return asking.returncode == 0


def check(stage: Stage, root: Path, photo: bytes) -> None:
    """Start the service, ask it and stop it; end this program at the first surprise."""
    strangers = Container(stage, root).serve()
    _, said = strangers.communicate(timeout=START_S)
    expect(strangers.returncode == 2 and "LOCATIONNET_API_KEYS" in said, "it starts without a key")
    print("refuses to start without a key")

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    listening = {"LOCATIONNET_HOST": "127.0.0.1", "LOCATIONNET_PORT": str(port)}
    container = Container(stage, root, LOCATIONNET_API_KEYS=KEY, **listening)
    begin = time.monotonic()
    with container.serve() as service:
        try:
            while not container.is_healthy():
                expect(service.poll() is None, "it ends by itself")
                expect(time.monotonic() < begin + START_S, "its health check never passes")
            user = Path(f"/proc/{service.pid}").stat().st_uid
            print(f"healthy after {time.monotonic() - begin:.1f} s, as user {user}")
            expect(ask(port, "GET", "/ping")[0] == 200, "/ping does not answer")
            expect(ask(port, "POST", "/locate", photo)[0] == 401, "it answers without a key")
            status, answer = ask(port, "POST", "/locate", photo, {"X-API-Key": KEY})
            expect(status == 200, f"it does not locate: {answer}")
            print(f"/ping 200; /locate 401 without a key, 200 with it: {answer['best']}")
            begin = time.monotonic()
            service.terminate()
            service.communicate(timeout=STOP_S)
            print(f"ended {time.monotonic() - begin:.1f} s after SIGTERM")
            expect(not container.is_healthy(), "it is healthy after its end")
        finally:
            service.kill()


def ask(
    port: int, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
) -> tuple[int, Any]:
    """Return the status and the JSON of an answer."""
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request(method, path, body, {"Content-Type": "image/jpeg", **(headers or {})})
    answer = connection.getresponse()
    return answer.status, json.load(answer)


def expect(condition: bool, otherwise: str) -> None:
    """End this program where something is not as it should be."""
    if not condition:
        raise SystemExit(f"error: {otherwise}")


def main(folder: Path) -> None:
    """Build and check below a folder."""
    context, root = folder / "context", folder / "root"
    print(f"{len(copy_context(context))} files in the build's context")
    stages = read_stages()
    begin = time.monotonic()
    build(stages["build"], context, root)
    shutil.rmtree(context)
    shutil.rmtree(root / "src")  # the service's stage takes the environment only
    subprocess.run(["chmod", "-R", "a-w,a+rX", root / "opt"], check=True)
    size = int(subprocess.check_output(["du", "-sm", root / "opt"], text=True).split()[0])
    print(f"built in {time.monotonic() - begin:.0f} s; the environment has {size} MiB")
    [photo] = (root / "opt").rglob("skimage/data/rocket.jpg")
    check(stages[""], root, photo.read_bytes())
    subprocess.run(["chmod", "-R", "u+w", root / "opt"], check=True)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]).resolve())
    else:
        with tempfile.TemporaryDirectory(prefix="locationnet-container-") as temporary:
            Path(temporary).chmod(0o755)  # the service's user has to come through
            main(Path(temporary))
