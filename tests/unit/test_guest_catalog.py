import hashlib
import shutil
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from edge.guests import catalog, corrupted, hostile_guests, shipped, shipped_guest
from edge.guests.catalog import GuestFileError, load_guest
from edge.guests.corruption import sections


@pytest.fixture
def room(tmp_path: Path) -> Path:
    """A copy of what ships, to damage."""
    target = tmp_path / "guests"
    shutil.copytree(catalog.ROOM, target, ignore=shutil.ignore_patterns("*.py", "*.c", "*.h", "__pycache__"))
    return target


def test_shipped_guests_are_the_ones_a_node_may_serve():
    """Sentiment and echo ship as agents; no hostile guest is among them."""
    assert [guest.name for guest in shipped()] == ["sentiment", "echo"]
    assert not {guest.name for guest in shipped()} & {guest.name for guest in hostile_guests()}


def test_every_guest_is_what_its_record_and_manifest_say():
    """Names agree, digests are those of the bytes, and every module starts as core WebAssembly does."""
    for guest in [*shipped(), *hostile_guests()]:
        assert guest.manifest.name == guest.name
        assert guest.digest == hashlib.sha256(guest.module).hexdigest()
        assert guest.module.startswith(b"\0asm\x01\0\0\0")
        assert "predict" in guest.manifest.tasks


def test_every_module_in_the_room_is_recorded_and_known():
    """No built module lies there without a record, and no record without a module."""
    built = {str(path.relative_to(catalog.ROOM)) for path in catalog.ROOM.glob("*/*.wasm")}
    names = [*catalog.SERVICE_GUESTS, *catalog.HOSTILE_GUESTS]
    assert set(catalog.recorded_digests(catalog.ROOM)) == built == {catalog.guest_files(name).module for name in names}


def test_sentiment_declares_a_complete_genome():
    """Each gene has bounds around its default, a unit and a description, and the domain vector has 64 genes of 0."""
    genome = shipped_guest("sentiment").manifest.genome
    for gene in genome:
        assert gene.low is not None
        assert gene.high is not None
        assert gene.low <= float(gene.default) <= gene.high
        assert gene.unit
        assert gene.description
    assert (genome[-1].name, genome[-1].size, genome[-1].default) == ("domain", 64, 0.0)
    assert len({gene.name for gene in genome}) == len(genome)


def test_manifests_survive_the_wire():
    """What a node reads from a manifest is what another node reads from its encoding."""
    for guest in shipped():
        assert msgspec.json.decode(msgspec.json.encode(guest.manifest), type=type(guest.manifest)) == guest.manifest


def test_unknown_guest_is_refused_with_the_names_there_are():
    """A wrong name is answered with the right ones."""
    with pytest.raises(GuestFileError, match=r"no guest 'sentimant' is shipped; there are sentiment, echo"):
        shipped_guest("sentimant")


def test_changed_module_is_refused(room: Path):
    """One flipped bit in a module is found, and the message tells how to mend it."""
    path = room / "echo" / "echo.wasm"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(GuestFileError, match=r"echo\.wasm has sha256 .* recorded is .*rebuild with"):
        load_guest(room, "echo")
    assert load_guest(room, "sentiment").name == "sentiment"


def test_module_without_a_record_is_refused(room: Path):
    """A module that nobody recorded is not trusted."""
    (room / catalog.DIGESTS).write_text("[sha256]\n")
    with pytest.raises(GuestFileError, match="recorded is none"):
        load_guest(room, "echo")


@pytest.mark.parametrize("missing", ["echo/echo.wasm", "echo/manifest.json", "digests.toml"])
def test_missing_file_is_named(room: Path, missing: str):
    """A file that is gone is named in the error."""
    (room / missing).unlink()
    with pytest.raises(GuestFileError, match=f"{missing} can't be read"):
        load_guest(room, "echo")


def test_wrong_manifest_is_named(room: Path):
    """A manifest with an unknown field is refused with the file and the field."""
    (room / "echo" / "manifest.json").write_text('{"name": "echo", "colour": "red"}')
    with pytest.raises(GuestFileError, match=r"manifest\.json is no manifest: .*colour"):
        load_guest(room, "echo")


def test_broken_record_is_named(room: Path):
    """A record that is no TOML is an error of its own."""
    (room / catalog.DIGESTS).write_text("sha256 = [")
    with pytest.raises(GuestFileError, match=r"digests\.toml is unreadable"):
        load_guest(room, "echo")


@pytest.mark.parametrize("name", ["echo", "sentiment"])
def test_corrupted_modules_are_all_different_and_none_is_valid(name: str):
    """Each kind of damage really makes a module that wasmtime refuses to validate."""
    import wasmtime

    engine = wasmtime.Engine()
    module = shipped_guest(name).module
    damaged = corrupted(module)
    assert len(set(damaged.values()) | {module}) == len(damaged) + 1
    for content in damaged.values():
        with pytest.raises(wasmtime.WasmtimeError):
            wasmtime.Module.validate(engine, content)


def test_sections_cover_the_module():
    """The section reader that damage is aimed with finds neighbours from the header to the end."""
    module = shipped_guest("sentiment").module
    found = sections(module)
    assert found[0][1] == 8
    assert found[-1][2] == len(module)
    assert all(left[2] == right[1] for left, right in pairwise(found))
