"""The operating envelope into the cards of the models that a study judged."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

from bioflax.hub.store import load, read_card, save_model
from bioflax.hub.zoo import find_model
from bioflax.runs import write_text
from bioflax.studies.collect import Results
from bioflax.studies.envelope import measure_envelope


def publish_envelope(results: Results, folder: Path, store: Path) -> dict[str, Any]:
    """Writes `envelope.json`, and what belongs to a row into the card of each of its models in the store.

    Args:
        results: of the study.
        folder: of the study.
        store: of the trained models. A model that was given is changed where it lies, unless it is packed.

    Returns:
        The envelope.
    """
    envelope = measure_envelope(results, results.study["share"])
    write_text(folder / "envelope.json", json.dumps(envelope, indent=1, allow_nan=False) + "\n")
    given = results.study.get("given")
    for hash, row in trained_models(results, folder).items():
        entry = {name: envelope[name] for name in ("metric", "share", "rule") if name in envelope}
        entry |= envelope["rows"].get(row, {}) | {"row": row}
        where = store / hash / "model" if given is None else find_model(given)
        if (where / "card.json").exists() and read_card(where).envelope.get(results.study["name"]) != entry:
            model = load(where)
            card = dataclasses.replace(model.card, envelope={**model.card.envelope, results.study["name"]: entry})
            if not card.metrics:  # not judged by its own training
                card = dataclasses.replace(card, **_scores(results, row))
            save_model(where, card, model.variables, model.test_input, model.test_output)
    return envelope


def _scores(results: Results, row: str) -> dict[str, Any]:
    """Metrics of a row at the reference, over its seeds, beside rivals and bound, as a card has them."""

    def at_reference(name: str) -> dict[str, float]:
        found = {m: t.value for (r, test, m), t in results.tallies.items() if (r, test) == (name, results.tests[0].id)}
        return {metric: value for metric, value in found.items() if math.isfinite(value)}

    rivals = {info.name: at_reference(info.name) for info in results.rows if info.kind == "rival"}
    bound = next((at_reference(info.name) for info in results.rows if info.kind == "bound"), {})
    return {"metrics": at_reference(row), "baselines": rivals, "bounds": bound}


def trained_models(results: Results, folder: Path) -> dict[str, str]:
    """Hash of every model that is a row by itself -> name of the row."""
    names, found = {row.id: row.name for row in results.rows}, {}
    for point in results.study["points"]:
        if point["row"] is None:
            continue
        try:
            models = json.loads((folder / "points" / point["hash"] / "result.json").read_text()).get("models") or []
        except (OSError, ValueError):
            continue
        if len(models) == 1:  # the member of an ensemble is not what was judged
            found[models[0]] = names[point["row"]]
    return found
