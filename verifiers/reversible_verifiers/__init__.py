"""One module per question, answered from the bundle alone."""
