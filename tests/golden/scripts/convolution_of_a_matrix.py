import symnet.tensor as T

x = T.fmatrix("x")
filters = T.ftensor4("filters")
maps = T.nnet.conv2d(x, filters)
