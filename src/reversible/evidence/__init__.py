"""What remains of a run, and why should anybody believe it?

A small signed BagIt bag. `dossier` writes it, `verify` checks it offline and recomputes all that it says.
"""
