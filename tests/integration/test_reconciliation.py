"""Charges that the estimate does not explain are found, and differences by rounding are not reported."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_claude_code.analytics.engines.duckdb import FileSource
from airflow_provider_claude_code.analytics.queries import Settings, models
from airflow_provider_claude_code.tables.pseudonyms import Pseudonyms
from tests.fixtures.analytics_data import MAPPING, assert_same, key, over_memory, record
from tests.fixtures.charges_data import (
    ANN,
    BOB,
    DAY,
    OF_TEAMS,
    Books,
    api_key,
    charge,
    charged_of_all_kinds,
    day_of,
    used,
    user,
)
from tests.fixtures.records import MODEL, model
from tests.truth import analytics as truth

pytestmark = pytest.mark.newest_only

OPUS = "claude-opus-4-5-20251101"
UNFOLDED = Settings(min_group_size=1)
MONDAY = DAY - timedelta(days=6)

Rows = list[dict[str, Any]]


def source_of(books: Books, chosen: Settings, mapping: Rows) -> tuple[FileSource, truth.World]:
    tables = {**books.tables(), "mapping": pa.Table.from_pylist(mapping, MAPPING)}
    rows = {name: table.to_pylist() for name, table in tables.items()}
    period = [chosen.period] if chosen.first_day else None
    world = truth.World(now=datetime.now(UTC), min_group_size=chosen.min_group_size, periods=period, **rows)
    return over_memory(tables, chosen), world


def read(books: Books, name: str = "cost_reconciliation", chosen: Settings = UNFOLDED, mapping: Rows = []) -> Rows:  # noqa: B006
    """Ask for a model's rows, which must be those of a plain computation."""
    source, world = source_of(books, chosen, mapping)
    rows: Rows = source.read(name).to_pylist()
    if chosen.first_day is None:
        assert_same(rows, list(truth.MODELS[name](world)), list(models()[name].columns))
    return rows


def whole_day(books: Books, chosen: Settings = UNFOLDED, **having: Any) -> dict[str, Any]:
    """Ask for the row of all models of the day that is compared."""
    having = {"period_start": MONDAY, "model": None, "organization_id": "acme", **having}
    (row,) = [row for row in read(books, chosen=chosen) if all(row[name] == value for name, value in having.items())]
    return row


def snapshots(books: Books, *days: tuple[int, dict[str, str]]) -> Books:
    for offset, addresses in days:
        books.snapshot(DAY + timedelta(days=offset), addresses)
    return books


def rounded_alike() -> Books:
    """One entry of whole cents in each of two records, and one with decimals."""
    return day_of(
        [used(ANN, 10), used(ANN, 3, terminal_type="tmux"), used(BOB, "2.25")],
        [charge(user(1, ANN), "13.999"), charge(user(2, BOB), "2.2549")],
    )


def discounted(amount: str) -> Books:
    return day_of([used(ANN, 100)], [charge(user(1, ANN), "100.2", amount)])


def estimate_after_discount() -> Books:
    return day_of([used(ANN, 88)], [charge(user(1, ANN), 100, 88)])


def truncated() -> Books:
    """Forty records of 1.9 cents whose fractions were cut off."""
    records = [used(ANN, 1, terminal_type=str(number)) for number in range(40)]
    return day_of(records, [charge(user(1, ANN), 76)])


def of_one_side() -> Books:
    return day_of(
        [used(ANN, 10), used(BOB, 30)],
        [charge(user(1, ANN), 10), charge(user(3, "eve@example.com"), "5.5"), charge(None, "0.25", model=None)],
    )


def one_model_of_one_side() -> Books:
    return day_of([used(ANN, 10), used(ANN, 7, name=OPUS)], [charge(user(1, ANN), 10)])


def deleted(*days: tuple[int, dict[str, str]]) -> Books:
    return snapshots(day_of([used(ANN, 10)], [charge(user(1, None), 10)]), *days)


def renamed(*days: tuple[int, dict[str, str]]) -> Books:
    """Somebody whose charges bear the address of today, and whose usage bears that of the day."""
    return snapshots(day_of([used(ANN, 10)], [charge(user(1, "Ann.New@example.com"), 10)]), *days)


