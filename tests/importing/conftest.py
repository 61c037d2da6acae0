"""A hub on loopback, and a folder with a small CLIP."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.importing.hub_server import Handler, Hub


@pytest.fixture(scope="session")
def small_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with CLIP's two files, not to be changed."""
    from tests.importing.clip_files import write_clip

    return write_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """An empty hub, an empty cache and an empty data directory."""
    from huggingface_hub import constants

    made = Hub()
    handler = type("_Handler", (Handler,), {"hub": made})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        made.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        # What HF_ENDPOINT and HF_HOME set when the library is imported.
        template = constants.HUGGINGFACE_CO_URL_TEMPLATE.removeprefix(constants.ENDPOINT)
        monkeypatch.setattr(constants, "ENDPOINT", made.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", made.url + template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("LOCATIONNET_HOME", str(tmp_path / "home"))
        yield made
        server.shutdown()
        thread.join()
