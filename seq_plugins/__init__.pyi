from . import datasets as datasets
from . import layers as layers
from . import models as models
from . import text as text
from . import windows as windows
from .models import *
from .models._divergence import DivergenceError as DivergenceError

__version__: str
