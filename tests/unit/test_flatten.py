"""Records become rows of three tables: every value in its column, nothing lost, merged or rounded twice."""

import copy
import hashlib
import json
import struct
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_claude_code.exceptions import ClaudeCodeResponseError
from airflow_provider_claude_code.streams.usage.flatten import SeenKeys, UsageFlattener
from airflow_provider_claude_code.streams.usage.pages import decode_report
from airflow_provider_claude_code.streams.usage.tables import TABLES
from airflow_provider_claude_code.tables.pseudonyms import Pseudonyms
from airflow_provider_claude_code.tables.spool import arrow_tables
from tests.fixtures.records import (
    DAY,
    DAYS,
    LOADED_AT,
    MODEL,
    ORGANIZATION_ID,
    Json,
    body,
    leaves,
    model,
    official_example,
)
from tests.truth.records import MODEL_SUMS, SUMS, cents, exact_sum, naive_totals

Rows = list[dict[str, Any]]


def flatten(*pages: Sequence[Json], pseudonym: Pseudonyms | None = None) -> tuple[dict[str, Rows], UsageFlattener]:
    flattener = UsageFlattener(DAY, pseudonym)
    tables: dict[str, Rows] = {"usage": [], "model_usage": [], "tool_usage": []}
    for page in pages:
        flat = flattener.flatten(decode_report(body(page))[0].data)
        for name, table in arrow_tables(flat, TABLES, LOADED_AT).items():
            tables[name] += table.to_pylist()
    return tables, flattener


def digests(*pages: Sequence[Json]) -> list[str]:
    totals = flatten(*pages)[1].totals
    return [totals.content_digest(table) for table in ("usage", "model_usage", "tool_usage")]