def left_and_came_back() -> Books:
    books = snapshots(
        Books(),
        (-20, {"user_1": ANN, "user_2": BOB}),
        (-1, {"user_2": BOB}),
        (0, {"user_2": BOB}),
        (9, {"user_1": ANN, "user_2": BOB}),
    )
    return day_of([used(ANN, 10)], [charge(user(1, None), 10)], books=books)


def passed_on() -> Books:
    """An address that belonged to Ann, and belongs to Bob from the next day on."""
    books = day_of([used(ANN, 10)], [charge(user(1, None), 10), charge(user(2, ANN), 4)])
    return snapshots(books, (-3, {"user_1": ANN}), (1, {"user_2": ANN}))


def keys(names: list[str], charges: dict[str, int], *days: tuple[int, dict[str, str]]) -> Books:
    """API keys that are used under names and charged by id."""
    books = day_of(
        [used(None, 10, actor=key(name)) for name in names],
        [charge(api_key(id_), amount) for id_, amount in charges.items()],
    )
    for offset, known in days:
        books.snapshot(DAY + timedelta(days=offset), {}, known)
    return books


def spelled_differently() -> Books:
    return day_of(
        [used(ANN, 10), used(ANN, 5, name="claude-opus-4-5", terminal_type="tmux"), used(ANN, 7, name=OPUS)],
        [charge(user(1, ANN), 10, model="claude-sonnet-4-5"), charge(user(1, ANN), 12, model=OPUS)],
    )


def without_details() -> Books:
    return day_of([used(ANN, 10), record(BOB, sessions=3)], [charge(user(1, ANN), 10), charge(user(2, BOB), 4)])


def other_charges() -> Books:
    """Charges outside the comparison: other products, cost types and customer types."""
    return day_of(
        [used(ANN, 10), used(BOB, 99, customer_type="subscription")],
        [
            charge(user(1, ANN), 10),
            charge(user(1, ANN), 3, cost_type="web_search"),
        ],
    )


def with_chats() -> Books:
    books = Books()
    books.load("acme", DAY, [used(ANN, 10)])
    entries = [charge(user(1, ANN), 10, product="claude-code"), charge(user(1, ANN), 77, product="chat")]
    books.charge("acme", DAY, [*entries, charge(user(1, ANN), 5, product=None)], products=())
    return books


def free() -> Books:
    return day_of([used(ANN, 0)], [charge(user(1, ANN), 0)])


def nothing() -> Books:
    return day_of([], [])


def amounts(books: Books) -> tuple[Any, ...]:
    row = whole_day(books)
    names = ("verdict", "unexplained_cents", "unmatched_estimate_cents", "unmatched_list_cents")
    return tuple(row[name] for name in names)


