"""What is set on the bucket as a whole: who may read it, what is erased when, what is kept?"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from reversible_exporters.s3_client import action, error_code, is_denied, refusal

# Class of setting -> (client method, the keys of its answer that matter, the codes that say "none is set").
_SETTINGS: Mapping[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    "acl": ("get_bucket_acl", ("Owner", "Grants"), ()),
    "cors": ("get_bucket_cors", ("CORSRules",), ("NoSuchCORSConfiguration",)),
    "encryption": (
        "get_bucket_encryption", ("ServerSideEncryptionConfiguration",),
        ("ServerSideEncryptionConfigurationNotFoundError",),
    ),
    "lifecycle": ("get_bucket_lifecycle_configuration", ("Rules",), ("NoSuchLifecycleConfiguration",)),
    "logging": ("get_bucket_logging", ("LoggingEnabled",), ()),
    "notification": (
        "get_bucket_notification_configuration",
        ("TopicConfigurations", "QueueConfigurations", "LambdaFunctionConfigurations", "EventBridgeConfiguration"), (),
    ),
    "object lock": (
        "get_object_lock_configuration", ("ObjectLockConfiguration",), ("ObjectLockConfigurationNotFoundError",),
    ),
    "ownership": ("get_bucket_ownership_controls", ("OwnershipControls",), ("OwnershipControlsNotFoundError",)),
    "policy": ("get_bucket_policy", ("Policy",), ("NoSuchBucketPolicy",)),
    "public access block": (
        "get_public_access_block", ("PublicAccessBlockConfiguration",), ("NoSuchPublicAccessBlockConfiguration",),
    ),
    "replication": (
        "get_bucket_replication", ("ReplicationConfiguration",), ("ReplicationConfigurationNotFoundError",),
    ),
    "tagging": ("get_bucket_tagging", ("TagSet",), ("NoSuchTagSet", "NoSuchTagSetError")),
    "versioning": ("get_bucket_versioning", ("Status", "MFADelete"), ()),
    "website": (
        "get_bucket_website", ("RedirectAllRequestsTo", "IndexDocument", "ErrorDocument", "RoutingRules"),
        ("NoSuchWebsiteConfiguration",),
    ),
}  # fmt: skip
UNKNOWN = ("NotImplemented", "MethodNotAllowed", "501", "405", "XNotImplemented", "UnsupportedOperation")


@dataclass(frozen=True)
class BucketSettings:
    """Per class: what is set; the missing right where it was refused; and what this server does not have at all."""

    found: dict[str, Any] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    unsupported: list[str] = field(default_factory=list)


def read(client: Any, bucket: str) -> BucketSettings:
    """Ask for every class of setting.

    Raises:
        SourceError: the source fails in another way than by a missing right.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    settings = BucketSettings()
    for name, (method, keys, none) in _SETTINGS.items():
        try:
            answer = getattr(client, method)(Bucket=bucket)
        except ClientError as error:
            if error_code(error) in none:
                continue
            if error_code(error) in UNKNOWN:
                settings.unsupported.append(name)
            elif is_denied(error):
                settings.refused[name] = f"access denied: {action(error.operation_name)}"
            else:
                raise refusal(error, f"bucket {bucket}: {name}") from error
        except BotoCoreError as error:
            raise refusal(error, f"bucket {bucket}: {name}") from error
        else:
            value = {key: answer[key] for key in keys if answer.get(key)}
            if isinstance(value.get("Policy"), str):
                value["Policy"] = json.loads(value["Policy"])
            if value:
                settings.found[name] = json.loads(json.dumps(value, default=str, sort_keys=True))
    return settings
