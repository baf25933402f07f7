"""Where is a bundle re-run? Each destination ships a bundle somewhere, runs the verifiers there, and says where."""
