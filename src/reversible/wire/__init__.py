"""What do the bytes of a request ask, and those of an answer say?

One meaning for each form that model servers speak: SageMaker's containers (JSON, CSV, NumPy, an image as it is),
Hugging Face's toolkit (`{"inputs": [...]}`), KServe's first protocol (`{"instances": [...]}`) and its second
(tensors by name). Whoever records an endpoint, whoever verifies and whoever serves reads them here.
"""

from reversible.wire.answers import AnswerError, decode_answers, encode, written
from reversible.wire.fields import CSV, IMAGES, JSON, NPY, TEXT, Arrays, Field, fitting
from reversible.wire.requests import RequestError, UnknownTypeError, decode

__all__ = [
    "CSV", "IMAGES", "JSON", "NPY", "TEXT", "AnswerError", "Arrays", "Field", "RequestError", "UnknownTypeError",
    "decode", "decode_answers", "encode", "fitting", "written",
]  # fmt: skip
