import numpy as np

import symnet

w = symnet.shared(np.zeros(3, "float32"), name="w")
w.set_value(np.array([0.1, 0.2, 0.3]))
