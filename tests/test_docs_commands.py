"""What README, tutorial and the other pages say to type is typed here, page by page.

Each ```sh block runs in order in a fresh copy of what a checkout holds. A block that cannot run
everywhere says so in its first line, ``# needs …``; of such blocks the words are checked.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from locationnet.cli import app
from locationnet.errors import REPOSITORY, install_command
from locationnet.server.settings import Settings

ROOT = Path(__file__).parents[1]
PAGES = [
    page
    for page in (ROOT / "README.md", ROOT / "MODEL_CARD.md", *sorted((ROOT / "docs").rglob("*.md")))
    if "_build" not in page.parts
]
BIN = Path(sys.executable).parent

# The one convention: a block that does not run here begins with this line.
NEEDS = re.compile(r"# needs .+")
# What may be missing here. Anything else has to be there, or to be made by the page.
MISSING = (
    "network", "AWS account", "Docker", "several machines", "IM2GPS3k", "FlickrLogos-32",
    "CLIP's two files", "the weights of 2017", "photos of yours",
)  # fmt: skip
# A page may go on in the folder and the shell of another one.
GOES_ON = re.compile(r"goes on where the \[[^]]+\]\(([^)]+)\) ends")

# The same commands on a smaller world. `make` takes the environment as it is.
SMALLER = {
    "make demo": "make -o .venv/.base demo",
    "--photos 1200": "--photos 120",
    "--rows 200000": "--rows 20000",
    "--max-photos 5000 --min-photos 500": "--max-photos 50 --min-photos 5",
    "--image-size 32 --epochs 5": "",
    "--preset small": "--preset small --image-size 32 --epochs 1",
    "--host 0.0.0.0": "--host 127.0.0.1",
}
# A service in the foreground answers a second terminal until the page starts another one.
SHELL = """
set -euo pipefail
(while kill -0 $PPID 2>/dev/null; do sleep 1; done; kill -KILL 0) & disown  # ends with its test
stop() { kill $(jobs -p) 2>/dev/null || true; wait; }
trap stop EXIT
answers() {
    # 400: it answers, but to another name only.
    for _ in {1..1200}; do
        case $(curl --write-out '%{http_code}' --output /dev/null http://127.0.0.1:8080/readyz \
            2>/dev/null) in 200 | 400) return 0 ;; esac
        kill -0 $!
        sleep 0.1
    done
    return 1
}
"""


@dataclass(frozen=True)
class Block:
    """Lines of shell on a page."""

    page: Path
    line: int
    text: str

    @property
    def where(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def runs(self) -> bool:
        return NEEDS.match(self.text) is None

    @property
    def lines(self) -> list[str]:
        return self.text.replace("\\\n", " ").splitlines()


def _blocks(page: Path, language: str = "sh") -> list[Block]:
    text = page.read_text(encoding="utf-8")
    fence = re.compile(rf"^ *```{language}\n(.*?)^ *```$", re.M | re.S)
    return [
        Block(page, text.count("\n", 0, found.start()) + 1, textwrap.dedent(found[1]))
        for found in fence.finditer(text)
    ]


def _chains() -> list[list[Path]]:
    """Return the pages with something to run, each behind the page that it goes on from."""
    before = {
        page: (page.parent / found[1]).resolve()
        for page in PAGES
        if (found := GOES_ON.search(page.read_text(encoding="utf-8")))
    }
    chains = [
        [page, *(later for later, first in before.items() if first == page)]
        for page in PAGES
        if page not in before and any(block.runs for block in _blocks(page))
    ]
    assert sum(len(chain) - 1 for chain in chains) == len(before)
    return chains


BLOCKS = [block for page in PAGES for block in _blocks(page)]
NOT_RUN = [block for block in BLOCKS if not block.runs]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with what a page uses of a checkout; nothing written there reaches the real one."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    shutil.copytree(
        ROOT / "scripts", folder / "scripts", ignore=shutil.ignore_patterns("__pycache__")
    )
    for name in ("Makefile", "pyproject.toml", "uv.lock"):
        shutil.copy(ROOT / name, folder)
    (folder / ".venv").symlink_to(sys.prefix)
    return folder


@pytest.mark.parametrize(
    "chain", _chains(), ids=lambda chain: "+".join(page.stem for page in chain)
)
def test_what_a_page_says_to_type_works(chain: list[Path], checkout: Path) -> None:
    if shutil.which("curl") is None:
        if os.environ.get("TESTS_SKIP_NOTHING"):
            pytest.fail("curl is not installed, and nothing may be skipped")
        pytest.skip("curl is not installed")
    blocks = [block for page in chain for block in _blocks(page) if block.runs]
    status, output = _type(blocks, checkout)
    assert status == 0, output[-4000:]


def _type(blocks: list[Block], folder: Path) -> tuple[int, str]:
    """Return the exit code and what was printed; what was started is gone then."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    script = SHELL + "".join(_script(block) for block in blocks)
    script = script.replace("127.0.0.1:8080", f"127.0.0.1:{port}").replace("8080", str(port))
    home = folder.parent / "home"
    home.mkdir()
    (home / ".curlrc").write_text("fail\nsilent\nshow-error\n", encoding="utf-8")
    environment = {
        **os.environ,
        "HOME": str(home),
        "CURL_HOME": str(home),
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
        "LOCATIONNET_PORT": str(port),
        "LOCATIONNET_MAX_BATCH": "1",  # nothing to measure at start
        "OMP_NUM_THREADS": "1",  # small networks only wait for their threads
    }
    printed = folder.parent / "printed.txt"
    with printed.open("wb") as output:
        shell = subprocess.Popen(
            ["bash", "-c", script],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status = shell.wait(timeout=600)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGKILL)
            shell.wait()
    return status, printed.read_text(encoding="utf-8", errors="replace")


