"""Looking at what was compiled: takes functions, hands on what is to be read."""
