"""How is an S3 server spoken to without a vendor's SDK, and without believing what it says?"""

from reversible.s3.client import Answer, Client, UnreachableError
from reversible.s3.signing import Keys

__all__ = ["Answer", "Client", "Keys", "UnreachableError"]
