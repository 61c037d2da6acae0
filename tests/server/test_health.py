"""``locationnet health`` beside a real service, and what containers hand to the settings."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from locationnet.cli import app, health
from locationnet.errors import InputError
from locationnet.server import settings
from locationnet.server.settings import read_settings


@pytest.fixture(scope="module")
def process(start: Callable[..., Any], tiny_bundle: Path) -> Iterator[Any]:
    running = start(
        "--model", str(tiny_bundle), LOCATIONNET_SERVER_NAMES="photos.example",
        LOCATIONNET_API_KEYS="0123456789abcdef",
    )  # fmt: skip
    yield running
    running.stop()


@pytest.fixture
def nobody() -> Iterator[int]:
    """A port on which nobody answers."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


def _asked(*arguments: str, **environment: str) -> Any:
    return CliRunner().invoke(app, ["health", *arguments], env=environment)


def _command_line(path: Path, *words: str) -> Path:
    path.write_bytes("".join(f"{word}\0" for word in words).encode())
    return path


def test_a_service_that_answers_is_healthy_by_its_own_name(process: Any) -> None:
    found = _asked(
        LOCATIONNET_PORT=str(process.client.port), LOCATIONNET_SERVER_NAMES="photos.example"
    )
    assert found.exit_code == 0, found.output


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1"])
def test_its_port_may_stand_in_the_options(process: Any, host: str) -> None:
    options = ["--host", host, "--server-names", "photos.example"]
    assert _asked("--port", str(process.client.port), *options).exit_code == 0


def test_the_options_of_a_containers_first_process_are_taken(
    process: Any, nobody: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["python", "/opt/bin/locationnet", "serve", f"--port={process.client.port}"]
    line = _command_line(tmp_path / "cmdline", "/sbin/init", "--", *words)
    monkeypatch.setattr(health, "_FIRST", line)
    monkeypatch.setenv("LOCATIONNET_SERVER_NAMES", "photos.example")
    monkeypatch.setenv("LOCATIONNET_PORT", str(nobody))
    assert _asked().exit_code == 0
    line.unlink()
    assert _asked().exit_code == 1


def test_a_service_that_is_not_there_or_refuses_is_not_healthy(process: Any, nobody: int) -> None:
    for words in (["--port", str(nobody)], ["--port", str(process.client.port)]):
        found = _asked(*words)
        assert found.exit_code == 1
        assert str(found.exception)


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["bash"],
        ["locationnet"],
        ["locationnet", "train", "serve"],
        [sys.executable, "-c", "locationnet serve"],
    ],
)
def test_another_first_process_has_no_options_for_us(words: list[str], tmp_path: Path) -> None:
    assert health.options_of(_command_line(tmp_path / "cmdline", *words)) == []


# What containers hand to the settings.


@pytest.fixture
def secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(settings, "SECRETS", tmp_path)
    return tmp_path


def test_keys_come_from_a_containers_secret(secrets: Path) -> None:
    (secrets / "locationnet_api_keys").write_text("0123456789abcdef, fedcba9876543210\n")
    keys = read_settings().api_keys
    assert len(keys) == 2
    assert keys == read_settings(api_keys="0123456789abcdef,fedcba9876543210").api_keys


def test_the_environment_wins_over_a_secret(secrets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (secrets / "locationnet_api_keys").write_text("0123456789abcdef")
    monkeypatch.setenv("LOCATIONNET_API_KEYS", "0123456789abcdef,fedcba9876543210")
    assert len(read_settings().api_keys) == 2


def test_a_bad_secret_is_one_line_that_does_not_hold_it(secrets: Path) -> None:
    (secrets / "locationnet_api_keys").write_text("too short")
    with pytest.raises(InputError, match="LOCATIONNET_API_KEYS") as caught:
        read_settings()
    assert "too short" not in str(caught.value)


def test_sagemakers_model_and_port_are_taken_where_nobody_chose_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "SAGEMAKER_MODEL", tmp_path)
    monkeypatch.setenv("SAGEMAKER_BIND_TO_PORT", "8443")
    assert (read_settings().model, read_settings().port) == ("demo", 8080)
    monkeypatch.setenv("LOCATIONNET_SAGEMAKER", "1")
    prepared = read_settings()
    assert (prepared.model, prepared.port) == (str(tmp_path), 8443)
    chosen = read_settings(model="demo", port=8081)
    assert (chosen.model, chosen.port) == ("demo", 8081)
    monkeypatch.setenv("LOCATIONNET_MODEL", "mine")
    assert read_settings().model == "mine"
    monkeypatch.setenv("SAGEMAKER_BIND_TO_PORT", "many")
    with pytest.raises(InputError):
        read_settings()


def test_sagemaker_without_a_model_serves_the_demo_on_the_usual_port(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "SAGEMAKER_MODEL", tmp_path / "none")
    prepared = read_settings(sagemaker=True)
    assert (prepared.model, prepared.port) == ("demo", 8080)