BEFORE: tuple[int, dict[str, str]] = (-5, {"user_1": ANN})
COMPARED: dict[str, tuple[Callable[[], Books], tuple[Any, ...]]] = {
    "rounded": (rounded_alike, ("equal to list", 0, 0, 0)),
    "no discount": (lambda: discounted("100.2"), ("equal to list", 0, 0, 0)),
    "discount": (lambda: discounted("88.176"), ("equal to list", 0, 0, 0)),
    "discount of everything": (lambda: discounted("0"), ("equal to list", 0, 0, 0)),
    "estimate after discount": (estimate_after_discount, ("equal to charged", Decimal("11.5"), 0, 0)),
    "truncated": (truncated, ("unexplained", 16, 0, 0)),
    "of one side": (of_one_side, ("unexplained", 0, 30, Decimal("5.75"))),
    "one model of one side": (one_model_of_one_side, ("unexplained", 0, 7, 0)),
    "deleted": (lambda: deleted(BEFORE), ("equal to list", 0, 0, 0)),
    "deleted, seen only later": (lambda: deleted((3, {"user_1": ANN})), ("equal to list", 0, 0, 0)),
    "deleted, never seen": (deleted, ("unexplained", 0, 10, 10)),
    "renamed": (
        lambda: renamed(BEFORE, (0, {"user_1": f" {ANN.upper()}"}), (4, {"user_1": "ann.new@example.com"})),
        ("equal to list", 0, 0, 0),
    ),
    "renamed, never seen before": (lambda: renamed((4, {"user_1": "ann.new@example.com"})), ("unexplained", 0, 10, 10)),
    "left and came back": (left_and_came_back, ("equal to list", 0, 0, 0)),
    "address passed on": (passed_on, ("unexplained", 0, 0, 4)),
    "key": (lambda: keys(["ci"], {"k1": 10}, (0, {"k1": "ci"})), ("equal to list", 0, 0, 0)),
    "key renamed": (
        lambda: keys(["ci"], {"k1": 10}, (-2, {"k1": "ci"}), (1, {"k1": "ci-old"})),
        ("equal to list", 0, 0, 0),
    ),
    "key renamed before": (lambda: keys(["new"], {"k1": 10}, (-9, {"k1": "ci"}), BEFORE, (-1, {"k1": "new"})),
                           ("equal to list", 0, 0, 0)),
    "name of two keys": (lambda: keys(["ci"], {"k1": 4, "k2": 6}, (0, {"k1": "ci", "k2": "ci"})),
                         ("equal to list", 0, 0, 0)),
    "key that is not known": (lambda: keys(["ci"], {"k1": 10}), ("unexplained", 0, 10, 10)),
    "spelled differently": (spelled_differently, ("equal to list", 0, 0, 0)),
    "without details": (without_details, ("estimate incomplete", 0, 0, 4)),
    "other charges": (other_charges, ("equal to list", 0, 0, 0)),
    "other products": (with_chats, ("equal to list", 0, 0, 0)),
    "free": (free, ("equal to list", 0, 0, 0)),
    "nothing": (nothing, ("equal to list", 0, 0, 0)),
}  # fmt: skip


@pytest.mark.parametrize("case", COMPARED)
def test_estimate_and_charges_are_compared_by_person_key_and_model(case: str) -> None:
    make, expected = COMPARED[case]
    assert amounts(make()) == expected


@pytest.mark.parametrize(("amount", "discount"), [("100.2", 0), ("88.176", 0.12), ("0", 1)])
def test_a_discount_is_what_is_taken_off_the_list_price(amount: str, discount: float) -> None:
    row = whole_day(discounted(amount))
    assert row["discount"] == pytest.approx(discount, abs=1e-12)
    assert (row["estimated_cents"], row["list_cents"], row["charged_cents"]) == (100, Decimal("100.2"), Decimal(amount))
    assert row["estimate_minus_list_cents"] == Decimal("-0.2")
    assert row["estimate_minus_charged_cents"] == 100 - Decimal(amount)
    assert whole_day(free())["discount"] is None


def test_keys_that_share_a_name_are_added_up_and_counted() -> None:
    row = whole_day(COMPARED["name of two keys"][0]())
    assert (row["list_cents"], row["shared_key_names"]) == (10, 1)
    assert whole_day(COMPARED["key"][0]())["shared_key_names"] == 0


def test_one_unmatched_person_among_5000_is_found() -> None:
    people = [f"p{number}@example.com" for number in range(5000)]
    usage = [used(name, number % 7) for number, name in enumerate(people)]
    charges = [charge(user(number, name), Decimal(number % 7) + Decimal("0.4")) for number, name in enumerate(people)]
    books = day_of([*usage, used("stranger", 3)], charges)
    source, _ = source_of(books, UNFOLDED, [])

    (row,) = [row for row in source.read("cost_reconciliation").to_pylist() if row["model"] is None]

    # The sums differ by 2,000 cents, which rounding explains.
    assert row["estimate_minus_list_cents"] == 3 - 2000
    assert (row["unexplained_cents"], row["unmatched_estimate_cents"], row["verdict"]) == (0, 3, "unexplained")


def not_loaded() -> Books:
    books = day_of([used()], [], DAY - timedelta(days=1))
    books.load("acme", DAY, [used()])
    return books


def charged_before_it_was_complete() -> Books:
    books = day_of([used(ANN, 10)], [charge(user(1, ANN), 10)])
    # The newest load counts.
    books.charge("acme", DAY, [charge(user(1, ANN), 4)], hours=50, complete=False)
    return books


