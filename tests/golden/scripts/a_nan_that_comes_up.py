import numpy as np

import symnet
import symnet.tensor as T

x, w = T.dvector("x"), symnet.shared(np.array([2.0, 3.0]), name="w")
ratio = T.log(x) / w
step = symnet.function([x], ratio.sum(), updates=[(w, w - ratio)], check="nan")
step([1.0, 1.0])
step([1.0, -4.0])
