"""The compiled fake of NVML, and the machine that it tells of: a file that a test rewrites."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from tempfile import mkdtemp

import pytest

SOURCE = Path(__file__).with_name("fake_nvml.c")
SONAME = "libnvidia-ml.so.1"
Keys = dict[str, object]


class Machine:
    """GPUs as the fake library tells of them; each change is seen by the next call.

    Args:
        path: The file that ``FAKE_NVML_STATE`` names.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.system: Keys = {"init": 0}
        self.gpus: dict[str, Keys] = {}
        self.write()

    def gpu(self, uuid: str, **keys: object) -> None:
        """Add a GPU, or change some of its keys; ``None`` takes a key away."""
        self.gpus.setdefault(uuid, {"uuid": uuid}).update(keys)
        self.write()

    def remove(self, uuid: str) -> None:
        """The bus does not list it any more."""
        del self.gpus[uuid]
        self.write()

    def say(self, **keys: object) -> None:
        """Change what is said of the system as a whole."""
        self.system.update(keys)
        self.write()

    def write(self) -> None:
        """Write the file in one step, so that no call reads half of it."""
        rows = [f"system {_words(self.system)}", *(f"gpu {_words(keys)}" for keys in self.gpus.values())]
        fresh = self.path.with_suffix(".new")
        fresh.write_text("\n".join(rows) + "\n")
        fresh.replace(self.path)


def _words(keys: Keys) -> str:
    return " ".join(f"{key}={str(value).replace(' ', '_')}" for key, value in keys.items() if value is not None)


@cache
def library() -> Path:
    """The fake library, compiled once per run; skips the test where there is no C compiler at all."""
    target = Path(mkdtemp(prefix="fake-nvml-")) / SONAME
    flags = ["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", f"-Wl,-soname,{SONAME}"]
    subprocess.run([*_compiler(), *flags, "-o", str(target), str(SOURCE)], check=True, timeout=120)
    return target


def _compiler() -> list[str]:
    found = shutil.which("cc")
    if found:
        return [found]
    if find_spec("ziglang"):
        return [sys.executable, "-m", "ziglang", "cc"]
    pytest.skip("neither cc nor ziglang is here to compile the fake NVML with")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    """A machine without GPUs yet; a call that still hangs at the end is let go."""
    path = tmp_path / "nvml-state"
    monkeypatch.setenv("FAKE_NVML_STATE", str(path))
    made = Machine(path)
    yield made
    made.gpus.clear()
    made.say(hang=0)
