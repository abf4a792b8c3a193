"""Pictures from physics, inside jit."""

from bioflax.simulate import degrade as degrade
from bioflax.simulate.emitters import EmitterSimulator as EmitterSimulator
from bioflax.simulate.magnified import Magnified as Magnified
from bioflax.simulate.movie import simulate_movie as simulate_movie
from bioflax.simulate.nuclei import NucleiSimulator as NucleiSimulator
from bioflax.simulate.organelles import Network as Network
from bioflax.simulate.organelles import Vesicles as Vesicles
from bioflax.simulate.process import BlurredProcess as BlurredProcess
from bioflax.simulate.process import GaussianProcess as GaussianProcess
from bioflax.simulate.scenes import Filaments as Filaments
from bioflax.simulate.scenes import Mixed as Mixed
from bioflax.simulate.scenes import Nuclei as Nuclei
from bioflax.simulate.scenes import Puncta as Puncta
from bioflax.simulate.scenes import Scene as Scene
from bioflax.simulate.simulator import Simulator as Simulator
from bioflax.simulate.spots import SpotSimulator as SpotSimulator
from bioflax.simulate.stack import simulate_stack as simulate_stack
from bioflax.simulate.still import Still as Still
from bioflax.simulate.structures import Blank as Blank
from bioflax.simulate.structures import LinePairs as LinePairs
from bioflax.simulate.structures import ParallelFilaments as ParallelFilaments
from bioflax.simulate.structures import PointPairs as PointPairs
from bioflax.simulate.structures import SiemensStar as SiemensStar
from bioflax.simulate.structures import draw_line_pair as draw_line_pair
from bioflax.simulate.structures import draw_point_pair as draw_point_pair