def of_another_product() -> Books:
    books = Books()
    books.load("acme", DAY, [used(ANN, 10)])
    books.charge("acme", DAY, [charge(user(1, ANN), 10, product="chat")], products=("chat",))
    return books


def with_other_identities(usage_key: str | None, cost_key: str | None) -> Books:
    books = Books()
    books.load("acme", DAY, [used("a1", 10)], pseudonym_key_id=usage_key)
    books.charge("acme", DAY, [charge(user("b2", "a1"), 10)], pseudonym_key_id=cost_key)
    return books


def usage_incomplete() -> Books:
    books = Books()
    books.load("acme", DAY, [used(ANN, 10)], hours=0.5, complete=False)
    books.charge("acme", DAY, [charge(user(1, ANN), 10)])
    return books


def in_another_currency() -> Books:
    return day_of([used(ANN, 10)], [charge(user(1, ANN), 9, currency="EUR")])


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (not_loaded, "charges not loaded"),
        (charged_before_it_was_complete, "charges incomplete"),
        (of_another_product, "Claude Code not asked for"),
        (lambda: with_other_identities(None, "k1"), "identities differ"),
        (lambda: with_other_identities("k1", "k2"), "identities differ"),
        (usage_incomplete, "usage incomplete"),
    ],
)
def test_days_that_cannot_be_compared_say_why(make: Callable[[], Books], reason: str) -> None:
    row = whole_day(make())
    assert (row["verdict"], row["reason"]) == ("not comparable", reason)


def test_currencies_are_compared_each_for_itself() -> None:
    for currency in ("USD", "EUR"):
        row = whole_day(in_another_currency(), currency=currency)
        assert (row["verdict"], row["reason"]) == ("not comparable", "currencies differ")
    euros = [record(BOB, models=[model(5, currency="EUR")])]
    both = day_of([used(ANN, 10), *euros], [charge(user(1, ANN), 10), charge(user(2, BOB), 5, currency="EUR")])
    assert {row["verdict"] for row in read(both)} == {"equal to list"}


def test_a_week_is_as_comparable_as_its_days_and_adds_them_up() -> None:
    books = day_of([used(ANN, 10)], [charge(user(1, ANN), "10.5")])
    day_of([used(ANN, 10)], [charge(user(1, ANN), "10.25")], DAY - timedelta(days=1), books)
    row = whole_day(books)
    assert (row["days"], row["days_compared"], row["verdict"]) == (2, 2, "equal to list")
    assert row["list_cents"] == Decimal("20.75")
    # An allowance of one day is not left for another.
    books.charge("acme", DAY, [charge(user(1, ANN), "10.75")])
    books.charge("acme", DAY - timedelta(days=1), [charge(user(1, ANN), 10)])
    row = whole_day(books)
    assert (row["unexplained_cents"], row["verdict"]) == (Decimal("0.25"), "unexplained")
    books.charge("acme", DAY, [], hours=60, complete=False)
    row = whole_day(books)
    assert (row["verdict"], row["reason"]) == ("not comparable", "charges incomplete")


def test_a_week_is_open_for_30_days() -> None:
    today = datetime.now(UTC).date()
    newest_final = today - timedelta(days=31 + (today - timedelta(days=31)).isoweekday() % 7)
    for sunday, verdict in ((newest_final, "equal to list"), (newest_final + timedelta(days=7), "open")):
        books = day_of([used(ANN, 10)], [charge(user(1, ANN), 10)], sunday)
        assert whole_day(books, period_start=sunday - timedelta(days=6))["verdict"] == verdict


def test_a_parents_key_tells_the_charges_of_its_children_apart() -> None:
    books = Books()
    books.load("acme", DAY, [used(ANN, 10), used(BOB, 20, organization_id="child")])
    childs = charge(user(2, BOB), 20, organization_id="child")
    unused = charge(user(3, "eve"), 40, organization_id="unused")
    books.charge("acme", DAY, [charge(user(1, ANN), 10), childs, unused])

    for name, amount in (("acme", 10), ("child", 20)):
        row = whole_day(books, organization_id=name)
        assert (row["estimated_cents"], row["list_cents"], row["verdict"]) == (amount, amount, "equal to list")
    # Without usage there is nothing to compare, but what is charged is a cost.
    rows = read(books, "cost_allocation")
    charged = {row["organization_id"]: row["amount_usd"] for row in rows if row["amount"] == "charged"}
    assert charged == {"acme": Decimal("0.1"), "child": Decimal("0.2"), "unused": Decimal("0.4")}
    # The parent's load says that the child is charged nothing.
    books.charge("acme", DAY, [charge(user(1, ANN), 10)])
    row = whole_day(books, organization_id="child")
    assert (row["verdict"], row["unmatched_estimate_cents"]) == ("unexplained", 20)


