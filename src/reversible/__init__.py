"""Proves that a customer can really leave."""

import os

__version__ = "0.1.0"

# ONNX Runtime 1.29 and later sends hashes of models to its maker some ten seconds after a session is made, from the
# official Linux wheels, unless this stands in the environment before it is loaded; its call
# `disable_telemetry_events` comes too late. Here, because no module of ours loads before.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
