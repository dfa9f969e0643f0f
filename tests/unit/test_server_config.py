"""The generated configuration is a pure function of settings, roles and keys."""

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from chimera.errors import BadSettingError
from chimera.server import RoleName, ServerSettings, render_config, roles
from chimera.server.settings import Durability

KEYS: dict[RoleName, str] = {name: f"U{name.upper()}" for name in roles()}


def rendered(settings: ServerSettings, port: int = 0) -> dict[str, Any]:
    """The configuration, read back as JSON."""
    text = render_config(settings, name="chimera-x", port=port, users=roles().values(), public_keys=KEYS)
    head, _, body = text.partition("\n")
    assert head.startswith("#")
    return json.loads(body)


def test_listens_on_loopback_and_nowhere_else():
    """There is one listener, on loopback: no monitoring, routes, leaves, WebSocket, MQTT."""
    config = rendered(ServerSettings(Path("/d")), port=4300)
    assert (config["host"], config["port"]) == ("127.0.0.1", 4300)
    assert not {"http", "http_port", "https", "monitor_port", "cluster", "leafnodes", "websocket", "mqtt"} & set(config)


def test_port_nought_means_any_free_one():
    """Port 0 asks for any free port, and for a note of which it was."""
    config = rendered(ServerSettings(Path("/d"), port=0))
    assert config["port"] == -1
    assert config["ports_file_dir"] == "/d/nats/ports"


@pytest.mark.parametrize(("durability", "interval"), [("power", "always"), ("process", None), ("wear", "1s")])
def test_durability_profiles_choose_the_fsync_interval(durability: Durability, interval: str | None):
    """Each named profile is one sync interval; ``process`` keeps the server's own."""
    config = rendered(ServerSettings(Path("/d"), durability=durability))
    assert config["jetstream"].get("sync_interval") == interval


def test_disk_and_memory_are_bounded():
    """JetStream gets the bounds of the settings, the log file a bound of its own."""
    config = rendered(ServerSettings(Path("/d"), max_file_bytes=123_456, max_memory_bytes=7_890))
    assert config["jetstream"]["max_file_store"] == 123_456
    assert config["jetstream"]["max_memory_store"] == 7_890
    assert config["jetstream"]["store_dir"] == "/d/nats/jetstream"
    assert config["logfile_size_limit"] * config["logfile_max_num"] <= 16 << 20


def test_every_user_has_a_key_and_the_system_account_has_none():
    """Nobody gets in without a key, and nobody at all into the system account."""
    config = rendered(ServerSettings(Path("/d")))
    users = config["accounts"]["CHIMERA"]["users"]
    assert [user["nkey"] for user in users] == [KEYS[name] for name in roles()]
    assert all(user["permissions"]["publish"] and user["permissions"]["subscribe"] for user in users)
    assert config["accounts"][config["system_account"]] == {}
    assert "no_auth_user" not in config


def test_the_acknowledgement_format_that_breaks_the_client_stays_off():
    """js_ack_fc_v2 breaks ordered consumers of nats-py 2.16: it is pinned off."""
    assert rendered(ServerSettings(Path("/d")))["feature_flags"] == {"js_ack_fc_v2": False}


@pytest.mark.parametrize("folder", ['quo"te', "dollar$HOME", "spa ce", "back\\slash", "hash#tag", "brace}"])
def test_the_server_takes_the_text(folder: str, tmp_path: Path):
    """nats-server itself accepts the text, whatever characters the folder's name has."""
    server = shutil.which("nats-server", path=str(Path(sys.executable).parent)) or shutil.which("nats-server")
    assert server is not None
    settings = ServerSettings(tmp_path / folder)
    key = "UAH42UG6PV552P5SWLWTBP3H3S5BHAVCO2IEKEXUANJXR75J63RQ5WM6"
    keys = dict.fromkeys(roles(), key)
    one = [roles()["runtime"]]
    path = tmp_path / "server.conf"
    path.write_text(render_config(settings, name="chimera-x", port=0, users=one, public_keys=keys))
    done = subprocess.run([server, "-t", "-c", path], capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.4", "example.org", "", "::"])  # noqa: S104 - it must be refused
def test_a_host_that_is_not_loopback_is_refused(host: str):
    """The embedded server never listens to the network; the error names the setting."""
    with pytest.raises(BadSettingError, match=r"nats\.host"):
        ServerSettings(Path("/d"), host=host).check()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost"])
def test_loopback_hosts_are_taken(host: str):
    """Every loopback address will do."""
    ServerSettings(Path("/d"), host=host).check()


@pytest.mark.parametrize("port", [-1, 65_536])
def test_a_port_that_is_none_is_refused(port: int):
    """A number outside TCP's range is refused by name."""
    with pytest.raises(BadSettingError, match=r"nats\.port"):
        dataclasses.replace(ServerSettings(Path("/d")), port=port).check()
