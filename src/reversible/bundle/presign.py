"""How may a host read or write one object without holding a key?

By an address that we sign, for one object, one method and some hours: AWS Signature Version 4 in the query string, as
every S3 server takes it ("Authenticating Requests: Using Query Parameters", Amazon S3 API Reference).
"""

import hashlib
import hmac
from datetime import UTC, datetime
from urllib.parse import quote, urlsplit

EXPIRES_S = 12 * 3600


def presign(
    method: str, endpoint_url: str, bucket: str, key: str, *, region: str, access_key: str, secret_key: str,
    at: datetime | None = None, expires_s: int = EXPIRES_S,
) -> str:  # fmt: skip
    """The signed address, path style.

    Args:
        method: "GET" or "PUT".
        at: The moment of signing, aware; now when None.
        expires_s: Seconds that it is good for.
    """
    moment = (at or datetime.now(UTC)).astimezone(UTC)
    day, stamp = f"{moment:%Y%m%d}", f"{moment:%Y%m%dT%H%M%SZ}"
    parts = urlsplit(endpoint_url)
    path = f"{parts.path.rstrip('/')}/{quote(bucket)}/{quote(key, safe='/~')}"
    scope = f"{day}/{region}/s3/aws4_request"
    query = {
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256", "X-Amz-Credential": f"{access_key}/{scope}", "X-Amz-Date": stamp,
        "X-Amz-Expires": str(expires_s), "X-Amz-SignedHeaders": "host",
    }  # fmt: skip
    text = "&".join(f"{quote(name, safe='~')}={quote(value, safe='~')}" for name, value in sorted(query.items()))
    request = f"{method}\n{path}\n{text}\nhost:{parts.netloc}\n\nhost\nUNSIGNED-PAYLOAD"
    to_sign = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    signing = f"AWS4{secret_key}".encode()
    for word in (day, region, "s3", "aws4_request"):
        signing = hmac.digest(signing, word.encode(), "sha256")
    signature = hmac.digest(signing, to_sign.encode(), "sha256").hex()
    return f"{parts.scheme}://{parts.netloc}{path}?{text}&X-Amz-Signature={signature}"
