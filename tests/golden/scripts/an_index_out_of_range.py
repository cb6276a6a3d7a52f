import numpy as np

import symnet
import symnet.tensor as T

x, i = T.dvector("x"), T.lscalar("i")
f = symnet.function([x, i], x[i] * 2)
f(np.ones(5), 5)
