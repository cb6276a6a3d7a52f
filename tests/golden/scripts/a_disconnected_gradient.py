import numpy as np

import symnet
import symnet.tensor as T

x = T.dvector("x")
w = symnet.shared(np.ones(3), name="w")
cost = T.sum(x**2)
gradient = symnet.grad(cost, [w])
