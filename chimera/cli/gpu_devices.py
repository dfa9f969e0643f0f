"""``chimera gpu status``, ``drain``, ``undrain``, ``forget``, ``rules``: devices of all nodes, how they are lent."""

from __future__ import annotations

import argparse
from typing import Any

from chimera.errors import BadMessageError

from .command import Command, Exit
from .output import emit_json, note, table
from .settings import load_settings

_MILLI = 1000


def _ask(options: argparse.Namespace, operation: Any, body: dict[str, Any]) -> dict[str, Any]:
    from .client import with_client

    settings = load_settings(options).settings
    return with_client(settings, lambda client: client.ask(operation, body))


# -- status ------------------------------------------------------------------------------------------------------------


def _status_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--node", default="", metavar="NAME", help="of this node only")
    parser.add_argument("--kind", default="", choices=("gpu", "cpu"), help="of this kind only")


def _status(options: argparse.Namespace) -> int:
    from subjects.device import STATUS

    answer = _ask(options, STATUS, {"node": options.node, "kind": options.kind})
    if options.json:
        emit_json(answer)
        return Exit.DONE
    if not any(device["kind"] == "gpu" for device in answer["devices"]) and options.kind != "cpu":
        note("no GPU")
    show_devices(answer["devices"])
    if answer["waiting"]:
        note(f"{answer['waiting']} requests wait")
    return Exit.DONE


def show_devices(devices: list[dict[str, Any]]) -> None:
    """Print devices as a table."""
    columns = (
        "node", "device", "model", "health", "lent", "free", "memory MiB", "free MiB", "used MiB", "busy %", "W", "C",
        "leases",
    )  # fmt: skip
    table(columns, [
        (
            device["node"], device["id"], device["model"], _health(device),
            (device["milli"] - device["free_milli"]) / _MILLI, device["free_milli"] / _MILLI, device["memory_mib"],
            device["free_memory_mib"], device["memory_used_mib"], _percent(device["utilization"]), device["power_w"],
            device["temperature_c"], len(device["grants"]),
        )
        for device in devices
    ])  # fmt: skip


def _health(device: dict[str, Any]) -> str:
    word = "drained" if device["drained"] and device["health"] == "ok" else device["health"]
    return f"{word}: {device['trouble']}" if device["trouble"] else word


def _percent(share: float | None) -> str | None:
    return None if share is None else f"{100 * share:.0f}"


# -- drain, undrain, forget --------------------------------------------------------------------------------------------


def _named(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("device", nargs="?", default="", metavar="DEVICE", help="its UUID")
    parser.add_argument("--node", default="", metavar="NAME", help="all devices of this node instead")


def _drain_arguments(parser: argparse.ArgumentParser) -> None:
    _named(parser)
    parser.add_argument("--notice", type=float, metavar="SECONDS", help="take present leases back after so long")
    parser.add_argument("--reason", default="", help="shown wherever the device is")


def _drain(options: argparse.Namespace) -> int:
    from subjects.device import DRAIN

    body = {"device": options.device, "node": options.node, "notice_s": options.notice, "reason": options.reason}
    return _told(options, _ask(options, DRAIN, body))


def _undrain(options: argparse.Namespace) -> int:
    from subjects.device import UNDRAIN

    return _told(options, _ask(options, UNDRAIN, {"device": options.device, "node": options.node}))


def _forget(options: argparse.Namespace) -> int:
    from subjects.device import FORGET

    return _told(options, _ask(options, FORGET, {"device": options.device, "node": options.node}))


def _told(options: argparse.Namespace, answer: dict[str, Any]) -> int:
    if options.json:
        emit_json(answer)
    else:
        show_devices(answer["devices"])
    return Exit.DONE


# -- rules -------------------------------------------------------------------------------------------------------------


def _rules_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--packing", choices=("pack", "spread"), help="keep devices free for large requests, or spread")
    parser.add_argument("--patience", type=float, metavar="SECONDS", help="then nothing passes a waiting request")
    parser.add_argument("--notice", type=float, metavar="SECONDS", help="between notice and taking back")
    parser.add_argument("--idle", type=float, metavar="SECONDS", help="take idle leases back after so long; 0 = never")
    parser.add_argument(
        "--tenant", action="append", default=[], metavar="NAME:KEY=NUMBER,...",
        help="weight, gpus (quota), most_gpus, cpus, most_cpus: --tenant research:gpus=4,most_gpus=8",
    )  # fmt: skip
    parser.add_argument("--drop", action="append", default=[], metavar="TENANT", help="forget a tenant's rule")


def _rules(options: argparse.Namespace) -> int:
    from subjects.gpu_broker import CONFIGURE, RULES

    given = {
        "packing": options.packing, "patience_s": options.patience, "notice_s": options.notice, "idle_s": options.idle
    }  # fmt: skip
    body: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if options.tenant or options.drop:
        body |= {"tenants": dict(_tenant(text) for text in options.tenant), "drop": options.drop}
    answer = _ask(options, CONFIGURE, body) if body else _ask(options, RULES, {})
    if options.json:
        emit_json(answer)
        return Exit.DONE
    table(("rule", "value"), [(name, value) for name, value in answer.items() if name != "tenants"])
    if answer["tenants"]:
        columns = ("weight", "gpus", "most_gpus", "cpus", "most_cpus")
        rows = [(name, *(rule[one] for one in columns)) for name, rule in sorted(answer["tenants"].items())]
        table(("tenant", *columns), rows)
    return Exit.DONE


def _tenant(text: str) -> tuple[str, dict[str, float]]:
    """``NAME:KEY=NUMBER,...``.

    Raises:
        BadMessageError: If it is not like that.
    """
    name, _, rest = text.partition(":")
    try:
        pairs = (pair.split("=") for pair in rest.split(",") if pair)
        return name, {key.strip(): float(value) for key, value in pairs}
    except ValueError as error:
        raise BadMessageError(f"--tenant {text}: not NAME:KEY=NUMBER,...") from error


DEVICE_VERBS: tuple[Command, ...] = (
    Command("status", "every device of every node", "chimera gpu status --kind gpu", _status_arguments, _status),
    Command(
        "drain", "lend nothing more of a device or a node", "chimera gpu drain --node n1", _drain_arguments, _drain
    ),
    Command("undrain", "lend it again", "chimera gpu undrain --node n1", _named, _undrain),
    Command("forget", "forget what will not come back", "chimera gpu forget GPU-1234", _named, _forget),
    Command("rules", "how devices are shared; change it", "chimera gpu rules --idle 600", _rules_arguments, _rules),
)
