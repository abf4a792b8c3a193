"""The answer to a study's question in a few plain words, with its numbers and their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bioflax.studies.clauses import (
    best_row_clause,
    help_clauses,
    kept_clauses,
    loss_clause,
    rival_clause,
    threshold_clauses,
    trained_clauses,
)
from bioflax.studies.phrases import cells_of, tests_words, value_words, who
from bioflax.studies.scores import is_mixed, main_row, reference_test
from bioflax.studies.wording import capital, count, metric_words


def answer(
    results: Any, envelope: Mapping[str, Any] | None = None, claims: Sequence[Any] = (), found: Sequence[Any] = ()
) -> str:
    """One sentence, with its clauses, that answers the question of a study.

    Args:
        results: of the study.
        envelope: of `measure_envelope`; None leaves out where the model keeps its quality.
        claims: of `effects`, `helped` and `beats_rival`, in any order.
        found: of `thresholds`.
    """
    main, reference = main_row(results), reference_test(results)
    if not any(metric == results.study["metric"] for _, _, metric in results.tallies):
        return f"No point has a result{because(results)}, so the question stays open."
    if main is None or not trained_with_result(results):
        return f"No trained model has a result{because(results)}, so the question stays open."
    if (main, reference) not in cells_of(results):
        missing = f"{who(results, main)} has no result at the reference test{because(results)}"
        return f"{missing}, so the question stays open; the other rows are in the table."
    clauses = [
        *kept_clauses(results, envelope or {}, main),
        *loss_clause(results, claims, main),
        *best_row_clause(results, main),
        *trained_clauses(results, main),
        *help_clauses(results, claims, main),
        *rival_clause(results, claims, main),
        *threshold_clauses(results, found, main),
    ]
    if not clauses:
        clauses = [alone(results, main, reference)]
    text = "; ".join(clauses) + "."
    return capital(text) + caveat(results, envelope or {})


def alone(results: Any, main: str, test: str) -> str:
    """What is left to say of a single number."""
    return f"{who(results, main)} reaches {metric_words(results.study['metric'])} {value_words(results, main, test)}"


def trained_with_result(results: Any) -> bool:
    names = {row.name for row in results.rows if row.kind in ("train", "help")}
    return any(row in names for row, _ in cells_of(results))


def because(results: Any) -> str:
    """The commonest reason of failed points."""
    if not results.failed:
        return ""
    errors = [failure.error for failure in results.failed]
    most = max(dict.fromkeys(errors), key=errors.count).strip().rstrip(".")
    return f" ({count(len(errors), 'point')} failed, most often: {most})"


def caveat(results: Any, envelope: Mapping[str, Any]) -> str:
    """What the reader has to know before trusting the sentence."""
    words = []
    mixed = [test.id for test in results.tests if len(test.levels) == 1 and is_mixed(results, test.id)]
    if mixed and envelope.get("rows"):
        words.append(f"{capital(tests_words(results, mixed))} no row was trained: there the model is held against the row "
                     "of the nearest level.")  # fmt: skip
    if results.study["seeds"] == 1:
        words.append("Each row was trained once, so the spread between trainings is not in these intervals.")
    if results.failed:
        words.append(f"{count(len(results.failed), 'point')} of {len(results.study['points'])} "
                     f"{'has' if len(results.failed) == 1 else 'have'} no result and {'is' if len(results.failed) == 1 else 'are'} "
                     "left out.")  # fmt: skip
    return (" " + " ".join(words)) if words else ""
