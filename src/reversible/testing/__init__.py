"""For those who write plugins: the damage that a verifier must catch."""