def _script(block: Block) -> str:
    lines = [f'echo "--- {block.where}, after $SECONDS s"']
    for line in block.lines:
        for large, small in SMALLER.items():
            line = line.replace(large, small)
        if re.search(r"\blocationnet serve\b", line):
            lines.append("stop")
            if not line.endswith("&"):
                line = f"{line} &\nanswers"
        lines.append(line)
    return "\n".join([*lines, ""])


def test_what_is_typed_smaller_still_stands_on_a_page() -> None:
    text = "".join(line for block in BLOCKS if block.runs for line in block.lines)
    for large in SMALLER:
        assert large in text


@pytest.mark.parametrize("block", NOT_RUN, ids=lambda block: block.where)
def test_a_block_that_does_not_run_says_what_is_missing_and_is_spelled_right(block: Block) -> None:
    first = block.text.splitlines()[0]
    assert any(missing in first for missing in MISSING), f"{block.where}: {first}"
    for words in _simple_commands(block):
        _check(words, block.where)


def test_nothing_to_type_hides_under_another_name() -> None:
    for page in PAGES:
        found = re.findall(r"^ *```(\w*)$", page.read_text(encoding="utf-8"), re.M)
        assert not {"bash", "shell", "zsh", "shell-session"} & set(found), page


@pytest.mark.parametrize(
    "block", [b for page in PAGES for b in _blocks(page, "console")], ids=lambda block: block.where
)
def test_a_command_with_its_output_prints_just_that(block: Block, tmp_path: Path) -> None:
    first, _, rest = block.text.partition("\n")
    assert first.startswith("$ ")
    environment = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "80"}
    done = subprocess.run(
        ["bash", "-c", first[2:]],
        cwd=tmp_path,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
    )
    assert done.stdout.split() == rest.split()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_and_scripts_that_a_sentence_names_are_there(page: Path) -> None:
    text = re.sub(r"^ *```.*?^ *```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    for code in re.findall(r"`([^`\n]+)`", text):
        if code.startswith(("locationnet ", "make ", "python scripts/")):
            _check(shlex.split(code), f"{page.name}: {code}", complete=False)
        for script in re.findall(r"\bscripts/[\w/]+\.\w+", code):
            assert (ROOT / script).exists(), f"{page.name}: {script}"


def _simple_commands(block: Block) -> Iterator[list[str]]:
    """Yield the words of each command of a block, without assignments and the shell's own words."""
    for line in block.lines:
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words: list[str] = []
        for word in [*lexer, ";"]:
            if set(word) <= set(";&|()<>"):
                if words:
                    yield words
                words = []
            elif words or not (
                word in {"until", "do", "done", "for", "while"} or re.match(r"\w+=", word)
            ):
                words.append(word)


def _check(words: list[str], where: str, *, complete: bool = True) -> None:
    """Fail where a command asks for what is not there."""
    name = Path(words[0]).name
    if name == "locationnet":
        _parse(words[1:], where, complete)
    elif name == "docker":
        for stage in _values(words, "--target"):
            assert f" AS {stage}\n" in (ROOT / "Dockerfile").read_text(encoding="utf-8"), where
        image = [i for i, word in enumerate(words) if word.startswith("locationnet")]
        if words[1] == "run" and words[image[-1] + 1 :]:
            _parse(words[image[-1] + 1 :], where, complete)
    elif name == "uv":
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
        assert (
            set(_values(words, "--extra")) <= project["project"]["optional-dependencies"].keys()
        ), where
        assert set(_values(words, "--group")) <= project["dependency-groups"].keys(), where
    elif name == "make":
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
        assert words[1] in targets, where
    elif name == "python":
        script = ROOT / words[1].removeprefix("../")
        source = script.read_text(encoding="utf-8")
        for word in words[2:]:
            assert not word.startswith("--") or f'"{word}"' in source, f"{where}: {word}"


def _values(words: list[str], option: str) -> list[str]:
    return [words[i + 1] for i, word in enumerate(words) if word == option]


def _parse(words: list[str], where: str, complete: bool) -> None:
    """Fail where a verb or one of its options does not exist, or one is missing."""
    command: Any = get_command(app)
    context = command.make_context("locationnet", [], resilient_parsing=True)
    words = [word for word in words if word not in {"…", "..."}]
    while words and hasattr(command, "commands"):
        assert words[0] in command.commands or words[0] == "--help", f"{where}: {words[0]}"
        if words[0] == "--help":
            return
        command = command.commands[words[0]]
        context = command.make_context(words[0], [], parent=context, resilient_parsing=True)
        words = words[1:]
    context.resilient_parsing = not complete
    values, rest, _ = command.make_parser(context).parse_args(words)
    if command.name == "serve":  # its options are the service's settings
        settings = {f"--{name.replace('_', '-')}" for name in Settings.model_fields}
        assert {word for word in rest if word.startswith("--")} <= settings, f"{where}: {rest}"
        return
    assert not rest, f"{where}: {rest}"
    for parameter in command.params:
        missing = parameter.required and not values.get(parameter.name)
        assert not complete or not missing, f"{where}: {parameter.name}"


def _texts() -> list[Path]:
    code = [*(ROOT / "locationnet").rglob("*.py"), *(ROOT / "locationnet").rglob("*.html")]
    return [*PAGES, *sorted((ROOT / "notebooks").glob("*.ipynb")), *sorted(code)]


@pytest.mark.parametrize("path", _texts(), ids=lambda path: str(path.relative_to(ROOT)))
def test_there_is_one_wording_for_installing_and_extras_that_exist(path: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    text = path.read_text(encoding="utf-8")
    if path.name != "errors.py":
        for found in re.finditer(r"pip3? install\b[^`\n]{0,200}", text):
            extras = re.search(r"\[([\w,-]+)\]", found[0])
            assert extras is not None, f"{path.name}: {found[0]}"
            assert found[0].startswith(install_command(extras[1])), f"{path.name}: {found[0]}"
        assert f"git+{REPOSITORY}" not in re.sub(r"pip install '[^']*'", "", text)
    for extras in re.findall(r"\blocationnet\[([\w,-]+)\]", text):
        assert set(extras.split(",")) <= project["optional-dependencies"].keys()
    # In a checkout there is the locked environment, which each page adds to in the same words.
    for found in re.finditer(r"uv sync\b([^`\n]*)", text):
        if path.suffix == ".md":
            assert re.fullmatch(r"( --inexact)?( --(extra|group) [\w-]+)+\n?", found[1]), found[0]
            before = text[: found.start()].rpartition("\n")[2].rpartition("`")[2]
            assert re.fullmatch(r" *(UV_PROJECT_ENVIRONMENT=\S+ )?(\.\./)?\.venv/bin/", before)
