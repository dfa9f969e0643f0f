"""Keys, contexts and folders: private, whole, and made once."""

import json
import shlex
import stat
from pathlib import Path

import pytest

from chimera.errors import BadSettingError
from chimera.server import (
    ServerFiles,
    ensure_keys,
    example_lines,
    install_context,
    make_data_folder,
    make_private_folder,
    read_context,
    read_private,
    roles,
    seed_path,
    write_contexts,
    write_private,
)  # fmt: skip

URL = "nats://127.0.0.1:4222"


def mode(path: Path) -> int:
    """The permission bits."""
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """An empty data folder."""
    folder = tmp_path / "data"
    make_data_folder(folder)
    return folder


def test_the_data_folder_is_private(tmp_path: Path):
    """A new data folder is 0700, and an existing one becomes so."""
    make_data_folder(tmp_path / "a" / "new")
    assert mode(tmp_path / "a" / "new") == 0o700
    old = tmp_path / "old"
    old.mkdir(mode=0o755)
    make_data_folder(old)
    assert mode(old) == 0o700


def test_a_shared_folder_is_left_as_it_is(tmp_path: Path):
    """A sticky folder such as /tmp belongs to everybody: its mode stays."""
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    make_data_folder(shared)
    assert mode(shared) == 0o1777


@pytest.mark.parametrize("make", [make_data_folder, make_private_folder])
def test_a_file_in_the_folders_place(make: object, tmp_path: Path):
    """A folder that can't be made is one clear error with the setting to change."""
    (tmp_path / "file").touch()
    assert callable(make)
    with pytest.raises(BadSettingError, match=r"node\.data_dir: can't use .*file"):
        make(tmp_path / "file" / "data")


def test_writing_is_private_and_whole(tmp_path: Path):
    """A file is 0600 and replaced in one step; nothing else stays behind."""
    path = tmp_path / "secret"
    write_private(path, b"one")
    write_private(path, b"two")
    assert (path.read_bytes(), mode(path)) == (b"two", 0o600)
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """When the disk fails before the rename, the old content stands and no scrap stays."""
    path = tmp_path / "secret"
    write_private(path, b"old")

    def fail(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(BadSettingError, match="no space left"):
        write_private(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_reading_closes_an_open_file(tmp_path: Path):
    """A secret that others could read is closed to them."""
    path = tmp_path / "secret"
    path.write_bytes(b"x")
    path.chmod(0o644)
    assert read_private(path) == b"x"
    assert mode(path) == 0o600
    assert read_private(tmp_path / "none") is None


def test_keys_are_made_once_and_are_private(tmp_path: Path):
    """One user key per role; a second start finds the same ones."""
    folder = tmp_path / "secrets"
    first = ensure_keys(folder, roles())
    assert ensure_keys(folder, roles()) == first
    assert len(set(first.values())) == len(roles()) == 4
    assert all(public.startswith("U") for public in first.values())
    assert mode(folder) == 0o700
    for role in roles():
        seed = seed_path(folder, role)
        assert mode(seed) == 0o600
        assert seed.read_bytes().startswith(b"SU")
        assert seed.read_bytes() == seed.read_bytes().strip()


@pytest.mark.parametrize("content", [b"", b"SUnonsense", b"\xff\x00", "seed ä".encode(), b"A" * 58])
def test_a_damaged_seed_is_named(content: bytes, tmp_path: Path):
    """A seed file that holds no seed is an error with its path, not a new identity in silence."""
    ensure_keys(tmp_path / "secrets", ["client"])
    path = seed_path(tmp_path / "secrets", "client")
    path.write_bytes(content)
    with pytest.raises(BadSettingError, match=r"client\.nk"):
        ensure_keys(tmp_path / "secrets", ["client"])


def test_an_account_seed_is_no_user_seed(tmp_path: Path):
    """A seed of another kind is refused as well."""
    import nkeys

    ensure_keys(tmp_path / "secrets", ["client"])
    account = bytes(nkeys.encode_seed(bytes(32), nkeys.PREFIX_BYTE_ACCOUNT))  # pyright: ignore[reportUnknownMemberType] - untyped
    seed_path(tmp_path / "secrets", "client").write_bytes(account)
    with pytest.raises(BadSettingError, match="no user seed"):
        ensure_keys(tmp_path / "secrets", ["client"])


def test_contexts_lie_where_the_nats_command_looks(data: Path):
    """With XDG_CONFIG_HOME at <data>/cli the command finds chimera-client with all it needs."""
    write_contexts(data, URL)
    path = data / "cli" / "nats" / "context" / "chimera-client.json"
    context = json.loads(path.read_text())
    assert context["url"] == URL
    assert context["nkey"] == str(data / "secrets" / "client.nk")
    assert context["inbox_prefix"] == "_INBOX_client"
    assert mode(path) == 0o600


def test_our_own_command_reads_the_context(data: Path):
    """Another process finds server and key from the data folder alone."""
    assert read_context(data) is None
    write_contexts(data, URL)
    context = read_context(data)
    assert context is not None
    assert (context.url, context.nkey) == (URL, str(data / "secrets" / "operator.nk"))


def test_a_damaged_context_is_named(data: Path):
    """A context that can't be read is an error that says which file to delete."""
    write_contexts(data, URL)
    (ServerFiles(data).cli / "nats" / "context" / "chimera-operator.json").write_text("{")
    with pytest.raises(BadSettingError, match=r"chimera-operator\.json is damaged"):
        read_context(data)


def test_installing_a_context_is_explicit(data: Path, tmp_path: Path):
    """Only when asked is a context copied into a configuration home, which keeps its other files."""
    home = tmp_path / "home"
    with pytest.raises(BadSettingError, match="no server was ever started"):
        install_context(data, config_home=home)
    write_contexts(data, URL)
    assert not home.exists()
    (home / "nats" / "context").mkdir(parents=True)
    (home / "nats" / "context" / "mine.json").write_text("{}")
    path = install_context(data, config_home=home)
    assert path == home / "nats" / "context" / "chimera-client.json"
    assert json.loads(path.read_text())["url"] == URL
    assert (home / "nats" / "context" / "mine.json").exists()


def test_the_lines_to_try(tmp_path: Path):
    """Both lines are valid shell, also with a folder's name that needs quoting, and hold no seed."""
    data = tmp_path / "it's here"
    make_data_folder(data)
    ensure_keys(data / "secrets", roles())
    lines = example_lines(data, URL)
    words = shlex.split(lines.full)
    assert words[:3] == ["nats", "--server", URL]
    assert words[words.index("--nkey") + 1] == str(data / "secrets" / "client.nk")
    assert words[-2] == "chimera.agent.predict"
    assert json.loads(words[-1])["input"]
    assert shlex.split(lines.by_context)[0] == f"XDG_CONFIG_HOME={data / 'cli'}"
    assert (data / "secrets" / "client.nk").read_text() not in lines.full + lines.by_context
