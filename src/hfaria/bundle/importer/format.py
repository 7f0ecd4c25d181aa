"""The format of a bundle: names, sizes, patterns, and where a stick holds what."""

from __future__ import annotations

import hashlib
import re

BUNDLE_FORMAT = "hfaria-bundle/1"
STICK_FORMAT = "hfaria-stick/1"
CAPABILITIES = frozenset({"pool-parts", "packs"})
SIGNATURE_NAMESPACE = "hfaria-bundle"

BUNDLE_NAME = "bundle.json"
STICK_NAME = "stick.json"
IMPORTER_NAME = "import_bundle.py"
JOURNAL_NAME = ".hfaria-journal.jsonl"  # its presence says that the stick was not finished
HUB_FOLDER = "data/hub"
POOL_FOLDER = "data/pool"
PACK_FOLDER = "data/pool/packs"

PIECE_SIZE = 16 << 20
FAT32_LARGEST_FILE = (1 << 32) - 1
MOST_INT = (1 << 63) - 1

IO_SIZE = 1 << 20

COMMIT = re.compile(r"[0-9a-f]{40}")
SHA256 = re.compile(r"[0-9a-f]{64}")
ETAG = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
REPO_ID = re.compile(r"[A-Za-z0-9._-]+(?:/[A-Za-z0-9._-]+)?")
REPO_TYPES = ("model", "dataset", "space", "kernel")
UTC_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
POOL_PATH = re.compile(r"data/pool/([0-9a-f]{2})/([0-9a-f]{64})\.o([0-9a-f]{12})")
PACK_PATH = re.compile(r"data/pool/packs/[0-9a-f]{64}\.tar")
UNSAFE_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".npy", ".py", ".h5")

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029]")


def bag_name(set_id: str, number: int) -> str:
    """Return the name of a stick's folder."""
    return f"hfb-{set_id[:8]}-s{number:02d}"


def pool_path(sha256: str, offset: int) -> str:
    """Return where a stick holds bytes of an object that is not in place."""
    return f"{POOL_FOLDER}/{sha256[:2]}/{sha256}.o{offset:012x}"


def in_place_path(folder: str, commit: str, path: str) -> str:
    """Return where a stick holds a file that can be read from the stick itself."""
    return f"{HUB_FOLDER}/{folder}/snapshots/{commit}/{path}"


def receipt_code(set_id: str) -> str:
    """Return the 20 characters that say on paper that a set arrived whole."""
    digest = hashlib.sha256(b"hfaria-receipt/1\n" + set_id.encode("ascii")).digest()
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
    bits = int.from_bytes(digest[:4], "big") >> 2
    letters = "".join(alphabet[bits >> shift & 31] for shift in range(25, -1, -5))
    return f"HFR1-{set_id[:8]}-{letters}"


def piece_count(length: int, piece_size: int) -> int:
    """Return how many pieces `length` bytes have; nothing is one piece of no bytes."""
    return max(1, -(-length // piece_size))


SSH_SUFFIX, MINISIGN_SUFFIX = ".sig", ".minisig"

TAG_FILES = frozenset(
    [
        *("bagit.txt", "bag-info.txt", "manifest-sha256.txt", "tagmanifest-sha256.txt"),
        *(BUNDLE_NAME, BUNDLE_NAME + SSH_SUFFIX, BUNDLE_NAME + MINISIGN_SUFFIX, STICK_NAME),
        *(IMPORTER_NAME, "REVIEW.txt", "README.txt", "whole-sha256.txt"),
    ]
)
