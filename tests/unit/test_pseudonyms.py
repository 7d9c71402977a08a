"""A person has the same pseudonym everywhere, which reveals nothing without the secret."""

import hashlib
import hmac

import msgspec
import pytest

from airflow_provider_claude_code.exceptions import ClaudeCodeConfigurationError
from airflow_provider_claude_code.tables.pseudonyms import Pseudonyms

SECRET = "correct horse battery staple"
PSEUDONYM = "df1e67bfed50289b23179bd5a49b6b72d08049d7c9290e31069a75ed20a5b686"
KEY_ID = "5399fbf6c825a6c6"


def keyed_hash(message: str) -> str:
    return hmac.new(SECRET.encode(), message.encode(), hashlib.sha256).hexdigest()


def test_the_fixed_vector_holds_for_ever() -> None:
    pseudonyms = Pseudonyms(SECRET)
    assert pseudonyms("user_actor", "developer@company.com") == PSEUDONYM
    assert pseudonyms.key_id == KEY_ID


def test_it_is_an_hmac_over_the_json_of_type_and_identifier() -> None:
    assert keyed_hash('["user_actor","developer@company.com"]') == PSEUDONYM
    assert keyed_hash("pseudonym_key_id")[:16] == KEY_ID
    assert Pseudonyms(SECRET)("api_actor", "ci-\N{SNOWMAN}") == keyed_hash('["api_actor","ci-\N{SNOWMAN}"]')


@pytest.mark.parametrize("spelling", ["Developer@Company.com", " developer@company.com\n", "DEVELOPER@COMPANY.COM"])
def test_spellings_of_an_address_are_one_person(spelling: str) -> None:
    assert Pseudonyms(SECRET)("user_actor", spelling) == PSEUDONYM


@pytest.mark.parametrize("name", ["Prod", "PROD ", " prod", "prod\n", "\u00a0prod"])
@pytest.mark.parametrize("kind", ["api_actor", "service_actor"])
def test_names_of_keys_are_free_text_and_compared_exactly(kind: str, name: str) -> None:
    assert Pseudonyms(SECRET)(kind, name) == keyed_hash(msgspec.json.encode([kind, name]).decode())
    assert Pseudonyms(SECRET)(kind, name) != Pseudonyms(SECRET)(kind, "prod")


def test_the_same_name_is_somebody_else_under_another_type_or_secret() -> None:
    assert Pseudonyms(SECRET)("api_actor", "developer@company.com") != PSEUDONYM
    other = Pseudonyms(SECRET + "!")
    assert other("user_actor", "developer@company.com") != PSEUDONYM
    assert other.key_id != KEY_ID


def test_type_and_identifier_cannot_run_into_each_other() -> None:
    pseudonyms = Pseudonyms(SECRET)
    assert pseudonyms("a", "bc") != pseudonyms("ab", "c")
    assert pseudonyms('a","b', "c") != pseudonyms("a", 'b","c')


def test_an_unknown_actor_stays_unknown_and_an_empty_name_does_not_become_one() -> None:
    assert Pseudonyms(SECRET)("user_actor", None) is None
    assert Pseudonyms(SECRET)("user_actor", "") == keyed_hash('["user_actor",""]')


@pytest.mark.parametrize("secret", [None, "", "fifteen letters"])
def test_a_missing_or_guessable_secret_is_refused_and_not_repeated(secret: str | None) -> None:
    with pytest.raises(ClaudeCodeConfigurationError) as refusal:
        Pseudonyms(secret)
    assert "fifteen" not in str(refusal.value)


def test_sixteen_characters_are_enough() -> None:
    assert len(Pseudonyms("sixteen letters!").key_id) == 16
