import numpy as np

import symnet
import symnet.tensor as T

x = T.dvector("x")
y = T.exp(x)
z = (y + 1) / 2
turned = z[::-1]
f = symnet.function([x], [z, turned.shape[0]], name="f")
f(np.zeros(5))
shown = f"{symnet.explain(f, z)}\n{symnet.explain(f, y)}\n{symnet.explain(f, 'turned =')}\n"
