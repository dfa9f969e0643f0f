import importlib.util
import shutil
from pathlib import Path

import pytest

from chimera import reference
from edge.guests import build, catalog

needs_compiler = pytest.mark.skipif(
    importlib.util.find_spec("ziglang") is None, reason="needs the dependency group 'guests'"
)
needs_words = pytest.mark.skipif(
    reference.cached_archive() is None, reason="needs the word lists: run python -m edge.guests.build --check"
)


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the room that stands in for it, in a folder of another name and length."""
    target = tmp_path / "somewhere else" / "guests"
    shutil.copytree(catalog.ROOM, target, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(catalog, "ROOM", target)
    return target


@needs_compiler
@pytest.mark.parametrize("name", ["echo", pytest.param("sentiment", marks=needs_words), "stack_overflow"])
def test_a_build_elsewhere_gives_the_committed_bytes(room: Path, tmp_path: Path, name: str):
    """Built from a copy in another folder, with an empty compiler cache, each module is the committed one."""
    shutil.rmtree(room / "__pycache__", ignore_errors=True)
    digests = build.build_guests([name], tmp_path)
    module = catalog.guest_files(name).module
    assert (tmp_path / module).read_bytes() == (room / module).read_bytes()
    assert digests == {module: catalog.recorded_digests(room)[module]}


@needs_compiler
def test_check_accepts_what_is_committed(capsys: pytest.CaptureFixture[str]):
    """An unchanged room passes with exit code 0."""
    assert build.main(["--check", "echo", "trap"]) == 0
    assert "2 guests: the committed modules are what the sources build" in capsys.readouterr().out


@needs_compiler
def test_check_names_a_changed_source(room: Path, capsys: pytest.CaptureFixture[str]):
    """A source that no longer builds the committed module ends in exit code 1 with the module's name."""
    source = room / "echo" / "echo.c"
    source.write_text(source.read_text().replace("chimera_result(input, length)", "chimera_result(input, length / 2)"))
    before = (room / "echo" / "echo.wasm").read_bytes()
    assert build.main(["--check", "echo"]) == 1
    printed = capsys.readouterr().out
    assert "echo/echo.wasm: committed is" in printed
    assert "digests.toml: records" in printed
    assert (room / "echo" / "echo.wasm").read_bytes() == before


@needs_compiler
def test_check_names_a_missing_module(room: Path, capsys: pytest.CaptureFixture[str]):
    """A module that was not committed is named."""
    (room / "echo" / "echo.wasm").unlink()
    assert build.main(["--check", "echo"]) == 1
    assert "echo/echo.wasm: is missing" in capsys.readouterr().out


@needs_compiler
def test_build_keeps_the_records_of_other_guests(room: Path):
    """Building one guest rewrites its record only, so that nothing else becomes untrusted."""
    before = (room / catalog.DIGESTS).read_text()
    assert build.main(["echo"]) == 0
    assert (room / catalog.DIGESTS).read_text() == before


@needs_compiler
def test_source_that_does_not_compile_is_shown(room: Path, capsys: pytest.CaptureFixture[str]):
    """The compiler's own words reach the user."""
    (room / "echo" / "echo.c").write_text("int broken = ;\n")
    assert build.main(["echo"]) == 1
    assert "echo does not compile:\necho/echo.c:1" in capsys.readouterr().err


def test_missing_compiler_is_explained(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Without the toolchain the message tells what to install."""

    def find_nothing(_name: str) -> None:
        return None

    monkeypatch.setattr(importlib.util, "find_spec", find_nothing)
    assert build.main(["echo"]) == 1
    error = capsys.readouterr().err
    assert "which is not installed: install the dependency group 'guests'" in error
    assert "python -m pip install ziglang==0.17.1" in error


def test_unknown_name_is_refused(capsys: pytest.CaptureFixture[str]):
    """A wrong name ends with the names there are."""
    with pytest.raises(SystemExit, match="2"):
        build.main(["ecko"])
    assert "no guest ecko; there are sentiment, echo" in capsys.readouterr().err
