"""The HTTP bridge: every declared operation as a route, with limits, token, idempotency and problem+json."""

from .app import build_app
from .auth import ensure_token
from .contract import Caller, Probe
from .server import Bridge
from .settings import LAYERS, BridgeSettings, TokenMode

__all__ = ["LAYERS", "Bridge", "BridgeSettings", "Caller", "Probe", "TokenMode", "build_app", "ensure_token"]
