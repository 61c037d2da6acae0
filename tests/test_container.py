"""The images' files: what a linter, the compose specification and a build from them say.

`scripts/check_container.py` goes further: it performs the steps and starts the service.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest
from compose_spec import PyCompose

from locationnet.server.settings import Settings

ROOT = Path(__file__).parents[1]
CPU_IMAGES = ["", "service", "sagemaker", "train", "sagemaker-train"]
GPU_IMAGES = ["gpu", "sagemaker-gpu"]


@pytest.fixture(scope="module")
def check_container() -> ModuleType:
    path = ROOT / "scripts" / "check_container.py"
    spec = importlib.util.spec_from_file_location("check_container", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def context(check_container: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what a build is sent."""
    folder = tmp_path_factory.mktemp("context")
    check_container.copy_context(folder)
    return folder


def test_the_linter_finds_nothing() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run(
        [hadolint, "--no-color", ROOT / "Dockerfile"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("image", [*CPU_IMAGES, *GPU_IMAGES])
def test_an_image_runs_locationnet_itself_so_that_signals_reach_it(
    check_container: ModuleType, image: str
) -> None:
    stage = check_container.read_stages()[image]
    assert stage.command("ENTRYPOINT") == ["locationnet"]
    assert stage.command("CMD")[0] == ("serve" if image in CPU_IMAGES[:3] else "train")


@pytest.mark.parametrize("image", ["", "service", "train", "gpu"])
def test_an_image_runs_as_nobody_in_particular(check_container: ModuleType, image: str) -> None:
    assert check_container.read_stages()[image].last("USER") == "10001:10001"


@pytest.mark.parametrize(
    ("image", "holds"),
    [
        ("sagemaker", "build"), ("sagemaker-train", "build-train"), ("sagemaker-gpu", "build-gpu"),
    ],
)  # fmt: skip
def test_an_image_for_sagemaker_may_write_where_only_root_does(
    check_container: ModuleType, image: str, holds: str
) -> None:
    stage = check_container.read_stages()[image]
    assert stage.last("USER") == "0:0"
    assert stage.environment["LOCATIONNET_SAGEMAKER"] == "1"
    copied = f"--from={holds} /opt/locationnet /opt/locationnet"
    assert copied in [value for name, value in stage.steps if name == "COPY"]


def test_what_a_build_makes_unless_told_otherwise_is_the_service(
    check_container: ModuleType,
) -> None:
    stages = check_container.read_stages()
    assert stages[""].steps == stages["service"].steps
    assert stages[""].command("HEALTHCHECK") == ["locationnet", "health"]


@pytest.mark.parametrize("image", [*CPU_IMAGES, *GPU_IMAGES])
def test_the_environment_of_an_image_holds_settings_that_exist_and_no_key(
    check_container: ModuleType, image: str
) -> None:
    names = check_container.read_stages()[image].environment
    ours = {name.removeprefix("LOCATIONNET_").lower() for name in names if "LOCATIONNET" in name}
    assert ours <= Settings.model_fields.keys() - {"api_keys", "insecure"}


def test_base_images_are_pinned_and_stages_share_them() -> None:
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    bases = {line.split()[1] for line in lines if line.startswith("FROM ")}
    own = {line.split()[3] for line in lines if line.startswith("FROM ") and " AS " in line}
    foreign = bases - own
    assert {image.rpartition(":")[0] for image in foreign} == {
        "ghcr.io/astral-sh/uv", "nvidia/cuda", "python",
    }  # fmt: skip
    assert all(image.rpartition(":")[2][0].isdigit() for image in foreign)
    assert len(foreign) == 3


def test_a_build_is_sent_only_what_the_package_is_made_of(context: Path) -> None:
    sent = {str(path.relative_to(context)) for path in context.rglob("*") if path.is_file()}
    top = {name.partition("/")[0] for name in sent}
    assert top == {"LICENSE", "NOTICE", "README.md", "locationnet", "pyproject.toml", "uv.lock"}
    tracked = subprocess.run(
        ["git", "ls-files", "locationnet"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    assert {name for name in sent if name.startswith("locationnet/")} >= set(tracked)
    assert not [name for name in sent if "__pycache__" in name]


def test_secrets_beside_the_code_are_not_sent(
    check_container: ModuleType, context: Path, tmp_path: Path
) -> None:
    root = tmp_path / "checkout"
    subprocess.run(["cp", "-r", context, root], check=True)
    (root / ".dockerignore").write_bytes((ROOT / ".dockerignore").read_bytes())
    for name in (".git/config", ".venv/x", "tests/x", "shared/x", "api-keys.txt", ".env", "out/x"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text("secret")
    names = check_container.copy_context(tmp_path / "sent", root)
    assert sorted(names) == sorted(
        str(path.relative_to(context)) for path in context.rglob("*") if path.is_file()
    )


def test_what_is_sent_suffices_to_build_the_package(context: Path, tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path],
        cwd=context, check=True, capture_output=True,
    )  # fmt: skip
    [wheel] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if name.startswith("locationnet/")}
    files = (path for path in (context / "locationnet").rglob("*") if path.is_file())
    assert held == {str(path.relative_to(context)) for path in files}


# Compose.


@pytest.fixture(scope="module")
def composed() -> PyCompose:
    text = (ROOT / "compose.yaml").read_text(encoding="utf-8")
    return PyCompose.from_yaml(text)


def test_the_composition_follows_the_specification(composed: PyCompose) -> None:
    composed.validate()
    with pytest.raises(ValueError, match="memory"):
        PyCompose.from_yaml("services: {a: {memory: 2g}}")


def test_the_composed_service_can_do_little_and_has_bounds(
    composed: PyCompose, check_container: ModuleType
) -> None:
    service = json.loads(composed.to_json())["services"]["locationnet"]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["mem_limit"]
    assert service["pids_limit"]
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    command = check_container.read_stages()[""].command("HEALTHCHECK")
    assert service["healthcheck"]["test"] == ["CMD", *command]


def test_the_composed_service_reads_its_keys_from_a_file(composed: PyCompose) -> None:
    whole = json.loads(composed.to_json())
    # Docker refuses secrets that are no files in a container that is read-only.
    assert "file" in whole["secrets"]["locationnet_api_keys"]
    assert whole["services"]["locationnet"]["secrets"] == ["locationnet_api_keys"]
