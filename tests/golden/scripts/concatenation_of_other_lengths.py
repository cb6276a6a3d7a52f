import numpy as np

import symnet
import symnet.tensor as T

x, y = T.dmatrices("x", "y")
both = T.concatenate([x, y], axis=1)
f = symnet.function([x, y], both)
f(np.ones((4, 2)), np.ones((5, 2)))