def record_id(*key: Any) -> str:
    text = json.dumps(key, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


EXAMPLE_RECORD_ID = "fbc4bb1ba1775e490b2f5e5a8a88dc41"
EXAMPLE_KEY = {
    "record_id": EXAMPLE_RECORD_ID,
    "key_ordinal": 0,
    "date": DAY,
    "organization_id": "dc9f6c26-b22c-4831-8d01-0446bada88f1",
    "actor_type": "user_actor",
    "actor_id": "developer@company.com",
    "customer_type": "api",
    "subscription_type": None,
    "terminal_type": "vscode",
    "is_remote": None,
}
EXAMPLE_USAGE = {
    **EXAMPLE_KEY,
    "num_sessions": 5,
    "lines_of_code_added": 1543,
    "lines_of_code_removed": 892,
    "commits_by_claude_code": 12,
    "pull_requests_by_claude_code": 2,
    "edit_tool_accepted": 45,
    "edit_tool_rejected": 5,
    "multi_edit_tool_accepted": 12,
    "multi_edit_tool_rejected": 2,
    "write_tool_accepted": 8,
    "write_tool_rejected": 1,
    "notebook_edit_tool_accepted": 3,
    "notebook_edit_tool_rejected": 0,
    "tool_actions_accepted": 68,
    "tool_actions_rejected": 8,
    "model_count": 1,
    "input_tokens": 100000,
    "output_tokens": 35000,
    "cache_read_tokens": 10000,
    "cache_creation_tokens": 5000,
    "estimated_cost_cents": Decimal("1025"),
    "currency": "USD",
    "unknown_fields": None,
    "loaded_at": LOADED_AT,
}


def usage_of(**changes: Any) -> dict[str, Any]:
    """The one usage row of the official example with some fields changed, without its record_id."""
    [row] = flatten([official_example(**changes)])[0]["usage"]
    return {name: value for name, value in row.items() if name != "record_id"}


def expected(**changes: Any) -> dict[str, Any]:
    """The official example's usage row with some columns changed, without its record_id."""
    return {name: value for name, value in (EXAMPLE_USAGE | changes).items() if name != "record_id"}


class TestColumns:
    def test_the_official_example_gives_the_numbers_of_the_guide(self) -> None:
        tables, flattener = flatten([official_example()])
        assert tables == {
            "usage": [EXAMPLE_USAGE],
            "model_usage": [
                {
                    **EXAMPLE_KEY,
                    "model": "claude-sonnet-4-5-20250929",
                    "input_tokens": 100000,
                    "output_tokens": 35000,
                    "cache_read_tokens": 10000,
                    "cache_creation_tokens": 5000,
                    "estimated_cost_cents": Decimal("1025"),
                    "currency": "USD",
                    "unknown_fields": None,
                    "loaded_at": LOADED_AT,
                }
            ],
            "tool_usage": [
                {
                    **EXAMPLE_KEY,
                    "tool_name": name,
                    "accepted": yes,
                    "rejected": no,
                    "unknown_fields": None,
                    "loaded_at": LOADED_AT,
                }
                for name, yes, no in (
                    ("edit_tool", 45, 5),
                    ("multi_edit_tool", 12, 2),
                    ("write_tool", 8, 1),
                    ("notebook_edit_tool", 3, 0),
                )
            ],
        }
        totals = flattener.totals
        assert totals.row_counts == {"usage": 1, "model_usage": 1, "tool_usage": 4}
        assert (totals.num_sessions, totals.estimated_cost_cents, totals.repeated_keys, totals.unknown_names) == (
            5,
            1025,
            0,
            set(),
        )

    def test_without_models_tokens_and_cost_are_unknown_and_not_zero(self) -> None:
        tables, flattener = flatten([official_example(model_breakdown=[])])
        assert tables["model_usage"] == []
        assert usage_of(model_breakdown=[]) == expected(
            model_count=0,
            input_tokens=None,
            output_tokens=None,
            cache_read_tokens=None,
            cache_creation_tokens=None,
            estimated_cost_cents=None,
            currency=None,
        )
        assert flattener.totals.estimated_cost_cents == 0

    def test_two_models_are_two_rows_and_one_sum(self) -> None:
        entries = [
            model(1025, tokens=(100000, 35000, 10000, 5000)),
            model(0.5, name="claude-haiku-4-5", tokens=(1, 20, 300, 4000)),
        ]
        tables, _ = flatten([official_example(model_breakdown=entries)])
        assert [
            (row["model"], row["cache_read_tokens"], row["estimated_cost_cents"]) for row in tables["model_usage"]
        ] == [
            (MODEL, 10000, Decimal("1025")),
            ("claude-haiku-4-5", 300, Decimal("0.5")),
        ]
        assert {row["record_id"] for row in tables["model_usage"]} == {EXAMPLE_RECORD_ID}
        assert usage_of(model_breakdown=entries) == expected(
            model_count=2,
            input_tokens=100001,
            output_tokens=35020,
            cache_read_tokens=10300,
            cache_creation_tokens=9000,
            estimated_cost_cents=Decimal("1025.5"),
        )

    def test_the_same_model_twice_stays_two_rows(self) -> None:
        tables, _ = flatten([official_example(model_breakdown=[model(7), model(7)])])
        assert len(tables["model_usage"]) == 2
        assert tables["usage"][0]["estimated_cost_cents"] == 14

    def test_costs_in_two_currencies_have_no_sum_but_tokens_have(self) -> None:
        entries = [model(3), model(4, currency="EUR")]
        tables, flattener = flatten([official_example(model_breakdown=entries)])
        assert [(row["estimated_cost_cents"], row["currency"]) for row in tables["model_usage"]] == [
            (3, "USD"),
            (4, "EUR"),
        ]
        assert usage_of(model_breakdown=entries) == expected(
            model_count=2,
            input_tokens=2,
            output_tokens=4,
            cache_read_tokens=6,
            cache_creation_tokens=8,
            estimated_cost_cents=None,
            currency=None,
        )
        assert flattener.totals.estimated_cost_cents is None

    def test_a_currency_without_a_name_has_its_sum(self) -> None:
        row = usage_of(model_breakdown=[model(3, currency=""), model(4, currency="")])
        assert (row["estimated_cost_cents"], row["currency"]) == (7, "")

    def test_two_records_in_different_currencies_keep_theirs_and_the_day_has_no_sum(self) -> None:
        tables, flattener = flatten(
            [
                official_example(model_breakdown=[model(3)]),
                official_example(terminal_type="tmux", model_breakdown=[model(4, currency="EUR")]),
            ]
        )
        assert [(row["estimated_cost_cents"], row["currency"]) for row in tables["usage"]] == [(3, "USD"), (4, "EUR")]
        assert flattener.totals.estimated_cost_cents is None

    def test_an_unknown_tool_has_its_row_and_counts_among_all_tools(self) -> None:
        actions = {"edit_tool": {"accepted": 1, "rejected": 2}, "bash_tool": {"accepted": 30, "rejected": 40}}
        tables, flattener = flatten([official_example(tool_actions=actions)])
        assert [(row["tool_name"], row["accepted"], row["rejected"]) for row in tables["tool_usage"]] == [
            ("edit_tool", 1, 2),
            ("bash_tool", 30, 40),
        ]
        assert usage_of(tool_actions=actions) == expected(
            edit_tool_accepted=1,
            edit_tool_rejected=2,
            multi_edit_tool_accepted=0,
            multi_edit_tool_rejected=0,
            write_tool_accepted=0,
            write_tool_rejected=0,
            notebook_edit_tool_accepted=0,
            tool_actions_accepted=31,
            tool_actions_rejected=42,
        )
        assert flattener.totals.unknown_names == {"bash_tool"}

    def test_no_tools_at_all_is_zero(self) -> None:
        row = usage_of(tool_actions={})
        assert {row[name] for name in row if name.endswith(("_accepted", "_rejected"))} == {0}
        assert flatten([official_example(tool_actions={})])[0]["tool_usage"] == []

    def test_an_api_key_is_named_by_its_key(self) -> None:
        actor = {"type": "api_actor", "api_key_name": "ci pipeline"}
        assert usage_of(actor=actor) == expected(actor_type="api_actor", actor_id="ci pipeline")

    def test_an_actor_without_a_name_is_null(self) -> None:
        assert usage_of(actor={"type": "user_actor", "email_address": None}) == expected(actor_id=None)

    def test_an_actor_with_an_empty_name_is_not_null(self) -> None:
        assert usage_of(actor={"type": "user_actor", "email_address": ""}) == expected(actor_id="")

    def test_an_unknown_kind_of_actor_is_its_canonical_json(self) -> None:
        actor = {"type": "service_actor", "name": "Zoë", "id": "svc_1", "scope": {"b": 1, "a": None}}
        assert usage_of(actor=actor) == expected(
            actor_type="service_actor", actor_id='{"id":"svc_1","name":"Zoë","scope":{"a":null,"b":1}}'
        )
        assert flatten([official_example(actor=actor)])[1].totals.unknown_names == {"service_actor"}

    def test_what_a_known_kind_of_actor_says_besides_is_kept_beside_it(self) -> None:
        actor = {"type": "user_actor", "email_address": "developer@company.com", "nickname": "Dev"}
        assert usage_of(actor=actor) == expected(unknown_fields='{"actor":{"nickname":"Dev"}}')

    @pytest.mark.parametrize(("given_", "stored"), [(..., None), (None, None), ("team", "team"), ("new", "new")])
    def test_subscription_type_may_be_absent_null_or_new(self, given_: Any, stored: str | None) -> None:
        assert usage_of(subscription_type=given_) == expected(subscription_type=stored)

    @pytest.mark.parametrize(("given_", "stored"), [(..., None), (None, None), (True, True), (False, False)])
    def test_is_remote_is_unknown_when_absent_and_not_false(self, given_: Any, stored: bool | None) -> None:
        assert usage_of(is_remote=given_) == expected(is_remote=stored)

    @pytest.mark.parametrize("date", ["2025-09-01", "2025-09-01T00:00:00Z", "2025-09-01T00:00:00.000+00:00"])
    def test_the_day_is_the_same_however_the_api_writes_it(self, date: str) -> None:
        assert usage_of(date=date) == expected()

    def test_the_organisation_is_the_records_own(self) -> None:
        assert usage_of(organization_id="a child") == expected(organization_id="a child")

    @pytest.mark.parametrize("count", [5, Decimal("5.0"), Decimal("5.00")])
    def test_five_and_five_point_nought_are_one_count(self, count: Any) -> None:
        metrics = official_example()["core_metrics"] | {"num_sessions": count}
        assert usage_of(core_metrics=metrics) == expected()


class TestUnknownFields:
    """What the API sends beyond its reference is kept with the row it belongs to."""

    RECORD = official_example(
        region="eu",
        actor={"type": "user_actor", "email_address": "a@example.com", "user_id": "u_1", "name": "A", "deleted": False},
        core_metrics=official_example()["core_metrics"]
        | {"lines_of_code": {"added": 1, "removed": 2, "moved": Decimal("0.10")}},
        tool_actions={"edit_tool": {"accepted": 1, "rejected": 2, "undone": [3, None]}},
        model_breakdown=[model() | {"speed": "fast", "tokens": model()["tokens"] | {"thinking": 2**63}}],
    )

    def test_each_row_keeps_its_own_in_the_shape_of_its_json(self) -> None:
        tables, flattener = flatten([self.RECORD, official_example(terminal_type="tmux")])
        assert [row["unknown_fields"] for row in tables["usage"]] == [
            '{"actor":{"deleted":false,"name":"A","user_id":"u_1"},"core_metrics":{"lines_of_code":{"moved":0.10}},'
            '"region":"eu"}',
            None,
        ]
        assert [row["unknown_fields"] for row in tables["model_usage"]] == [
            '{"speed":"fast","tokens":{"thinking":9223372036854775808}}',
            None,
        ]
        assert [row["unknown_fields"] for row in tables["tool_usage"]] == ['{"undone":[3,null]}', *[None] * 4]
        assert "data[].actor.user_id" in flattener.totals.unknown_names

    def test_they_are_not_content(self) -> None:
        assert digests([official_example(region="eu")]) == digests([official_example()])

    def test_with_pseudonyms_nothing_of_them_is_stored(self) -> None:
        tables, _ = flatten([self.RECORD], pseudonym=Pseudonyms("a secret of 16 and more"))
        rows = [row for table in tables.values() for row in table]
        assert {row["unknown_fields"] for row in rows} == {None}
        assert not [row for row in rows if "u_1" in str(row) or "example.com" in str(row)]

    def test_a_row_keeps_at_most_8_kib_and_drops_whole_members(self) -> None:
        row = usage_of(a="x" * 4000, b="y" * 4200, c="z" * 4000)
        assert json.loads(row["unknown_fields"]) == {"a": "x" * 4000, "c": "z" * 4000}
        assert usage_of(a="x" * 9000)["unknown_fields"] is None


class TestMoney:
    @pytest.mark.parametrize(
        ("amount", "stored"),
        [
            (1025, "1025"),
            (0, "0"),
            ("1025", "1025"),
            ("1025.10", "1025.1"),
            (0.1, "0.1"),
            (Decimal("1025.000000001"), "1025.000000001"),
            # Half to even, seen from the digits and not from their float.
            ("0.0000000005", "0"),
            ("0.0000000015", "0.000000002"),
            ("0.0000000025", "0.000000002"),
            ("0.00000000250000000000000001", "0.000000003"),
            (Decimal("2.6666666665"), "2.666666666"),
            (Decimal("2.6666666675"), "2.666666668"),
            # More digits than a float, or a default decimal context, holds.
            (Decimal("12345678901234.123456789"), "12345678901234.123456789"),
            ("99999999999999.999999999", "99999999999999.999999999"),
            (12345678901234, "12345678901234"),
            (Decimal("1.5e-7"), "0.00000015"),
            (Decimal("1E+3"), "1000"),
            ("-3.5", "-3.5"),
        ],
    )
    def test_an_amount_is_stored_to_nine_places_half_even(self, amount: Any, stored: str) -> None:
        tables, flattener = flatten([official_example(model_breakdown=[model(amount)])])
        for row in (tables["usage"][0], tables["model_usage"][0]):
            assert row["estimated_cost_cents"] == Decimal(stored)
        assert flattener.totals.estimated_cost_cents == Decimal(stored)

    def test_amounts_are_rounded_one_by_one_and_then_added(self) -> None:
        # Added first, they would be 0.0000000015 and round to 0.000000002.
        entries = [model("0.0000000005")] * 3
        assert usage_of(model_breakdown=entries)["estimated_cost_cents"] == 0

    def test_a_negative_zero_is_zero(self) -> None:
        tables, _ = flatten([official_example(model_breakdown=[model("-0.0")])])
        assert str(tables["model_usage"][0]["estimated_cost_cents"]) == "0E-9"
        assert digests([official_example(model_breakdown=[model("-0.0")])]) == digests(
            [official_example(model_breakdown=[model(0)])]
        )

    @pytest.mark.parametrize("spelling", [1025.0, "1025", "1025.000", Decimal("1025.0"), Decimal("1.025E+3")])
    def test_the_spelling_of_an_amount_is_not_content(self, spelling: Any) -> None:
        assert digests([official_example(model_breakdown=[model(spelling)])]) == digests(
            [official_example(model_breakdown=[model(1025)])]
        )

    @pytest.mark.parametrize(
        "entries",
        [
            [model(10**14)] * 11,
            # They would add up to nothing.
            [model(10**14), model(-(10**14))] * 6,
            [model(1, tokens=(0, 10**14, 0, 0))] * 11,
            [model(1, tokens=[10**14] * 4)] * 3,
        ],
    )
    def test_more_than_a_day_can_add_up_to_is_refused_by_the_day_on_whatever_page(self, entries: list[Json]) -> None:
        pages = [decode_report(body([official_example(model_breakdown=[entry])]))[0].data for entry in entries]
        flattener = UsageFlattener(DAY)
        with pytest.raises(ClaudeCodeResponseError, match=r"contains numbers that add up to more than 1,000,000"):
            list(map(flattener.flatten, pages))

    @pytest.mark.parametrize(
        "changes",
        [
            {"core_metrics": {**official_example()["core_metrics"], name: 10**12}}
            for name in ("num_sessions", "commits_by_claude_code", "pull_requests_by_claude_code")
        ]
        + [
            {"core_metrics": {**official_example()["core_metrics"], "lines_of_code": lines}}
            for lines in ({"added": 10**12, "removed": 0}, {"added": 0, "removed": 10**12})
        ]
        + [
            {"tool_actions": {"new_tool": {"accepted": 10**12, "rejected": 0}}},
            {"tool_actions": {"edit_tool": {"accepted": 0, "rejected": 10**12}}},
        ],
    )
    def test_every_count_is_part_of_what_a_day_adds_up_to(self, changes: Json) -> None:
        records = [official_example(**changes)] * 999
        flatten(records)
        with pytest.raises(ClaudeCodeResponseError, match="add up to more than"):
            flatten([*records, official_example(**changes)])

    def test_25_years_of_the_largest_days_fit_64_bits(self) -> None:
        assert usage_of(model_breakdown=[model(1, tokens=(10**14, 0, 0, 0))] * 9)["input_tokens"] == 9 * 10**14
        assert 25 * 366 * 10**15 < 2**63


class TestIdentity:
    def test_the_fixed_record_id_holds_for_ever(self) -> None:
        text = (
            '["2025-09-01","dc9f6c26-b22c-4831-8d01-0446bada88f1","user_actor","developer@company.com",'
            '"api",null,"vscode",null,0]'
        )
        assert hashlib.sha256(text.encode()).hexdigest()[:32] == EXAMPLE_RECORD_ID
        assert flatten([official_example()])[0]["usage"][0]["record_id"] == EXAMPLE_RECORD_ID

    def test_a_record_id_covers_the_whole_key_in_utf_8(self) -> None:
        actor = {"type": "user_actor", "email_address": 'zoë "\N{SNOWMAN}"@example.com'}
        record = official_example(actor=actor, subscription_type="team", is_remote=True)
        [row] = flatten([record])[0]["usage"]
        assert row["record_id"] == record_id(
            "2025-09-01", ORGANIZATION_ID, "user_actor", actor["email_address"], "api", "team", "vscode", True, 0
        )

    def test_a_repeated_key_is_kept_and_told_apart_across_pages(self) -> None:
        one, other = official_example(), official_example(terminal_type="tmux")
        tables, flattener = flatten([one, other, one], [one])
        assert [row["key_ordinal"] for row in tables["usage"]] == [0, 0, 1, 2]
        key = ("2025-09-01", ORGANIZATION_ID, "user_actor", "developer@company.com", "api", None)
        assert [row["record_id"] for row in tables["usage"]] == [
            record_id(*key, "vscode", None, 0),
            record_id(*key, "tmux", None, 0),
            record_id(*key, "vscode", None, 1),
            record_id(*key, "vscode", None, 2),
        ]
        assert [row["record_id"] for row in tables["model_usage"]] == [row["record_id"] for row in tables["usage"]]
        assert flattener.totals.repeated_keys == 2

    @given(st.lists(st.lists(st.integers(0, 30), max_size=9), max_size=9), st.integers(0, 9))
    def test_a_key_is_counted_wherever_it_came_before(self, pages: list[list[int]], most_new: int) -> None:
        seen, came = SeenKeys(), Counter[int]()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(SeenKeys, "MOST_NEW", most_new)
            for page in pages:
                expected = []
                for key in page:
                    expected.append(came[key])
                    came[key] += 1
                assert seen.count([hashlib.sha256(bytes([key])).digest() for key in page]).tolist() == expected

    @pytest.mark.parametrize(
        "change",
        [
            {"organization_id": "x"},
            {"actor": {"type": "api_actor", "api_key_name": "developer@company.com"}},
            {"actor": {"type": "user_actor", "email_address": "x"}},
            {"customer_type": "subscription"},
            {"subscription_type": "team"},
            {"terminal_type": "tmux"},
            {"is_remote": False},
        ],
        ids=lambda change: next(iter(change)),
    )
    def test_every_part_of_the_key_tells_records_apart(self, change: Json) -> None:
        tables, flattener = flatten([official_example(), official_example(**change)])
        assert flattener.totals.repeated_keys == 0
        assert len({row["record_id"] for row in tables["usage"]}) == 2

    def test_with_pseudonyms_no_name_is_left_and_the_record_id_is_made_of_the_pseudonym(self) -> None:
        pseudonyms = Pseudonyms("correct horse battery staple")
        tables, _ = flatten([official_example()], pseudonym=pseudonyms)
        pseudonym = "df1e67bfed50289b23179bd5a49b6b72d08049d7c9290e31069a75ed20a5b686"
        assert {row["actor_id"] for rows in tables.values() for row in rows} == {pseudonym}
        assert {row["record_id"] for rows in tables.values() for row in rows} == {
            record_id("2025-09-01", ORGANIZATION_ID, "user_actor", pseudonym, "api", None, "vscode", None, 0)
        }


class TestDrift:
    """What the reference does not list is named by its field, never by its value, and lost nowhere."""

    @pytest.mark.parametrize(
        ("change", "name"),
        [
            ({"customer_type": "marketplace"}, "data[].customer_type"),
            ({"subscription_type": "of tomorrow"}, "data[].subscription_type"),
            ({"model_breakdown": [model(1, currency="EUR")]}, "data[].model_breakdown[].estimated_cost.currency"),
            (
                {"actor": {"type": "user_actor", "email_address": "x", "display_name": "X"}},
                "data[].actor.display_name",
            ),
            ({"actor": {"type": "service_actor", "id": "x"}}, "service_actor"),
            ({"tool_actions": {"zap_tool": {"accepted": 1, "rejected": 0}}}, "zap_tool"),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_a_new_value_is_noted(self, change: Json, name: str) -> None:
        tables, flattener = flatten([official_example(), official_example(terminal_type="tmux", **change)])
        assert flattener.totals.unknown_names == {name}
        assert len(tables["usage"]) == 2

    @pytest.mark.parametrize("subscription_type", ["enterprise", "team", None])
    @pytest.mark.parametrize("customer_type", ["api", "subscription"])
    def test_listed_values_are_not(self, customer_type: str, subscription_type: str | None) -> None:
        record = official_example(customer_type=customer_type, subscription_type=subscription_type)
        assert flatten([record])[1].totals.unknown_names == set()


class TestDigest:
    def test_the_fixed_digests_hold_for_ever(self) -> None:
        key = (
            '["2025-09-01","dc9f6c26-b22c-4831-8d01-0446bada88f1","user_actor","developer@company.com",'
            '"api",null,"vscode",null,0]'
        )

        def words(text: str | bytes) -> list[int]:
            """Return the SHA-256 hash of a text as four words."""
            return list(
                struct.unpack("<4Q", hashlib.sha256(text if isinstance(text, bytes) else text.encode()).digest())
            )

        def row_hash(**values: int | str) -> int:
            """Numbers are doubled and one more, in two words if money; of text there is a hash in two words."""
            sums = [0, 0]
            for name, value in {"key": key, **values}.items():
                if name == "key":
                    of_value = words(key)[:2]
                elif isinstance(value, str):
                    of_value = words(json.dumps(value))[:2]
                else:
                    of_value = [2 * value + 1, 0]
                factors = [factor | 1 for factor in words(name)]
                for half in (0, 1):
                    sums[half] += of_value[0] * factors[half] + of_value[1] * factors[2 + half]
            return mixed(sums[0]) + (mixed(sums[1]) << 64)

        def mixed(word: int) -> int:
            """The finalizer of MurmurHash3's variant of 64 bits."""
            word %= 2**64
            for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
                word = (word ^ (word >> 33)) * factor % 2**64
            return word ^ (word >> 33)

        tokens = {
            "input_tokens": 100000,
            "output_tokens": 35000,
            "cache_read_tokens": 10000,
            "cache_creation_tokens": 5000,
        }
        cost = {"estimated_cost_cents": 1_025 * 10**9, "currency": "USD"}
        tools = {"edit_tool": (45, 5), "multi_edit_tool": (12, 2), "write_tool": (8, 1), "notebook_edit_tool": (3, 0)}
        computed = [
            row_hash(
                num_sessions=5,
                lines_of_code_added=1543,
                lines_of_code_removed=892,
                commits_by_claude_code=12,
                pull_requests_by_claude_code=2,
                **{f"{name}_accepted": accepted for name, (accepted, _) in tools.items()},
                **{f"{name}_rejected": rejected for name, (_, rejected) in tools.items()},
                tool_actions_accepted=68,
                tool_actions_rejected=8,
                model_count=1,
                **tokens,
                **cost,
            ),
            row_hash(model="claude-sonnet-4-5-20250929", **tokens, **cost),
            sum(row_hash(tool_name=name, accepted=yes, rejected=no) for name, (yes, no) in tools.items()),
        ]
        assert digests([official_example()]) == [f"{digest % 2**128:032x}" for digest in computed]

    def test_values_that_rows_exchange_change_the_digest(self) -> None:
        def of_two(*sessions: int) -> list[str]:
            metrics = official_example()["core_metrics"]
            return digests(
                [
                    official_example(terminal_type=terminal, core_metrics=metrics | {"num_sessions": number})
                    for terminal, number in zip("ab", sessions, strict=True)
                ]
            )

        assert of_two(1, 2)[0] != of_two(2, 1)[0]
        assert of_two(1, 2)[0] == of_two(1, 2)[0]

    def test_an_empty_day_has_the_digest_of_nothing(self) -> None:
        assert digests([]) == ["0" * 32] * 3

    def test_one_record_more_with_the_same_content_is_another_day(self) -> None:
        one, two = digests([official_example()]), digests([official_example()] * 2)
        assert all(before != after for before, after in zip(one, two, strict=True))

    def test_a_renamed_tool_changes_the_digest_of_tools(self) -> None:
        actions = {"edit_tool": {"accepted": 1, "rejected": 0}}
        renamed = {"edit_tool_2": {"accepted": 1, "rejected": 0}}
        assert (
            digests([official_example(tool_actions=actions)])[2] != digests([official_example(tool_actions=renamed)])[2]
        )

    def test_a_model_that_moves_to_another_person_changes_the_digest(self) -> None:
        ours, theirs = official_example(model_breakdown=[]), official_example(terminal_type="tmux")
        swapped = [official_example(), official_example(terminal_type="tmux", model_breakdown=[])]
        assert digests([ours, theirs])[1] != digests(swapped)[1]

    def test_what_is_no_column_is_not_content(self) -> None:
        assert digests([official_example()]) == digests([official_example(a_new_field={"x": 1}, is_remote=None)])

    def test_a_number_in_a_new_kind_of_actor_does_not_depend_on_the_rest_of_the_page(self) -> None:
        # A count written 5.0 makes its page be decoded in another way.
        new = official_example(actor={"type": "service_actor", "weight": Decimal("1.0")})
        metrics = official_example()["core_metrics"] | {"num_sessions": Decimal("5.0")}
        other = official_example(core_metrics=metrics)
        assert digests([new, other]) == digests([new], [other])


@given(DAYS)
def test_nothing_is_lost_and_all_sums_agree_with_the_raw_json(records: list[Json]) -> None:
    tables, flattener = flatten(records)
    sums: dict[str, Any] = {}
    for table, rows in tables.items():
        sums[table] = len(rows)
        for column in [*SUMS[table], *(MODEL_SUMS if table != "tool_usage" else [])]:
            sums[f"{table}.{column}"] = exact_sum(row[column] or 0 for row in rows)
    assert {name: total for name, total in sums.items() if total} == naive_totals(body(records))
    assert flattener.totals.row_counts == {table: len(rows) for table, rows in tables.items()}
    assert flattener.totals.num_sessions == sums["usage.num_sessions"]
    currencies = {entry["estimated_cost"]["currency"] for record in records for entry in record["model_breakdown"]}
    assert flattener.totals.estimated_cost_cents == (
        None if len(currencies) > 1 else sums["model_usage.estimated_cost_cents"]
    )


@given(DAYS)
def test_children_add_up_to_their_record_and_bear_its_key(records: list[Json]) -> None:
    tables, _ = flatten(records)
    shared = list(EXAMPLE_KEY)
    parents = {row["record_id"]: row for row in tables["usage"]}
    for child in (*tables["model_usage"], *tables["tool_usage"]):
        assert {name: child[name] for name in shared} == {name: parents[child["record_id"]][name] for name in shared}
    for number, record in zip(parents, records, strict=True):
        parent = parents[number]
        models = [row for row in tables["model_usage"] if row["record_id"] == number]
        tools = [row for row in tables["tool_usage"] if row["record_id"] == number]
        assert [row["model"] for row in models] == [entry["model"] for entry in record["model_breakdown"]]
        assert {row["tool_name"]: row["accepted"] for row in tools} == {
            name: action["accepted"] for name, action in record["tool_actions"].items()
        }
        assert parent["model_count"] == len(models)
        one_currency = len({row["currency"] for row in models}) == 1
        for column in MODEL_SUMS:
            known = models and (one_currency or column != "estimated_cost_cents")
            assert parent[column] == (exact_sum(row[column] for row in models) if known else None)


@given(DAYS)
def test_record_ids_are_unique_and_follow_from_the_key_alone(records: list[Json]) -> None:
    rows = flatten(records)[0]["usage"]
    assert len({row["record_id"] for row in rows}) == len(records)
    for row, record in zip(rows, records, strict=True):
        actor = record["actor"]
        rest = {name: value for name, value in actor.items() if name != "type"}
        canonical = json.dumps(rest, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        known = {"user_actor": "email_address", "api_actor": "api_key_name"}.get(actor["type"])
        actor_id = actor[known] if known else canonical
        assert row["actor_id"] == actor_id
        assert row["record_id"] == record_id(
            "2025-09-01",
            record["organization_id"],
            actor["type"],
            actor_id,
            record["customer_type"],
            record.get("subscription_type"),
            record["terminal_type"],
            record.get("is_remote"),
            row["key_ordinal"],
        )


@given(DAYS, st.data())
def test_digests_do_not_depend_on_order_or_paging(records: list[Json], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(records))
    cut = data.draw(st.integers(0, len(records)))
    assert digests(shuffled[:cut], shuffled[cut:]) == digests(records)


@given(DAYS.filter(bool), st.data())
def test_any_changed_value_changes_a_digest(records: list[Json], data: st.DataObject) -> None:
    position = data.draw(st.integers(0, len(records) - 1))
    ignored = ("date", "a_field_of_the_future")
    *way, last = data.draw(st.sampled_from([path for path in leaves(records[position]) if path[0] not in ignored]))
    changed = copy.deepcopy(records)
    place: Any = changed[position]
    for step in way:
        place = place[step]
    value = place[last]
    if last == "amount":
        place[last] = exact_sum([cents(value), 1])
    elif last == "is_remote":
        place[last] = None if value else True
    elif isinstance(value, int | Decimal):
        # A count may be the largest that there is.
        place[last] = int(value) - 1 if value else 1
    else:
        place[last] = (value or "") + "x"
    assert digests(changed) != digests(records)
