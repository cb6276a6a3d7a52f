import numpy as np

import symnet
import symnet.tensor as T

w = symnet.shared(np.zeros(3, dtype="float32"), name="w")
rate = T.dscalar("rate")
step = symnet.function([rate], updates=[(w, w - rate * w)])
