"""A small French company on a vendor's platform: real servers, real data, real models."""
