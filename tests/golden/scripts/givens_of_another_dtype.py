import numpy as np

import symnet
import symnet.tensor as T

data = symnet.shared(np.zeros((10, 3), dtype="float32"), name="data")
x, i = T.dmatrix("x"), T.lscalar("i")
f = symnet.function([i], x.sum(), givens={x: data[i : i + 5]})
