import numpy as np

import symnet

w = symnet.shared(np.zeros(3), name="w")
step = symnet.function([], updates=[(w, w.sum())])
