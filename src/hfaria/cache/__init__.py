"""The destination: a Hugging Face cache or a plain folder; digests, locks, publishing."""
