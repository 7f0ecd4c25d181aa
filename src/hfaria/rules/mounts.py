"""Read the kernel's list of mounts, and what a filesystem's type says about it."""

from __future__ import annotations

FAT = frozenset({"vfat", "msdos"})
WITHOUT_SIZE_LIMIT = frozenset(
    {
        "apfs", "bcachefs", "btrfs", "cifs", "exfat", "ext2", "ext3", "ext4", "f2fs", "fuse.exfat",
        "fuse.ntfs-3g", "fuseblk", "hfsplus", "nfs", "nfs4", "ntfs", "ntfs3", "overlay", "smb3",
        "tmpfs", "udf", "xfs", "zfs",
    }
)  # fmt: skip
"""Types whose files may be larger than anything on the Hub. ``fuseblk`` is exFAT or NTFS."""
_NAMES = {
    "vfat": "FAT32",
    "msdos": "FAT",
    "exfat": "exFAT",
    "fuse.exfat": "exFAT",
    "fuse.ntfs-3g": "NTFS",
    "ntfs": "NTFS",
    "ntfs3": "NTFS",
}


def filesystem_type(mountinfo: str, device: str) -> str:
    """Return the type of the filesystem on ``device`` (``major:minor``), or an empty string.

    ``mountinfo`` is the text of /proc/self/mountinfo; see proc(5). The last mount counts.
    """
    kind = ""
    for line in mountinfo.splitlines():
        # id parent major:minor root mountpoint options … - type source superoptions
        left, _, right = line.partition(" - ")
        fields = left.split(" ")
        if len(fields) > 2 and fields[2] == device and right:  # noqa: PLR2004
            kind = right.split(" ")[0]
    return kind


def display_name(kind: str, *, has_hard_links: bool) -> str:
    """Name a type as its users do; FUSE tells block devices' filesystems apart by links alone."""
    if kind == "fuseblk":
        return "NTFS" if has_hard_links else "exFAT"
    return _NAMES.get(kind, kind)
