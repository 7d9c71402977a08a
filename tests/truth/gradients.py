"""
What can be computed from everything that is published, whatever it is, without knowing what each number means.

Each published number is a function of the values in the tables. How much it changes with each value is measured: the
same organisation is loaded many times, and in each copy one value is larger. Whoever knows the numbers can compute the
sums of values that are combinations of these changes, and locally no others. Somebody stands out if such a combination
has values of fewer people than min_group_size alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

_NOISE = 2e-3
"""Numbers are published with two decimals, and some are not linear."""

Label = tuple[Any, ...]


def numbers_in(label: Label, value: Any) -> dict[Label, float]:
    """Return the numbers in a value of JSON or a row of a model, each with its place."""
    if isinstance(value, Mapping):
        return {key: it for name, part in value.items() for key, it in numbers_in((*label, name), part).items()}
    try:
        return {} if value is None or isinstance(value, bool) else {label: float(value)}
    except (TypeError, ValueError):
        return {}


def gradients(base: Mapping[Label, float], copies: Sequence[Mapping[Label, float]]) -> dict[Label, Any]:
    """
    Return how much each number depends on each value, as a vector whose largest component is 1.

    :param base: the published numbers.
    :param copies: those with each value enlarged by as much.
    """
    found: dict[Label, Any] = {}
    for label, number in base.items():
        changes = np.array([copy[label] - number for copy in copies])
        if largest := np.abs(changes).max():
            found[label] = changes / largest
    return found


def who_stands_out(found: Mapping[Label, Any], owners: Sequence[str | None], size: int) -> list[str]:
    """
    Return the groups of fewer than ``size`` people of whom something can be computed.

    :param found: :func:`gradients`.
    :param owners: whose each value is; None if it is nobody's, as if everybody knew it.
    :param size: the smallest group that may be shown.
    """
    owned = np.array([owner is not None for owner in owners])
    whose = np.array([owner or "" for owner in owners])[owned]
    vectors = list({tuple(np.round(vector[owned], 4)): label for label, vector in found.items()}.items())
    matrix, labels = np.array([vector for vector, _ in vectors]), [label for _, label in vectors]
    people, outstanding = sorted(set(whose)), []
    for group in combinations(people, size - 1):
        is_in = np.isin(whose, group)
        # What combines the numbers so that nothing of the others is left.
        _, sizes, rows = np.linalg.svd(matrix[:, ~is_in].T)
        combined = rows[(sizes > _NOISE).sum() :]
        left = combined @ matrix[:, is_in]
        if left.size and np.abs(left).max() > 0.05:
            used = np.abs(combined[np.abs(left).max(axis=1).argmax()])
            sources = [labels[place] for place in np.argsort(-used)[:6] if used[place] > _NOISE]
            outstanding.append(f"{group} by {sources}")
    return outstanding
