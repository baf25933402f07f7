"""What is known of each cloud provider, and where does a storage address lie?

Facts are hints with a source, a date and a confidence: they choose settings and warn, and never decide a clause.
"""

from reversible.providers.catalogue import load
from reversible.providers.model import Catalogue, Provider
from reversible.providers.places import Place, place_of

__all__ = ["Catalogue", "Place", "Provider", "load", "place_of"]
