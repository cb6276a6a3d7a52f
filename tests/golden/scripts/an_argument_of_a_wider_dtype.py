import numpy as np

import symnet
import symnet.tensor as T

x = T.fmatrix("x")
f = symnet.function([x], x.sum(), name="total")
f(np.random.RandomState(0).rand(4, 3))
