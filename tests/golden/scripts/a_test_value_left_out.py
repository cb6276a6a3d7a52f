import symnet
import symnet.tensor as T

with symnet.config.override(test_values="raise"):
    x = T.dvector("x")
    y = x * 2
