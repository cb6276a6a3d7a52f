import numpy as np

import symnet
import symnet.tensor as T

x = T.dmatrix("x")
bias = symnet.shared(np.zeros((1, 3)), name="bias")
f = symnet.function([x], x + bias)
f(np.ones((10, 3)))
