<<<<<<< HEAD
"""``chimera gpu costs``, ``budget``, ``prices``, ``savings``, ``capacity``: money and joules, spent and to come."""
=======
"""``chimera gpu costs``, ``prices``, ``budget``, ``savings``, ``capacity``: money, joules, and what will be needed."""
>>>>>>> gpu

from __future__ import annotations

import argparse
<<<<<<< HEAD
import sys
from datetime import UTC, datetime
from pathlib import Path
=======
from datetime import UTC, datetime
>>>>>>> gpu
from typing import Any

from chimera.errors import BadMessageError

from .command import Command, Exit
from .output import emit_json, note, table
from .settings import load_settings


def _ask(options: argparse.Namespace, operation: Any, body: dict[str, Any]) -> dict[str, Any]:
    from .client import with_client

    settings = load_settings(options).settings
<<<<<<< HEAD
    return with_client(settings, lambda client: client.ask(operation, body, timeout_s=15.0))


def _clock(at: float | None) -> str | None:
=======
    return with_client(settings, lambda client: client.ask(operation, body, timeout_s=operation.timeout_s))


def _when(at: float | None) -> str | None:
>>>>>>> gpu
    return None if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")


# -- costs -------------------------------------------------------------------------------------------------------------


def _costs_arguments(parser: argparse.ArgumentParser) -> None:
<<<<<<< HEAD
    parser.add_argument("--hours", type=float, default=24.0, metavar="N", help="of so many hours (24)")
=======
    parser.add_argument("--hours", type=float, default=24.0, metavar="N", help="of the last so many hours (24)")
>>>>>>> gpu
    parser.add_argument("--tenant", default="", metavar="NAME", help="of this tenant only")


def _costs(options: argparse.Namespace) -> int:
    from subjects.cost import COSTS

    answer = _ask(options, COSTS, {"hours": options.hours, "tenant": options.tenant})
    if options.json:
        emit_json(answer)
        return Exit.DONE
<<<<<<< HEAD
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
=======
    money = answer["currency"]
    table(
        ("layer", "tenant", "agent", "leases", "GPU h", "CPU h", money, "kJ", "energy from"),
        [
            (
                "idle" if line["idle"] else line["layer"], line["tenant"], line["agent"], line["leases"],
                line["gpu_hours"], line["cpu_hours"], line["cost"], _kilo(line["joules"]), line["joules_from"],
            )
            for line in answer["lines"]
        ],
        title=f"{_when(answer['since'])} to {_when(answer['until'])}",
    )  # fmt: skip
    if answer["cost"] is None:
        note("no prices are set: chimera gpu prices")
    return Exit.DONE


def _kilo(joules: float | None) -> float | None:
    return None if joules is None else joules / 1e3
>>>>>>> gpu


# -- prices ------------------------------------------------------------------------------------------------------------


def _prices_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
<<<<<<< HEAD
        "file", metavar="FILE",
        help="TOML or JSON with currency, watts and prices (model, per_hour, gpus); - = standard input, as JSON",
    )  # fmt: skip


def _prices(options: argparse.Namespace) -> int:
    from subjects.cost import SET_PRICES

    answer = _ask(options, SET_PRICES, _read(options.file))
=======
        "price", nargs="*", metavar="MODEL=PRICE[,KEY=NUMBER...]",
        help="an hour of a node with these GPUs: A100=24,gpus=8,processors=64; cpu=0.4,processors=8 for one without",
    )  # fmt: skip
    parser.add_argument("--currency", metavar="WORD", help="in which the prices are (EUR)")
    parser.add_argument("--watts", type=float, metavar="W", help="what an idle node takes where nothing measures it")
    parser.add_argument("--none", action="store_true", help="take all prices away")


def _prices(options: argparse.Namespace) -> int:
    from subjects.cost import PRICES, SET_PRICES

    given = [_price(text) for text in options.price]
    answer = _ask(options, PRICES, {})
    if given or options.none or options.watts is not None or options.currency:
        prices = given if given or options.none else answer["prices"]
        watts = answer["watts"] if options.watts is None else options.watts
        body = {"currency": options.currency or answer["currency"], "prices": prices, "watts": watts}
        answer = _ask(options, SET_PRICES, body)
>>>>>>> gpu
    if options.json:
        emit_json(answer)
        return Exit.DONE
    columns = ("model", "per_hour", "gpus", "processors", "memory_mib", "spot")
<<<<<<< HEAD
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
=======
    table(columns, [[price.get(name) for name in columns] for price in answer["prices"]], title=answer["currency"])
    if answer["watts"] is not None:
        note(f"an idle node is declared to take {answer['watts']:g} W")
    return Exit.DONE


