import numpy as np

import symnet
import symnet.tensor as T

with symnet.config.override(test_values=True):
    x, i = T.dvector("x"), T.lscalar("i")
    x.tag.test_value, i.tag.test_value = np.ones(5), 5
    last = x[i]
