"""The event log: named events on the console and in bounded JSON files, and the way to read them back."""

from .background import BackgroundHandler, LogStatistics, Sink, StreamSink
from .console import console_line, wants_colour
from .context import bound, bound_now
from .files import EventFiles, log_files, logs_dir
from .level import current_level, set_level
from .line import LEVELS, Level, LogLine, decode_line, encode_line, event, line_of, log_event
from .names import LAYER_ALIASES, EventName, Layer, find_layer, layer_of
from .read import parse_since, read_events
from .setup import Logging, setup_logging

__all__ = [
    "LAYER_ALIASES",
    "LEVELS",
    "BackgroundHandler",
    "EventFiles",
    "EventName",
    "Layer",
    "Level",
    "LogLine",
    "LogStatistics",
    "Logging",
    "Sink",
    "StreamSink",
    "bound",
    "bound_now",
    "console_line",
    "current_level",
    "decode_line",
    "encode_line",
    "event",
    "find_layer",
    "layer_of",
    "line_of",
    "log_event",
    "log_files",
    "logs_dir",
    "parse_since",
    "read_events",
    "set_level",
    "setup_logging",
    "wants_colour",
]
