"""The bundle: a BagIt bag (RFC 8493) that holds all that verification needs. Format: docs/bundle-format.md."""
