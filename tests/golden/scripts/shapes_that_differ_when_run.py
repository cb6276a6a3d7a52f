import numpy as np

import symnet
import symnet.tensor as T

x, y = T.dmatrices("x", "y")
error = (x - y) ** 2
cost = symnet.function([x, y], error.mean())
cost(np.ones((10, 3)), np.ones((10, 4)))
