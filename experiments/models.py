"""Lists trained models below a folder and in the zoo, or prints a card."""

from __future__ import annotations

from typing import Any

import hydra
from bioflax.experiments import _command


@hydra.main(version_base="1.3", config_path="pkg://bioflax.conf", config_name="models")
@_command.collected
def main(config: Any) -> None:
    """The list, or one card."""
    plain, _, _ = _command.settings(config)
    from bioflax import hub

    if plain["show"]:
        print(hub.read_card(str(plain["show"])).to_json(), end="")
        return
    found = {**hub.zoo_models(), **hub.list_models(str(plain["folder"]))}
    if not found:
        print(f"no models in {plain['folder']} or the zoo. Train one, or give folder=...")
    for name, path in found.items():
        card = hub.read_card(path)
        numbers = " ".join(f"{metric}={value:.4g}" for metric, value in card.metrics.items() if value is not None)
        print(f"{name}  {card.task} ({card.scheme})  {card.parameters:,} parameters  {numbers}  {path}")


if __name__ == "__main__":
    _command.start("models", main)
