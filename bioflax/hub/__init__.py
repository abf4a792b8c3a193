"""Models as documented artefacts: cards, pages, weights that cannot be exchanged unnoticed."""

from bioflax.hub.archive import pack_model as pack_model
from bioflax.hub.card import ModelCard as ModelCard
from bioflax.hub.page import model_page as model_page
from bioflax.hub.store import LoadedModel as LoadedModel
from bioflax.hub.store import load as load
from bioflax.hub.store import read_card as read_card
from bioflax.hub.store import save_model as save_model
from bioflax.hub.zoo import find_model as find_model
from bioflax.hub.zoo import list_models as list_models
from bioflax.hub.zoo import zoo_models as zoo_models
