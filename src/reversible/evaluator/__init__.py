"""What does an ONNX model compute, in float64, without onnxruntime?

A second engine: numpy and onnx alone, written from the operators' specification. Where onnxruntime and this package
agree, an answer does not rest on one implementation; in float64 it is the reference from which an output's error is
measured.
"""

from reversible.evaluator.evaluator import Evaluator, Value
from reversible.evaluator.limits import Limits
from reversible.evaluator.registry import coverage

__all__ = ["Evaluator", "Limits", "Value", "coverage"]
