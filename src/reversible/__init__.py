"""Proves that a customer can really leave."""

__version__ = "0.1.0"
