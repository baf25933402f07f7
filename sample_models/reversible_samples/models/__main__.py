"""`python -m reversible_samples.models FOLDER` trains what the vendor serves, each model in a folder of its own.

What an earlier call left there is kept where the same code would make it again.
"""

import sys
from pathlib import Path

from reversible_samples.models import SAMPLES

if __name__ == "__main__":
    for name, sample in SAMPLES.items():
        sample.keep(Path(sys.argv[1]) / name)
