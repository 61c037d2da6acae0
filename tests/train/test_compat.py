from __future__ import annotations

import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from locationnet.errors import LocationNetError, MissingExtraError, install_command
from locationnet.train import compat
from locationnet.train.compat import check_gpus, mx, onnx_exporter

ROOT = Path(__file__).parents[2]
K80 = [("Tesla K80", 3)] * 16


def python(code: str, *paths: Path) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter whose warnings are errors."""
    path = os.pathsep.join(map(str, (*paths, ROOT)))
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
    )


def last_line(run: subprocess.CompletedProcess[str]) -> str:
    assert run.returncode != 0
    return run.stderr.strip().splitlines()[-1]


def with_gpus(
    monkeypatch: pytest.MonkeyPatch, gpus: list[tuple[str, int]], build: str | None
) -> None:
    monkeypatch.setattr(compat, "_built_for_cuda", lambda: True)
    monkeypatch.setattr(compat, "_gpus", lambda: gpus)
    monkeypatch.setattr(compat, "_installed_build", lambda: build)


def test_mxnet_imports_where_warnings_are_errors() -> None:
    done = python(
        "import numpy as np, warnings; before = list(warnings.filters)\n"
        "from locationnet.train.compat import mx\n"
        "assert warnings.filters == before\n"
        "assert float(mx.nd.array(np.ones(3)).sum().asscalar()) == 3.0\n"
        "assert mx.sym.FullyConnected(mx.sym.var('x'), num_hidden=2, name='fc').name == 'fc'\n"
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_the_old_numpy_names_do_not_stay() -> None:
    assert mx.__version__ == "1.9.1"
    assert not {"bool", "int", "float", "object"} & set(vars(np))


def test_arrays_are_made_without_warnings() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = mx.nd.array(np.arange(6, dtype=np.float32).reshape(2, 3))
    assert found.shape == (2, 3)


def test_the_onnx_exporter_is_lent_without_leaving_names_behind() -> None:
    with onnx_exporter() as exporter:
        assert callable(exporter.convert_layer)
        assert np.bool is bool  # type: ignore[attr-defined]  # lent to mxnet
    assert "bool" not in vars(np)


def test_a_missing_mxnet_names_the_extra() -> None:
    done = python("import sys; sys.modules['mxnet'] = None; import locationnet.train.compat")
    assert last_line(done).endswith(
        "training and exporting needs an optional part: pip install 'locationnet[train] @ git+https://github.com/locationnet/locationnet'"
    )


def _pretend_cuda_build(folder: Path, code: str) -> None:
    (folder / "mxnet").mkdir()
    (folder / "mxnet" / "__init__.py").write_text(code)
    (folder / "mxnet_cu112-1.9.1.dist-info").mkdir()
    (folder / "mxnet_cu112-1.9.1.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: mxnet-cu112\nVersion: 1.9.1\n"
    )


@pytest.mark.parametrize(
    ("library", "advice"),
    [
        (
            "libcudart.so.11.0",
            f"{install_command('gpu')} brings it; or",
        ),
        ("libcuda.so.1", "install NVIDIA's driver, or"),
    ],
)
def test_a_cuda_build_without_its_libraries_says_what_to_install(
    tmp_path: Path, library: str, advice: str
) -> None:
    _pretend_cuda_build(
        tmp_path, f"raise OSError('{library}: cannot open shared object file: No such file')\n"
    )
    assert last_line(python("import locationnet.train.compat", tmp_path)) == (
        f"locationnet.errors.LocationNetError: mxnet-cu112 is installed but {library} is"
        f" missing: {advice} the CPU build: pip install 'locationnet[train] @ git+https://github.com/locationnet/locationnet'"
    )


def test_cuda_libraries_from_packages_are_loaded_before_mxnet(tmp_path: Path) -> None:
    # Any libraries will do: those that NumPy ships, one of which needs the other, and a broken one.
    folder = tmp_path / "nvidia" / "cudnn" / "lib"
    folder.mkdir(parents=True)
    names = [path.name for path in Path(np.__file__).parents[1].glob("numpy.libs/lib*fort*.so*")]
    names += [path.name for path in Path(np.__file__).parents[1].glob("numpy.libs/lib*math*.so*")]
    assert len(names) == 2
    for name in names:
        shutil.copy(Path(np.__file__).parents[1] / "numpy.libs" / name, folder)
    (folder / "libbroken.so.8").write_bytes(b"no library")
    _pretend_cuda_build(
        tmp_path,
        "lines = open('/proc/self/maps').read()\n"
        f"assert all(f'{folder}/{{name}}' in lines for name in {names})\n"
        "raise OSError('libcuda.so.1: as far as this')\n",
    )
    assert "NVIDIA's driver" in last_line(python("import locationnet.train.compat", tmp_path))


def test_any_other_library_that_does_not_load_is_named(tmp_path: Path) -> None:
    (tmp_path / "mxnet.py").write_text("raise OSError('libgfortran.so.3: wrong ELF class')\n")
    found = last_line(python("import locationnet.train.compat", tmp_path))
    assert found.endswith(
        "mxnet is installed but cannot be loaded: libgfortran.so.3: wrong ELF class"
    )


def test_a_missing_onnx_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtraError, match=r"locationnet\[train\]"), onnx_exporter():
        pass


def test_the_cpu_build_has_no_gpus() -> None:
    with pytest.raises(LocationNetError, match=r"CPUs only.*locationnet\[gpu\].*--devices cpu:N"):
        check_gpus([0])


def test_a_k80_with_cuda_11_2_is_pointed_to_cuda_10_2(monkeypatch: pytest.MonkeyPatch) -> None:
    with_gpus(monkeypatch, K80, "mxnet-cu112")
    with pytest.raises(LocationNetError) as caught:
        check_gpus(range(16))
    assert str(caught.value) == (
        "GPU 0 (Tesla K80): mxnet-cu112 contains no code for compute capability 3.x; install"
        " mxnet-cu102==1.9.1, which does"
    )


def test_a_k80_with_cuda_10_2_is_fine(monkeypatch: pytest.MonkeyPatch) -> None:
    with_gpus(monkeypatch, K80, "mxnet-cu102")
    check_gpus(range(16))


def test_a_hopper_runs_no_build(monkeypatch: pytest.MonkeyPatch) -> None:
    with_gpus(monkeypatch, [("NVIDIA A100", 8), ("NVIDIA H100", 9)], "mxnet-cu112")
    check_gpus([0])
    with pytest.raises(LocationNetError, match=r"GPU 1 \(NVIDIA H100\).*no build of mxnet"):
        check_gpus([0, 1])


def test_a_build_of_ones_own_is_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    with_gpus(monkeypatch, [("NVIDIA H100", 9)], None)
    check_gpus([0])


def test_a_gpu_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with_gpus(monkeypatch, [("NVIDIA A100", 8)] * 8, "mxnet-cu112")
    with pytest.raises(LocationNetError, match=r"GPU 8 was asked for.*8 GPUs"):
        check_gpus(range(9))


def test_the_driver_is_asked_for_the_visible_gpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'NVIDIA A10G, 8.6'\necho 'Tesla V100-SXM2-16GB, 7.0'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert compat._gpus() == [("NVIDIA A10G", 8), ("Tesla V100-SXM2-16GB", 7)]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert compat._gpus() == [("Tesla V100-SXM2-16GB", 7)]


def test_a_silent_driver_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LocationNetError, match="NVIDIA driver does not answer"):
        compat._gpus()
