"""Lists trained models below a folder, or prints a card."""

from __future__ import annotations

from typing import Any

import hydra
from bioflax.experiments import _command


@hydra.main(version_base="1.3", config_path="pkg://bioflax.conf", config_name="models")
def main(config: Any) -> None:
    """The list, or one card."""
    plain, _, _ = _command.settings(config)
    from bioflax import hub

    if plain["show"]:
        print(hub.read_card(plain["show"]).to_json())
        return
    for path, card in hub.list_models(plain["folder"]):
        metrics = " ".join(
            f"{name}={value:.4g}" for name, value in card.metrics.items() if isinstance(value, (int, float))
        )
        print(f"{path}  {card.task}  {card.architecture_name}  {metrics}")


if __name__ == "__main__":
    _command.start("models", main)
