"""What a summary of a data set gives reason to say before anything is trained, in sentences; numbers as text.

The report that is read here is what `report_data` shows.
"""

from typing import Any

import numpy as np

HELD_OUT = ("valid", "test")
ORDERED = ("leave-one-out", "leave-last-basket-out", "time")  # splits by what is latest


def findings(report: dict[str, Any]) -> list[str]:
    """What deserves attention before anything is trained, one sentence or two each."""
    return [*_of_rows(report), *_of_repeats(report), *_of_log(report["cleaned"], report["split"]), *_of_split(report)]


def _of_rows(report: dict[str, Any]) -> list[str]:
    read, values = report["read"], report["cleaned"]["values"]
    found = [
        f"{share(read['missing'][name] / read['rows'])} of the rows ({read['missing'][name]:,}) have no {name}."
        for name in ("user", "item", "value")
        if read["missing"][name]
    ]
    if values["negative"]:
        found.append(
            f"Negative values after cleaning: {values['negative']:,}. If they are returns, --returns=match or drop "
            "takes them out."
        )
    elif read["values"]["negative"]:
        found.append(
            f"Negative values as read: {read['values']['negative']:,}. They were taken for returns, so none is trained "
            "on; if they are ratings, --returns=keep keeps them."
        )
    if values["zero"]:
        found.append(
            f"Values of 0 after cleaning: {values['zero']:,}. If they are quantities, nothing was bought: --min_value "
            "drops them."
        )
    if values["max"] > 20 * values["99%"] > 0:
        found.append(
            f"The largest value, {number(values['max'])}, is {values['max'] / values['99%']:,.0f} times the 99% "
            "quantile: a model of values would follow such outliers."
        )
    return found


def _of_repeats(report: dict[str, Any]) -> list[str]:
    repeated = report["read"]["repeats"]["rows"]
    if repeated <= 0.05:
        return []
    found = f"{share(repeated)} of the rows as read repeat a user and item. "
    if report["repeats"]:
        return [found + "All of them stay, and what a user has is recommended and tested again."]
    return [
        found + "They are made one, and what is held out is new to its user, so buying again is never a hit: "
        "--repeats=keep is for those who recommend that."
    ]


def _of_log(log: dict[str, Any], split: str) -> list[str]:
    found, active, tail, times, drift = [], log["activity"], log["long_tail"], log["times"], log["drift"]
    if log["users"] == 1 or log["items"] == 1:
        found.append(f"Users: {log['users']:,}, items: {log['items']:,}. Nothing can be learnt from one of either.")
    if split == "leave-one-out" and active["fewer_than_3"]:
        found.append(
            f"{share(active['fewer_than_3'])} of the users have fewer than 3 interactions ({share(active['once'])} "
            "have one): leave-one-out tests none of them, they only train."
        )
    elif active["once"] > 0.05:
        found.append(
            f"{share(active['once'])} of the users have one interaction: there is no history to test them with."
        )
    if split in ORDERED and times is None:
        found.append(
            f"The log has no times: --split={split} takes the order of the file for them. Name their column by "
            "--time_column, or choose --split=random if that order means nothing."
        )
    if tail["fewer_than_5"] > 0.5:
        found.append(
            f"{share(tail['fewer_than_5'])} of the items have fewer than 5 interactions: little can be learnt of them "
            "by their ids. --item_core drops them; models of item features may help."
        )
    if tail["top"]["1%"] > 0.3 and log["items"] >= 100:
        found.append(
            f"1% of the items have {share(tail['top']['1%'])} of the interactions: popularity will be a strong "
            "baseline."
        )
    if times and times["first"] == times["last"]:
        found.append("All times are equal, so the order of the file decides what is latest.")
    elif times and times["ties"] > 0.1:
        found.append(
            f"{share(times['ties'])} of the rows have the time of another row of the same user. The order of the file "
            "decides between them, and models of order learn that order."
        )
    if drift:
        found += _of_drift(drift)
    return found


def _of_drift(drift: dict[str, Any]) -> list[str]:
    found, period = [], drift["period"] or "period"
    items, users = (_middle(drift[key][1:]) for key in ("new_items", "new_users"))
    if items > 0.05:
        found.append(
            f"In the median {period}, {share(items)} of the interactions are on items that were not there before, "
            "which models of ids alone cannot recommend."
        )
    if users > 0.2:
        found.append(
            f"In the median {period}, {share(users)} of the interactions are of users who were not there before."
        )
    pairs = zip(drift["distance"], drift["by_chance"], strict=True)
    moved = _middle([None if real is None else real - chance for real, chance in pairs])
    if moved > 0.1:
        found.append(
            f"What is chosen changes from {period} to {period}: in the median, the shift of the items' shares is "
            f"{moved:.2f} above chance. Counts over all of the past are stale."
        )
    return found


def _of_split(report: dict[str, Any]) -> list[str]:
    found, test, split = [], report["parts"]["test"], report["split"]
    for name in HELD_OUT:
        part = report["parts"][name]
        if not part["rows"]:
            use = "train with --novalidation" if name == "valid" else "nothing can be tested"
            found.append(f"The {name} part is empty: {use}.")
        if part["pair_in_train"] and not report["repeats"]:
            found.append(
                f"{part['pair_in_train']:,} rows of {name} have a user and item that are in train too, though rankings "
                "leave out what was trained on."
            )
    if 0 < test["users"] < 200:
        found.append(f"Users tested: {test['users']:,}. Intervals will be wide.")
    if (test["new_users"] or 0) > 0.01:
        found.append(
            f"{share(test['new_users'])} of the test interactions are of users without a training row "
            f"(users: {test['users_without_train']:,})."
        )
    if (test["new_items"] or 0) > 0.01 and split != "cold-items":
        found.append(
            f"{share(test['new_items'])} of the test interactions are on items without a training row "
            f"(items: {test['items_without_train']:,}): models of ids alone rank them by chance."
        )
    if (test.get("before_own") or 0) > 0.001:
        found.append(
            f"{share(test['before_own'])} of the test interactions are earlier than a training interaction of the same "
            f"user: --split={split} lets models learn from the future of those they are tested on. Its figures do not "
            "say how well what comes next is predicted; those of --split=leave-one-out or --split=time do."
        )
    elif (test.get("before_any") or 0) > 0.01:
        found.append(
            f"{share(test['before_any'])} of the test interactions are earlier than some training interaction of "
            f"others ({share(test['train_after'])} of the training rows are later, in the mean): models know what "
            "became popular afterwards. --split=time cuts all users at one moment."
        )
    if (test.get("at_own") or 0) > 0.05:
        found.append(
            f"{share(test['at_own'])} of the test interactions are at the time of the user's last training "
            "interaction: which of them is held out is up to the order of the file."
        )
    return found


def _middle(values: list[float | None]) -> float:
    present = [value for value in values if value is not None]
    return float(np.median(present)) if present else 0.0


def count(value: int) -> str:
    """1234567 as 1,234,567."""
    return f"{value:,}"


def share(value: float | None) -> str:
    """A share as a percentage that is 0% or 100% for nothing or everything alone."""
    if value is None:
        return "-"
    if value in (0, 1):
        return f"{value:.0%}"
    return "<0.1%" if value < 0.0005 else ">99.9%" if value >= 0.9995 else f"{value:.1%}"


def number(value: float | None) -> str:
    """A number that people can read: whole ones in full, others to about three digits."""
    if value is None:
        return "-"
    if abs(value) >= 1e15:
        return f"{value:.3g}"
    return f"{value:,.0f}" if value % 1 == 0 or abs(value) >= 1000 else f"{value:.3g}"