def test_charges_of_a_key_that_may_not_see_organisations_are_those_of_its_own() -> None:
    books = day_of([used(ANN, 10)], [charge(user(1, ANN), 10, organization_id=None)])
    assert whole_day(books)["verdict"] == "equal to list"


def test_models_of_few_people_are_folded() -> None:
    people = [f"p{number}" for number in range(6)]
    usage = [used(name, 10) for name in people]
    charges = [charge(user(name, name), 10) for name in people]
    # Who has nothing but zeros does not count.
    few = [used("p0", 4, name=OPUS), used("p1", 4, name=OPUS), used("p2", 0, name=OPUS)]
    charges += [charge(user("p0", "p0"), 3, model=OPUS), charge(user("p1", "p1"), 1, model=OPUS)]
    books = day_of([*usage, *few], charges)

    def shown(chosen: Settings) -> dict[str | None, tuple[Decimal, Decimal]]:
        return {row["model"]: (row["estimated_cents"], row["list_cents"]) for row in read(books, chosen=chosen)}

    each = {None: (68, 64), "claude-sonnet-4-5": (60, 60), "claude-opus-4-5": (8, 4)}
    assert shown(Settings(min_group_size=2)) == each
    assert shown(Settings(min_group_size=3)) == {None: (68, 64), "(small groups)": (68, 64)}


def test_pseudonyms_match_as_what_they_stand_for() -> None:
    pseudonym = Pseudonyms("correct horse battery staple")
    books = Books()
    books.load(
        "acme",
        DAY,
        [used(pseudonym("user_actor", ANN), 10), used(None, 20, actor=key(pseudonym("api_actor", "ci") or ""))],
        pseudonym_key_id="k1",
    )
    person = {"type": "user_actor", "user_id": pseudonym("user_id", "user_1"), "email_address": None}
    entries = [charge(person, 10), charge(api_key(pseudonym("api_actor", "k1") or ""), 20)]
    books.charge("acme", DAY, entries, pseudonym_key_id="k1")
    books.snapshot(
        DAY,
        {pseudonym("user_id", "user_1") or "": pseudonym("user_actor", ANN.upper()) or ""},
        {pseudonym("api_actor", "k1") or "": pseudonym("api_actor", "ci") or ""},
    )

    assert amounts(books) == ("equal to list", 0, 0, 0)


def test_without_charges_nothing_is_said_of_them() -> None:
    books = Books()
    books.load("acme", DAY, [used(ANN, 10)])

    assert read(books) == []
    assert {row["amount"] for row in read(books, "cost_allocation")} == {"api_cost"}
    ratios = read(books, "productivity_ratios")
    assert {value for row in ratios for name, value in row.items() if name.startswith("charged_usd")} == {None}


def test_groups_show_what_is_charged_and_nothing_is_lost() -> None:
    rows = read(charged_of_all_kinds(), "cost_allocation", mapping=OF_TEAMS)

    shown: dict[str, dict[str, Any]] = {}
    for row in rows:
        shown.setdefault(row["amount"], {})[row["team"]] = row["amount_usd"]
    assert shown == {
        "api_cost": {"a": Decimal("0.1"), "b": Decimal("0.2"), "robots": Decimal("0.3")},
        "charged": {
            "a": Decimal("0.9"),
            "robots": Decimal("0.535"),
            "(unmapped)": Decimal("0.07"),
            "(unattributed)": Decimal("0.1"),
        },
    }
    assert {row["charged_days"] for row in rows if row["amount"] == "charged"} == {1}
    read(charged_of_all_kinds(), "cost_allocation", Settings(), OF_TEAMS)


