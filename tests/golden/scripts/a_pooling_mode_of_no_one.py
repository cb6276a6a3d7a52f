import symnet.tensor as T

maps = T.dtensor4("maps")
pooled = T.signal.pool.pool_2d(maps, (2, 2), mode="mean", ignore_border=True)
