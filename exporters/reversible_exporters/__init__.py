"""One module per vendor system: each reads it and writes open formats."""
