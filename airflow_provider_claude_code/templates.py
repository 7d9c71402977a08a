"""Checks arguments that may be templates."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Set

from airflow_provider_claude_code.exceptions import ClaudeCodeConfigurationError


def is_template(value: object) -> bool:
    """Return whether an argument is known only when the task runs: a Jinja template, or a list with such an element."""
    if isinstance(value, str):
        return "{{" in value or "{%" in value
    if isinstance(value, list | tuple | set):
        return any(map(is_template, value))
    # Results of other tasks, and arguments of mapped task groups. Their common base is not public.
    return hasattr(value, "iter_references")


def whole_number(argument: str, value: object, least: int) -> int:
    """
    Return the number that an argument holds; a template renders to its digits.

    :param argument: the argument's name, for the message.
    :param value: a number, or its digits.
    :param least: the smallest number that is allowed.
    :raises ClaudeCodeConfigurationError: it is not a whole number, or too small.
    """
    number = int(value) if isinstance(value, str) and value.isascii() and value.isdecimal() else value
    if isinstance(number, bool) or not isinstance(number, int) or number < least:
        raise ClaudeCodeConfigurationError(f"{argument} is {value!r}; a whole number of {least} or more was expected.")
    return number


def listed(argument: str, names: object, allowed: Iterable[str], *, may_be_empty: bool = False) -> list[str]:
    """
    Return the names of a list, each once.

    :param argument: the argument's name, for the message.
    :param names: the list. A set has another order in each process, and each order would be another version of the Dag.
    :param allowed: the names that there are.
    :param may_be_empty: whether the list may have no names.
    :raises ClaudeCodeConfigurationError: it is not a list (such as a single string), is empty, or has another name.
    """
    ordered = sorted(names, key=str) if isinstance(names, Set) else names
    found = list(ordered) if isinstance(ordered, Iterable) and not isinstance(ordered, str) else None
    known = list(allowed)
    if found is None or not (found or may_be_empty) or any(name not in known for name in found):
        raise ClaudeCodeConfigurationError(
            f"{argument} is {names!r}; a list of {', '.join(known)} was expected.{_native_hint(names)}"
        )
    return list(dict.fromkeys(found))


def _native_hint(rendered: object) -> str:
    """Return advice if a template rendered to the text of a list or dict, instead of to a list or dict."""
    if not (isinstance(rendered, str) and rendered.strip()[:1] in ("[", "{", "(")):
        return ""
    return (
        " A template renders to text. Set render_template_as_native_obj=True in the Dag, or put the template inside a "
        "list or dict."
    )


def accounts(argument: str, value: object) -> str | list[str] | None:
    """
    Return a service account or a chain of them; ``None`` for none.

    :param argument: the argument's name, for the message.
    :param value: the account or the accounts.
    :raises ClaudeCodeConfigurationError: it is neither text nor a list of texts.
    """
    if value is None or (isinstance(value, str) and not _native_hint(value)):
        return value or None
    if isinstance(value, list | tuple) and all(isinstance(account, str) and account for account in value):
        return list(value)
    raise ClaudeCodeConfigurationError(
        f"{argument} is {value!r}; a service account or a list of them was expected.{_native_hint(value)}"
    )


def mapping_of(argument: str, value: object) -> dict[str, str]:
    """
    Return a mapping of names to text; an empty one for none.

    A native template makes numbers of texts that look like them.

    :param argument: the argument's name, for the message.
    :param value: the mapping, or what its template rendered to.
    :raises ClaudeCodeConfigurationError: it is not a mapping.
    """
    if value is None or value == "":
        return {}
    if not isinstance(value, Mapping):
        raise ClaudeCodeConfigurationError(f"{argument} is {value!r}; a dict was expected.{_native_hint(value)}")
    return {name: str(text) if isinstance(text, int | float) else text for name, text in value.items()}


def true_or_false(argument: str, value: object) -> bool:
    """
    Return a boolean argument, which is not templated. Any text would be true, even "False".

    :param argument: the argument's name, for the message.
    :raises ClaudeCodeConfigurationError: it is neither True nor False.
    """
    if not isinstance(value, bool):
        raise ClaudeCodeConfigurationError(f"{argument} is {value!r}; True or False was expected. It is not templated.")
    return value


def seconds(argument: str, value: object) -> float:
    """
    Return an argument that is a number of seconds above 0, and no template.

    :param argument: the argument's name, for the message.
    :raises ClaudeCodeConfigurationError: it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise ClaudeCodeConfigurationError(f"{argument} is {value!r}; a number of seconds above 0 was expected.")
    return value


def one_of(argument: str, value: object, allowed: Collection[str]) -> None:
    """
    Check that a value is one of the allowed values.

    :param argument: the argument's name, for the message.
    :raises ClaudeCodeConfigurationError: it is not.
    """
    if value not in allowed:
        raise ClaudeCodeConfigurationError(f"{argument} is {value!r}; expected {', '.join(map(repr, allowed))}.")
