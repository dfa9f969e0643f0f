"""Build the shipped guests from source, byte for byte the same everywhere: ``python -m edge.guests.build``.

Sources are compiled by the pinned ``ziglang`` wheel with a compiler cache of the build's own. Names on the command line
choose guests; ``--check`` compares a fresh build with the committed modules and changes nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from chimera import reference

from . import catalog, tables

TOOLCHAIN = "0.17.1"
COMPILE_TIMEOUT_S = 600
# A small stack keeps fresh instances cheap. The linker puts it below the data: an overflow traps and spoils nothing.
FLAGS = (
    "--target=wasm32-freestanding", "-mcpu=mvp+bulk_memory+mutable_globals+nontrapping_fptoint+sign_ext",
    "-std=c23", "-nostdlib", "-O2", "-g0", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-fno-ident",
    "-Wl,--no-entry", "-Wl,--strip-all", "-Wl,-z,stack-size=16384",
)  # fmt: skip
OWN_ALLOCATOR = frozenset({"lying_alloc", "missing_export"})
"""Guests that are built without abi/memory.c, because what it exports is what they get wrong."""


class BuildError(Exception):
    """The build can't be done. The message says what to do."""


def build_guests(names: Sequence[str], target: Path) -> dict[str, str]:
    """Build guests into ``target``, laid out like this room.

    Args:
        names: Guests to build.
        target: An existing folder.

    Returns:
        Module file to sha256.

    Raises:
        BuildError: If the toolchain is missing or another version, or a source does not compile.
        FetchError: If the word lists can't be had.
    """
    _require_toolchain()
    with tempfile.TemporaryDirectory(prefix="chimera-guests-") as folder:
        return {catalog.guest_files(name).module: _build(name, target, Path(folder)) for name in names}


def write_digests(digests: dict[str, str], room: Path) -> None:
    """Record the digests of built modules, keeping those of guests that were not built."""
    known = catalog.recorded_digests(room) if (room / catalog.DIGESTS).exists() else {}
    lines = [f'"{module}" = "{digest}"' for module, digest in sorted((known | digests).items())]
    head = f'# Written by: python -m edge.guests.build\ntoolchain = "ziglang {TOOLCHAIN}"\n\n[sha256]\n'
    (room / catalog.DIGESTS).write_text(head + "\n".join(lines) + "\n")


def check_guests(names: Sequence[str]) -> list[str]:
    """Build afresh and compare. Returns one sentence per difference; empty means that all is as committed."""
    recorded = catalog.recorded_digests(catalog.ROOM)
    with tempfile.TemporaryDirectory(prefix="chimera-check-") as folder:
        built = build_guests(names, Path(folder))
        return [sentence for module in built for sentence in _differences(module, Path(folder), built, recorded)]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit code: 1 for a difference or a failed build."""
    options = _parse(arguments)
    names = options.names or [*catalog.SERVICE_GUESTS, *catalog.HOSTILE_GUESTS]
    try:
        return _check(names) if options.check else _build_here(names)
    except (BuildError, reference.FetchError, catalog.GuestFileError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m edge.guests.build", description="Build the shipped guests.")
    parser.add_argument("--check", action="store_true", help="compare a fresh build with what is committed")
    every = [*catalog.SERVICE_GUESTS, *catalog.HOSTILE_GUESTS]
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"guests, by default all: {', '.join(every)}")
    options = parser.parse_args(arguments)
    if unknown := sorted(set(options.names) - set(every)):
        parser.error(f"no guest {', '.join(unknown)}; there are {', '.join(every)}")
    return options


def _build_here(names: Sequence[str]) -> int:
    digests = build_guests(names, catalog.ROOM)
    write_digests(digests, catalog.ROOM)
    for module, digest in digests.items():
        print(f"{digest}  {(catalog.ROOM / module).stat().st_size:>7}  {module}")
    return 0


def _check(names: Sequence[str]) -> int:
    differences = check_guests(names)
    print("\n".join(differences) or f"{len(names)} guests: the committed modules are what the sources build")
    return 1 if differences else 0


def _differences(module: str, folder: Path, built: dict[str, str], recorded: dict[str, str]) -> list[str]:
    found: list[str] = []
    committed = catalog.ROOM / module
    if not committed.exists():
        found.append(f"{module}: is missing")
    elif committed.read_bytes() != (folder / module).read_bytes():
        actual = hashlib.sha256(committed.read_bytes()).hexdigest()
        found.append(f"{module}: committed is {actual}, the sources build {built[module]}")
    if (known := recorded.get(module, "nothing")) != built[module]:
        found.append(f"{catalog.DIGESTS}: records {known} for {module}, the sources build {built[module]}")
    return found


def _require_toolchain() -> None:
    found = importlib.metadata.version("ziglang") if importlib.util.find_spec("ziglang") else "not installed"
    if found != TOOLCHAIN:
        raise BuildError(
            f"guests are built with ziglang {TOOLCHAIN}, which is {found}: install the dependency group 'guests', "
            f"for example with: python -m pip install ziglang=={TOOLCHAIN}"
        )


def _build(name: str, target: Path, workspace: Path) -> str:
    """Compile one guest in ``workspace`` and move the module to its place; returns the digest."""
    files = catalog.guest_files(name)
    _copy_sources(name, workspace)
    _compile(name, workspace)
    module = (workspace / files.module).read_bytes()
    (target / files.module).parent.mkdir(parents=True, exist_ok=True)
    (target / files.module).write_bytes(module)
    return hashlib.sha256(module).hexdigest()


def _copy_sources(name: str, workspace: Path) -> None:
    for pattern in ("abi/*.[ch]", catalog.guest_files(name).sources, f"{name}/*.h"):
        for source in sorted(catalog.ROOM.glob(pattern)):
            copy = workspace / source.relative_to(catalog.ROOM)
            copy.parent.mkdir(exist_ok=True)
            shutil.copyfile(source, copy)
    if name == "sentiment":
        _write_tables(workspace / name)


def _write_tables(folder: Path) -> None:
    archive = reference.fetch_archive()
    package = reference.DISTRIBUTION
    words = tables.merge_words(
        reference.read_member(archive, f"{package}/vader_lexicon.txt"),
        reference.read_member(archive, f"{package}/{package}.py"),
        (catalog.ROOM / "sentiment" / "function_words.txt").read_text(encoding="utf-8"),
    )
    emojis = reference.read_member(archive, f"{package}/emoji_utf8_lexicon.txt")
    manifest = catalog.read_manifest(catalog.ROOM / "sentiment" / "manifest.json")
    tables.write_sentiment_tables(folder, words, emojis, manifest)


def _compile(name: str, workspace: Path) -> None:
    files = catalog.guest_files(name)
    sources = [*workspace.glob(files.sources), *workspace.glob("abi/*.c")]
    relative = sorted(str(source.relative_to(workspace)) for source in sources)
    if name in OWN_ALLOCATOR:
        relative.remove("abi/memory.c")
    command = [sys.executable, "-m", "ziglang", "cc", *FLAGS, f"-ffile-prefix-map={workspace}=.", *relative]
    cache = {f"ZIG_{scope}_CACHE_DIR": str(workspace / ".zig-cache") for scope in ("GLOBAL", "LOCAL")}
    done = subprocess.run(
        [*command, "-o", files.module], cwd=workspace, env=os.environ | cache,
        capture_output=True, text=True, check=False, timeout=COMPILE_TIMEOUT_S,
    )  # fmt: skip
    if done.returncode:
        raise BuildError(f"{name} does not compile:\n{done.stderr.strip()}")


if __name__ == "__main__":
    sys.exit(main())
