"""Pictures from physics, inside jit."""

from bioflax.simulate.emitters import EmitterSimulator as EmitterSimulator
from bioflax.simulate.movie import simulate_movie as simulate_movie
from bioflax.simulate.nuclei import NucleiSimulator as NucleiSimulator
from bioflax.simulate.process import GaussianProcess as GaussianProcess
from bioflax.simulate.scenes import Filaments as Filaments
from bioflax.simulate.scenes import Mixed as Mixed
from bioflax.simulate.scenes import Nuclei as Nuclei
from bioflax.simulate.scenes import Puncta as Puncta
from bioflax.simulate.scenes import Scene as Scene
from bioflax.simulate.simulator import Simulator as Simulator
from bioflax.simulate.spots import SpotSimulator as SpotSimulator
from bioflax.simulate.stack import simulate_stack as simulate_stack
