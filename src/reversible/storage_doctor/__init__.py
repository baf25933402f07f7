"""What does an S3 storage really do: each operation tried, read back and hashed, and never believed?

`examine` tries them against the customer's own bucket; `Settings.of` says how to ship there.
"""

from reversible.storage_doctor.bench import Operation, Outcome, Trial
from reversible.storage_doctor.doctor import OPERATIONS, Examination, examine
from reversible.storage_doctor.settings import Settings

__all__ = ["OPERATIONS", "Examination", "Operation", "Outcome", "Settings", "Trial", "examine"]
