"""The graph and nothing else: types, variables, applications of ops, source lines, and walks."""
