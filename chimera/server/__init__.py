"""The embedded nats-server: found, configured, keyed per role, started, watched, stopped."""

from .binary import MIN_VERSION, Binary, check_server, find_server
from .config import MAX_PAYLOAD_BYTES, render_config
from .context import Context, Example, example_lines, install_context, read_context, write_contexts
from .exit import ServerExit
from .keys import ensure_keys, seed_path
from .private import make_data_folder, make_private_folder, read_private, write_private
from .process import EmbeddedServer, ServerStatistics
from .roles import Role, RoleName, roles
from .settings import Durability, ServerFiles, ServerSettings

__all__ = [
    "MAX_PAYLOAD_BYTES",
    "MIN_VERSION",
    "Binary",
    "Context",
    "Durability",
    "EmbeddedServer",
    "Example",
    "Role",
    "RoleName",
    "ServerExit",
    "ServerFiles",
    "ServerSettings",
    "ServerStatistics",
    "check_server",
    "ensure_keys",
    "example_lines",
    "find_server",
    "install_context",
    "make_data_folder",
    "make_private_folder",
    "read_context",
    "read_private",
    "render_config",
    "roles",
    "seed_path",
    "write_contexts",
    "write_private",
]
