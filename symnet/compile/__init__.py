"""From a graph to a program that runs: function, specialisation, lowering, memory, cache, call."""
