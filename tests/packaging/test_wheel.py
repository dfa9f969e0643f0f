"""What a user installs: the wheel holds the rooms and their data, nothing else, and works outside the checkout."""

import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from tests.support.archives import unpack

ROOT = Path(__file__).resolve().parents[2]
ROOMS = {"chimera", "actors", "subjects", "edge"}


def build(source: Path, target: str, folder: Path) -> Path:
    """A wheel or sdist of the project in ``source``."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", str(folder)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return next(folder.glob("*.whl" if target == "wheel" else "*.tar.gz"))


def names(wheel: Path) -> set[str]:
    """The files of a wheel, without the record of their hashes."""
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if not name.endswith("/RECORD")}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from this tree."""
    return build(ROOT, "wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel in it; its dependencies come from the one that runs the tests."""
    home = tmp_path_factory.mktemp("environment")
    venv.create(home, with_pip=False, symlinks=True)
    own = Path(sysconfig.get_path("purelib", vars={"base": str(home), "platbase": str(home)}))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(own)
    (own / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return home / "bin" / "python"


def run(python: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the installed program away from the checkout."""
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(cwd), "NO_COLOR": "1"}
    command = [str(python), "-P", *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_the_wheel_holds_the_four_rooms_and_nothing_else(wheel: Path):
    """No generic name beyond the rooms lands in site-packages, and no test does."""
    top = {name.partition("/")[0] for name in names(wheel)}
    assert {name for name in top if not name.endswith(".dist-info")} == ROOMS


def test_the_wheel_ships_settings_documents_and_guests(wheel: Path):
    """Data that the program needs at run time travels with it."""
    files = names(wheel)
    assert "chimera/_shipped/configs/default.toml" in files
    assert "chimera/_shipped/configs/documents/openapi-agent.json" in files
    assert {"edge/guests/sentiment/sentiment.wasm", "edge/guests/sentiment/manifest.json"} <= files
    assert {f"{room}/py.typed" for room in ROOMS} <= files


def test_the_wheel_built_from_the_source_distribution_is_the_same(wheel: Path, tmp_path: Path):
    """Nothing is lost on the way through the sdist."""
    sdist = build(ROOT, "sdist", tmp_path / "sdist")
    unpack(sdist, tmp_path / "source")
    source = next((tmp_path / "source").iterdir())
    assert names(build(source, "wheel", tmp_path / "wheel")) == names(wheel)


def test_the_installed_program_runs_outside_the_checkout(python: Path, tmp_path: Path):
    """The command, its settings and its documents work from the installed files alone."""
    where = run(python, "-c", "import chimera; print(chimera.__file__)", cwd=tmp_path)
    assert Path(where.stdout.strip()).is_relative_to(python.parents[1]), where.stdout + where.stderr
    assert run(python, "-m", "chimera", "--version", cwd=tmp_path).stdout.startswith("chimera 0.")
    shown = run(python, "-m", "chimera", "config", "show", "nats.", cwd=tmp_path)
    assert "nats.durability" in shown.stdout, shown.stderr
    assert run(python, "-m", "chimera", "docs", "openapi", cwd=tmp_path).stdout.startswith("{")


def test_the_contract_can_be_used_alone(python: Path, tmp_path: Path):
    """An edge device imports ``subjects`` without the runtime or any library but msgspec."""
    script = (
        "import sys, subjects\n"
        "heavy = {'chimera', 'nats', 'anyio', 'wasmtime', 'starlette', 'msgpack'} & set(sys.modules)\n"
        "print(len(subjects.OPERATIONS) > 5, sorted(heavy))"
    )
    assert run(python, "-c", script, cwd=tmp_path).stdout.strip() == "True []"


def test_help_loads_no_heavy_library(python: Path, tmp_path: Path):
    """``chimera --help`` starts fast because nothing big is imported for it."""
    script = (
        "import contextlib, io, sys\nfrom chimera.cli import main\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit): main(['--help'])\n"
        "print(sorted({'nats', 'wasmtime', 'starlette', 'uvicorn', 'sqlite_utils', 'rich', 'aioprometheus', 'nkeys'}"
        " & set(sys.modules)))"
    )
    done = run(python, "-c", script, cwd=tmp_path)
    assert done.stdout.strip() == "[]", done.stderr
