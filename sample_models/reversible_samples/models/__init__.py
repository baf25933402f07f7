"""Which models does the vendor serve?

Three small real models, trained here in seconds on data that ships inside scikit-learn: no download, no licence
question, decisions that mean something. `README.md` beside this file is their card for people.
"""

from reversible_samples.models import digits_cnn, digits_transformer, tumour_pipeline
from reversible_samples.models.package import Sample

SAMPLES: dict[str, Sample] = {
    "digits-cnn": digits_cnn.SAMPLE,
    "digits-transformer": digits_transformer.SAMPLE,
    "tumour-pipeline": tumour_pipeline.SAMPLE,
}

__all__ = ["SAMPLES", "Sample"]
