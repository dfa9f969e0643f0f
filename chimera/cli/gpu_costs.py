"""``chimera gpu costs``, ``budget``, ``prices``, ``savings``, ``capacity``: money and joules, spent and to come."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from chimera.errors import BadMessageError

from .command import Command, Exit
from .output import emit_json, note, table
from .settings import load_settings


def _ask(options: argparse.Namespace, operation: Any, body: dict[str, Any]) -> dict[str, Any]:
    from .client import with_client

    settings = load_settings(options).settings
    return with_client(settings, lambda client: client.ask(operation, body, timeout_s=15.0))


def _clock(at: float | None) -> str | None:
    return None if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")


# -- costs -------------------------------------------------------------------------------------------------------------


def _costs_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--hours", type=float, default=24.0, metavar="N", help="of so many hours (24)")
    parser.add_argument("--tenant", default="", metavar="NAME", help="of this tenant only")


def _costs(options: argparse.Namespace) -> int:
    from subjects.cost import COSTS

    answer = _ask(options, COSTS, {"hours": options.hours, "tenant": options.tenant})
    if options.json:
        emit_json(answer)
        return Exit.DONE
    rows = [
        (
            "(idle)" if line["idle"] else line["layer"], line["tenant"], line["agent"], line["leases"],
            line["gpu_hours"], line["cpu_hours"], line["cost"], line["joules"], line["joules_from"],
        )
        for line in answer["lines"]
    ]  # fmt: skip
    money = f"cost {answer['currency']}".strip()
    columns = ("layer", "tenant", "agent", "leases", "GPU h", "CPU h", money, "joules", "joules from")
    table(columns, rows, title=f"{_clock(answer['since'])} to {_clock(answer['until'])}")
    if answer["cost"] is None:
        note("nothing of it has a price; set prices with: chimera gpu prices FILE")
    if answer["idle_share"] is not None:
        note(f"{100 * answer['idle_share']:.0f} % was idle")
    return Exit.DONE


# -- budget ------------------------------------------------------------------------------------------------------------


def _budget_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("tenant", nargs="?", default="", metavar="TENANT", help="of this tenant only, or to be set")
    parser.add_argument("--amount", type=float, metavar="N", help="give it a budget of so much; 0 takes it away")
    parser.add_argument("--unit", choices=("money", "joules"), default="money", help="of what (money)")
    parser.add_argument("--period", default="1d", metavar="TIME", help="of each: 1h, 1d, 30d (1d)")


def _budget(options: argparse.Namespace) -> int:
    from subjects.cost import BUDGET

    answer = _ask(options, BUDGET, {"tenant": options.tenant}) if options.amount is None else _set(options)
    if options.json:
        emit_json(answer)
        return Exit.DONE
    rows = [
        (
            one["tenant"], one["amount"], one["unit"], one["used"], one["committed"], one["left"],
            _clock(one["begins_at"]), _clock(one["begins_at"] + one["period_s"]), _clock(one["runs_out_at"]),
        )
        for one in answer["budgets"]
    ]  # fmt: skip
    table(("tenant", "budget", "of", "used", "committed", "left", "since", "renews", "runs out"), rows)
    return Exit.DONE


def _set(options: argparse.Namespace) -> dict[str, Any]:
    from chimera.config import parse_duration
    from subjects.cost import SET_BUDGET

    if not options.tenant:
        raise BadMessageError("--amount: whose? chimera gpu budget TENANT --amount N")
    try:
        period_s = parse_duration(options.period)
    except ValueError as error:
        raise BadMessageError(f"--period {options.period}: {error}") from error
    body = {"tenant": options.tenant, "unit": options.unit, "amount": options.amount, "period_s": period_s}
    return _ask(options, SET_BUDGET, body)


# -- prices ------------------------------------------------------------------------------------------------------------


def _prices_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file", metavar="FILE",
        help="TOML or JSON with currency, watts and prices (model, per_hour, gpus); - = standard input, as JSON",
    )  # fmt: skip


def _prices(options: argparse.Namespace) -> int:
    from subjects.cost import SET_PRICES

    answer = _ask(options, SET_PRICES, _read(options.file))
    if options.json:
        emit_json(answer)
        return Exit.DONE
    columns = ("model", "per_hour", "gpus", "processors", "memory_mib", "spot")
    rows = [(one["model"] or "(no GPU)", *(one[name] for name in columns[1:])) for one in answer["prices"]]
    table(columns, rows, title=f"{answer['currency']} an hour of a node")
    if answer["watts"] is not None:
        note(f"{answer['watts']:g} W declared for an idle node that does not tell its power")
    return Exit.DONE


def _read(name: str) -> dict[str, Any]:
    """A price table.

    Raises:
        BadMessageError: If it can't be read.
    """
    import json
    import tomllib

    try:
        text = sys.stdin.read() if name == "-" else Path(name).read_text("utf-8")
        found: Any = tomllib.loads(text) if name.endswith(".toml") else json.loads(text)
    except (OSError, ValueError) as error:
        raise BadMessageError(f"{name}: {error}") from error
    return {"prices": found} if isinstance(found, list) else found


# -- what to do --------------------------------------------------------------------------------------------------------


def _savings_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--hours", type=float, default=168.0, metavar="N", help="by the demand of so many hours (168)")


def _savings(options: argparse.Namespace) -> int:
    from subjects.cost import COST_PLAN

    answer = _ask(options, COST_PLAN, {"hours": options.hours})
    if options.json:
        emit_json(answer)
        return Exit.DONE
    rows = [
        (one["kind"], one["words"], one["saves"], one["unit"], one["basis"], one["how"]) for one in answer["savings"]
    ]
    table(("saving", "what", "a day", "of", "basis", "how"), rows)
    for words in answer["words"]:
        note(words)
    return Exit.DONE


def _capacity_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--hours", type=int, default=24, metavar="N", help="so many hours ahead (24)")


def _capacity(options: argparse.Namespace) -> int:
    from subjects.capacity import CAPACITY

    answer = _ask(options, CAPACITY, {"hours": options.hours})
    if options.json:
        emit_json(answer)
        return Exit.DONE
    columns = ("now", "there", "hours_of_history", "error", "naive_error", "coverage", "recommendation")
    rows = [(one["unit"], *(one[name] for name in columns)) for one in answer["kinds"]]
    table(("of", "now", "there", "history h", "error", "naive error", "coverage", "recommendation"), rows)
    return Exit.DONE


COST_VERBS: tuple[Command, ...] = (
    Command(
        "savings", "concrete ways to spend less", "chimera gpu savings --hours 168", _savings_arguments, _savings
    ),
    Command(
        "capacity", "how much will be needed, and how good such forecasts were", "chimera gpu capacity --hours 24",
        _capacity_arguments, _capacity,
    ),
    Command("costs", "what was used, by whom, what it cost", "chimera gpu costs --hours 24", _costs_arguments, _costs),
    Command(
        "budget", "budgets and what is left of them; set one", "chimera gpu budget research --amount 50 --period 1d",
        _budget_arguments, _budget,
    ),
    Command("prices", "the price table; set it", "chimera gpu prices prices.toml", _prices_arguments, _prices),
)  # fmt: skip
