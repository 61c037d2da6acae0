"""Every setting, by environment and by option, and what is told of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from locationnet.cli import app
from locationnet.errors import InputError
from locationnet.server.settings import PREFIX, Settings, read_settings

KEY = "k-0123456789abcdef"
# Name: (as text, what comes of it, a text that is refused or None where any will do).
EACH: dict[str, tuple[str, Any, str | None]] = {
    "model": ("other", "other", None),
    "precision": ("int8", "int8", "f8"),
    "retrieval": ("look-alikes", Path("look-alikes"), None),
    "retrieval_mode": ("search", "search", "neither"),
    "host": ("::1", "::1", None),
    "port": ("0", 0, "65536"),
    "insecure": ("true", True, "perhaps"),
    "sagemaker": ("1", True, "2"),
    "api_keys": (f"{KEY},{KEY}x", 2, "short"),
    "server_names": ("A.example, b.example", ("a.example", "b.example"), "a:1"),
    "trusted_proxies": ("10.0.0.1,10.0.0.2", ("10.0.0.1", "10.0.0.2"), None),
    "rate_limit": ("60/minute", "60/minute", "often"),
    "cors_origins": ("https://a.example", ("https://a.example",), "*"),
    "workers": ("3", 3, "0"),
    "threads": ("5", 5, "0"),
    "queue": ("7", 7, "0"),
    "max_batch": ("2", 2, "65"),
    "batch_wait_ms": ("0.5", 0.5, "-1"),
    "request_timeout_s": ("4.5", 4.5, "inf"),
    "max_upload_bytes": ("1000", 1000, "1.5"),
    "max_held_bytes": ("2000", 2000, "0"),
    "cache_bytes": ("3000", 3000, "-1"),
    "fetch_urls": ("false", False, "maybe"),
    "fetch_timeout_s": ("2", 2.0, "nan"),
    "allowed_hosts": (".A.example", (".a.example",), "a:1"),
    "denied_hosts": ("x.example,", ("x.example",), "*"),
    "exempt_hosts": ("photos:8000", ("photos:8000",), "photos"),
    "min_radius_km": ("25", 25.0, "6001"),
    "abstain_below_bits": ("0.5", 0.5, "-1"),
    "countries": ("fr,DE", ("FR", "DE"), "FRA"),
    "bbox": ("170,-30,-160,0", (170.0, -30.0, -160.0, 0.0), "1,2,3"),
    "near": ("48.9,2.3,50", (48.9, 2.3, 50.0), "48.9,2.3,0"),
    "tile_url": ("https://t.example/{z}/{x}/{y}", "https://t.example/{z}/{x}/{y}", "http://t"),
    "tile_attribution": ("© us", "© us", None),
    "log_urls": ("yes", True, "some"),
}


def _plain(name: str, settings: Settings) -> Any:
    value = getattr(settings, name)
    return len(value) if name == "api_keys" else value


def test_no_setting_is_forgotten_here() -> None:
    assert list(EACH) == list(Settings.model_fields)


@pytest.mark.parametrize("name", EACH)
def test_each_is_read_from_the_environment(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text, value, wrong = EACH[name]
    variable = f"{PREFIX}{name.upper()}"
    monkeypatch.setenv(variable, text)
    assert _plain(name, read_settings()) == value
    assert _plain(name, Settings()) == value
    if wrong is not None:
        monkeypatch.setenv(variable, wrong)
        with pytest.raises(InputError, match=variable) as caught:
            read_settings()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", EACH)
def test_each_is_an_option_too(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[Settings] = []
    monkeypatch.setattr("locationnet.server.processes.run", found.append)
    text, value, wrong = EACH[name]
    option = f"--{name.replace('_', '-')}"
    arguments = [option] if value is True else [f"--no{option[1:]}"] if value is False else []
    done = CliRunner().invoke(app, ["serve", *(arguments or [f"{option}={text}"])])
    assert done.exit_code == 0, done.output
    assert _plain(name, found[0]) == value
    if wrong is not None and value not in (True, False):
        done = CliRunner().invoke(app, ["serve", f"{option}={wrong}"])
        assert done.exit_code == 2
        assert "Traceback" not in done.output


def test_the_help_tells_of_each() -> None:
    done = CliRunner().invoke(app, ["serve", "--help"])
    assert done.exit_code == 0
    for name, field in Settings.model_fields.items():
        assert f"--{name.replace('_', '-')}" in done.output
        assert field.description
        assert field.description[:20] in " ".join(done.output.split())


def test_what_the_log_tells_of_them_holds_no_secret() -> None:
    chosen = {name: text for name, (text, _, _) in EACH.items()}
    settings = read_settings(**chosen)
    described = settings.described()
    assert described.keys() == Settings.model_fields.keys()
    assert KEY not in json.dumps(described) + repr(settings) + str(settings)
    for key in settings.api_keys:
        assert key.removeprefix("sha256:") not in json.dumps(described) + repr(settings)


def test_a_bad_key_on_the_command_line_is_not_repeated() -> None:
    done = CliRunner().invoke(app, ["serve", "--api-keys=hush"])
    assert done.exit_code == 2
    assert "hush" not in done.output
