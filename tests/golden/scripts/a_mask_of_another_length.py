import numpy as np

import symnet
import symnet.tensor as T

x, keep = T.dmatrix("x"), T.TensorType("bool", (False,))("keep")
f = symnet.function([x, keep], x[keep])
f(np.ones((3, 2)), np.array([True, False]))