def _price(text: str) -> dict[str, Any]:
    """``MODEL=PRICE,KEY=NUMBER...``; ``cpu`` is a node without GPU.

    Raises:
        BadMessageError: If it is not like that.
    """
    first, *rest = text.split(",")
    model, _, price = first.rpartition("=")
    try:
        pairs = dict(pair.split("=") for pair in rest if pair and pair != "spot")
        fields: dict[str, Any] = {key.strip(): int(value) for key, value in pairs.items()}
        if model == "cpu":
            fields["gpus"] = 0
        name = "" if model == "cpu" else model
        return {"model": name, "per_hour": float(price if model else "none"), "spot": "spot" in rest, **fields}
    except ValueError as error:
        raise BadMessageError(f"{text}: not MODEL=PRICE[,gpus=N][,processors=N][,memory_mib=N][,spot]") from error


# -- budget ------------------------------------------------------------------------------------------------------------


def _budget_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("tenant", nargs="?", default="", metavar="TENANT", help="this tenant's only")
    parser.add_argument("--amount", type=float, metavar="AMOUNT", help="give it so much; 0 takes it away")
    parser.add_argument("--unit", choices=("money", "joules"), default="money", help="of what (money)")
    parser.add_argument("--period", type=float, default=86_400.0, metavar="SECONDS", help="for how long (a day)")


def _budget(options: argparse.Namespace) -> int:
    from subjects.cost import BUDGET, SET_BUDGET

    if options.amount is None:
        answer = _ask(options, BUDGET, {"tenant": options.tenant})
    else:
        given = {"unit": options.unit, "amount": options.amount, "period_s": options.period}
        answer = _ask(options, SET_BUDGET, {"tenant": options.tenant, **given})
    if options.json:
        emit_json(answer)
        return Exit.DONE
    if not answer["budgets"]:
        note("no budget: nothing is refused for what it costs")
    table(
        ("tenant", "unit", "amount", "per s", "used", "committed", "left", "began", "runs out"),
        [
            (
                one["tenant"], one["unit"], one["amount"], one["period_s"], one["used"], one["committed"], one["left"],
                _when(one["begins_at"]), _when(one["runs_out_at"]),
            )
            for one in answer["budgets"]
        ],
    )  # fmt: skip
    return Exit.DONE


# -- savings -----------------------------------------------------------------------------------------------------------


def _savings_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--hours", type=float, default=168.0, metavar="N", help="demand of so many hours (168)")
    parser.add_argument("--slack", type=float, default=50.0, metavar="MS", help="latency that tasks may gain (50)")
>>>>>>> gpu


def _savings(options: argparse.Namespace) -> int:
    from subjects.cost import COST_PLAN

<<<<<<< HEAD
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
=======
    answer = _ask(options, COST_PLAN, {"hours": options.hours, "latency_slack_ms": options.slack})
    if options.json:
        emit_json(answer)
        return Exit.DONE
    for one in answer["savings"]:
        print(f"{one['kind']}: {one['words']}")
        print(f"  saves {one['saves']:.4g} {one['unit']} a day ({one['basis']}): {one['how']}")
    for text in answer["words"]:
        note(text)
    return Exit.DONE


# -- capacity ----------------------------------------------------------------------------------------------------------


def _capacity_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--hours", type=int, default=24, metavar="N", help="so far ahead (24)")
>>>>>>> gpu


def _capacity(options: argparse.Namespace) -> int:
    from subjects.capacity import CAPACITY

    answer = _ask(options, CAPACITY, {"hours": options.hours})
    if options.json:
        emit_json(answer)
        return Exit.DONE
<<<<<<< HEAD
    columns = ("now", "there", "hours_of_history", "error", "naive_error", "coverage", "recommendation")
    rows = [(one["unit"], *(one[name] for name in columns)) for one in answer["kinds"]]
    table(("of", "now", "there", "history h", "error", "naive error", "coverage", "recommendation"), rows)
=======
    for one in answer["kinds"]:
        print(f"{one['kind']}: {one['now']:g} of {one['there']:g} {one['unit']} are lent; {one['recommendation']}")
        if one["points"]:
            rows = [(_when(point["at"]), point["expected"], point["low"], point["high"]) for point in one["points"]]
            table(("hour", "expected", "low", "high"), rows)
            note(
                f"interval for {one['confidence']:.0%} of hours; held out: {one['coverage']:.0%} within it, error "
                f"{one['error']:.3g}, as the hour before {one['naive_error']:.3g}"
            )
    if not answer["kinds"]:
        note("no device is known")
>>>>>>> gpu
    return Exit.DONE


COST_VERBS: tuple[Command, ...] = (
    Command(
<<<<<<< HEAD
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
=======
        "costs", "what was used, by whom, in hours, money and joules", "chimera gpu costs", _costs_arguments, _costs
    ),
    Command(
        "prices", "the price table; set it", "chimera gpu prices A100=24,gpus=8 cpu=0.4", _prices_arguments, _prices
    ),
    Command("budget", "budgets; set one", "chimera gpu budget research --amount 100", _budget_arguments, _budget),
    Command("savings", "concrete ways to spend less", "chimera gpu savings --hours 24", _savings_arguments, _savings),
    Command("capacity", "how much will be needed", "chimera gpu capacity --hours 24", _capacity_arguments, _capacity),
)
>>>>>>> gpu
