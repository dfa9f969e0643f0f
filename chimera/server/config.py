"""The server's configuration as a text: a pure function of settings, roles and public keys."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from .roles import Role, RoleName
from .settings import Durability, ServerFiles, ServerSettings

MAX_PAYLOAD_BYTES = 8 << 20
"""Largest message: a WebAssembly module travels in one. The server advises against more."""

_LOG_BYTES = 4 << 20
_LOG_FILES = 3
_HEAD = "# Written at every start: edits are lost. Settings are described by: chimera config show\n"


def render_config(
    settings: ServerSettings, *, name: str, port: int, users: Iterable[Role], public_keys: Mapping[RoleName, str]
) -> str:
    """The configuration file. The server's language takes JSON, which leaves no room for quoting errors.

    There is no monitoring port, no route, no leaf, no WebSocket listener and no user without a key. The system account
    has no user: nobody reads it.

    Args:
        settings: What the user chose.
        name: Server name; clients see it in INFO, and ``start`` knows its own server by it.
        port: Port to listen on; 0 = any free one, which the server writes down in the ports folder.
        users: Roles that may connect.
        public_keys: Each role's public nkey.
    """
    files = ServerFiles(settings.data_dir)
    document = {
        "server_name": name,
        "host": settings.host,
        "port": port or -1,
        "ports_file_dir": str(files.ports),
        "log_file": str(files.log),
        "logfile_size_limit": _LOG_BYTES,
        "logfile_max_num": _LOG_FILES,
        "max_payload": MAX_PAYLOAD_BYTES,
        # A client that does not read for this long is cut off instead of holding the others up.
        "write_deadline": "5s",
        "ping_interval": "10s",
        "ping_max": 3,
        "lame_duck_grace_period": "1s",
        "lame_duck_duration": "30s",
        "jetstream": {
            "store_dir": str(files.jetstream),
            "max_file_store": settings.max_file_bytes,
            "max_memory_store": settings.max_memory_bytes,
            **_sync(settings.durability),
        },
        # It changes the subjects of acknowledgements, which nats-py 2.16 reads by position.
        "feature_flags": {"js_ack_fc_v2": False},
        "accounts": {
            "CHIMERA": {"jetstream": "enabled", "users": [_user(role, public_keys[role.name]) for role in users]},
            "SYSTEM": {},
        },
        "system_account": "SYSTEM",
    }
    return f"{_HEAD}{json.dumps(document, indent=2, ensure_ascii=False)}\n"


def _sync(durability: Durability) -> dict[str, str]:
    return {"power": {"sync_interval": "always"}, "process": {}, "wear": {"sync_interval": "1s"}}[durability]


def _user(role: Role, public_key: str) -> dict[str, Any]:
    return {
        "nkey": public_key,
        "permissions": {"publish": list(role.publish), "subscribe": list(role.subscribe)},
    }
