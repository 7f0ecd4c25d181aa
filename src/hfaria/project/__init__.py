"""The user's own files beside their code: the manifest, and the lock that belongs to it."""
