"""How does a model answer again, from its ONNX file alone, as it did at the vendor's?"""

from reversible.serving.model import ServedModel
from reversible.serving.replay import Replayed, replay
from reversible.serving.server import ModelServer

__all__ = ["ModelServer", "Replayed", "ServedModel", "replay"]
