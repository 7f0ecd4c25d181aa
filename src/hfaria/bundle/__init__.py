"""Bundles: Hugging Face caches on removable media, and the way into a room without network."""