def test_results_are_divided_by_what_is_charged_for_people() -> None:
    books = charged_of_all_kinds()
    books.load("acme", DAY - timedelta(days=1), [record(ANN, sessions=1, commits=2, customer_type="subscription")])
    rows = {row["customer_type"]: row for row in read(books, "productivity_ratios")}

    # Keys count as people unless they are marked as machines.
    assert rows["api"]["charged_usd"] == Decimal("1.505")
    assert rows["api"]["charged_usd_per_session"] == pytest.approx(1.505 / 3)
    assert rows["api"]["charged_usd_per_commit"] is None
    assert rows["subscription"]["charged_usd"] is None
    assert {row["charged_days"] for row in rows.values()} == {1}


PRICES = st.lists(
    st.tuples(st.decimals("0", "300", places=7), st.sampled_from([0, 0, 0, 1, 2, 4])), min_size=1, max_size=4
)
ACTOR = st.tuples(st.sampled_from([ANN, BOB, "cat@example.com", "CI", "cron"]), st.sampled_from([MODEL, OPUS]))
USES = st.dictionaries(ACTOR, PRICES, max_size=6)
"""By person or key and model: the list prices of entries, and to how many places each is rounded."""
IDS = {ANN: "user_1", BOB: "user_2", "cat@example.com": "user_3", "CI": "k1", "cron": "k3"}


def booked(uses: dict[tuple[str, str], Any], rounding: str, discount: Decimal, is_renamed: bool) -> Books:
    """Load a day whose estimates are rounded list prices."""
    usage, charges = [], []
    for (name, model_name), entries in uses.items():
        is_person = "@" in name
        for number, (price, places) in enumerate(entries):
            amount = price.quantize(Decimal(1).scaleb(-places), rounding)
            actor = {"type": "user_actor", "email_address": name} if is_person else key(name)
            usage.append(used(None, f"{amount:f}", name=model_name, actor=actor, terminal_type=str(number)))
        whole = sum((price for price, _ in entries), Decimal(0))
        current = None if is_renamed else name
        who = user(IDS[name].removeprefix("user_"), current) if is_person else api_key(IDS[name])
        undated = model_name if is_renamed else model_name[:-9]
        charges.append(charge(who, whole, whole * (1 - discount), model=undated))
    books = day_of(usage, charges)
    people = {id_: name for name, id_ in IDS.items() if "@" in name}
    books.snapshot(DAY, people, {id_: name for name, id_ in IDS.items() if "@" not in name})
    return books


@settings(max_examples=30)
@given(uses=USES, discount=st.sampled_from([Decimal(0), Decimal("0.12"), Decimal(1)]), is_renamed=st.booleans())
def test_nothing_is_found_where_only_rounding_is_at_work(uses: Any, discount: Decimal, is_renamed: bool) -> None:
    assert amounts(booked(uses, ROUND_HALF_EVEN, discount, is_renamed)) == ("equal to list", 0, 0, 0)


@settings(max_examples=20)
@given(uses=USES.filter(bool), data=st.data())
def test_what_one_actor_is_charged_too_much_is_found(uses: Any, data: st.DataObject) -> None:
    books = booked(uses, ROUND_HALF_EVEN, Decimal(0), False)
    rows = books.others["acme", DAY, "cost"].to_pylist()
    wrong = data.draw(st.integers(0, len(rows) - 1))
    # Both the allowance and what rounding took are at most half a cent per entry.
    for name in ("amount_cents", "list_amount_cents"):
        rows[wrong][name] += 5
    books.others["acme", DAY, "cost"] = pa.Table.from_pylist(rows, books.others["acme", DAY, "cost"].schema)

    verdict, unexplained, *unmatched = amounts(books)

    assert 5 - max(map(len, uses.values())) <= unexplained <= 5
    assert (verdict, unmatched) == ("unexplained", [0, 0])


def test_truncated_decimals_are_found() -> None:
    uses = {(ANN, MODEL): [(Decimal("1.00019"), 4), (Decimal("2.00038"), 4)]}
    assert amounts(booked(uses, ROUND_DOWN, Decimal(0), False))[0] == "unexplained"
    assert amounts(booked(uses, ROUND_HALF_EVEN, Decimal(0), False))[0] == "equal to list"
