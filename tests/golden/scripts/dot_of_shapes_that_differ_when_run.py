import numpy as np

import symnet
import symnet.tensor as T

x = T.dmatrix("x")
w = symnet.shared(np.zeros((4, 2)), name="w")
scores = T.dot(x, w)
symnet.function([x], scores)(np.ones((5, 3)))
