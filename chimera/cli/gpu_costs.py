"""``chimera gpu costs``, ``prices``, ``budget``, ``savings``, ``capacity``: money, joules, and what will be needed."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from typing import Any

from chimera.errors import BadMessageError

from .command import Command, Exit
from .output import emit_json, note, table
from .settings import load_settings


def _ask(options: argparse.Namespace, operation: Any, body: dict[str, Any]) -> dict[str, Any]:
    from .client import with_client

    settings = load_settings(options).settings
    return with_client(settings, lambda client: client.ask(operation, body, timeout_s=operation.timeout_s))


def _when(at: float | None) -> str | None:
    return None if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")


# -- costs -------------------------------------------------------------------------------------------------------------


def _costs_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--hours", type=float, default=24.0, metavar="N", help="of the last so many hours (24)")
    parser.add_argument("--tenant", default="", metavar="NAME", help="of this tenant only")


def _costs(options: argparse.Namespace) -> int:
    from subjects.cost import COSTS

    answer = _ask(options, COSTS, {"hours": options.hours, "tenant": options.tenant})
    if options.json:
        emit_json(answer)
        return Exit.DONE
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


# -- prices ------------------------------------------------------------------------------------------------------------


def _prices_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
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
    if options.json:
        emit_json(answer)
        return Exit.DONE
    columns = ("model", "per_hour", "gpus", "processors", "memory_mib", "spot")
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


def _savings(options: argparse.Namespace) -> int:
    from subjects.cost import COST_PLAN

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


def _capacity(options: argparse.Namespace) -> int:
    from subjects.capacity import CAPACITY

    answer = _ask(options, CAPACITY, {"hours": options.hours})
    if options.json:
        emit_json(answer)
        return Exit.DONE
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
    return Exit.DONE


COST_VERBS: tuple[Command, ...] = (
    Command(
        "costs", "what was used, by whom, in hours, money and joules", "chimera gpu costs", _costs_arguments, _costs
    ),
    Command(
        "prices", "the price table; set it", "chimera gpu prices A100=24,gpus=8 cpu=0.4", _prices_arguments, _prices
    ),
    Command("budget", "budgets; set one", "chimera gpu budget research --amount 100", _budget_arguments, _budget),
    Command("savings", "concrete ways to spend less", "chimera gpu savings --hours 24", _savings_arguments, _savings),
    Command("capacity", "how much will be needed", "chimera gpu capacity --hours 24", _capacity_arguments, _capacity),
)
