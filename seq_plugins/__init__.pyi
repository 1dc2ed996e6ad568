from . import datasets as datasets
from . import layers as layers
from . import models as models
from . import text as text
from . import windows as windows
from .lightning.divergence import DivergenceError as DivergenceError
from .models import *

__version__: str
