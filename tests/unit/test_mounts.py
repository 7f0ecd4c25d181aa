"""What the kernel's list of mounts says."""

from __future__ import annotations

import pytest

from hfaria.rules.mounts import display_name, filesystem_type

MOUNTINFO = """\
21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
40 21 7:0 / /media/a\\040b rw,nosuid - fuseblk /dev/loop0 rw,user_id=0
41 21 8:17 / /media/c rw shared:5 master:2 - vfat /dev/sdb1 rw
42 21 8:17 / /media/d rw - exfat /dev/sdb1 rw
garbage
"""


@pytest.mark.parametrize(
    ("device", "kind"),
    [("8:1", "ext4"), ("7:0", "fuseblk"), ("8:17", "exfat"), ("9:9", ""), ("8:", "")],
)
def test_the_type_of_a_device_is_that_of_its_last_mount(device: str, kind: str) -> None:
    assert filesystem_type(MOUNTINFO, device) == kind


@pytest.mark.parametrize(
    ("kind", "has_links", "name"),
    [
        ("fuseblk", True, "NTFS"),
        ("fuseblk", False, "exFAT"),
        ("vfat", False, "FAT32"),
        ("ext4", True, "ext4"),
        ("", False, ""),
    ],
)
def test_types_are_named_as_people_do(kind: str, has_links: bool, name: str) -> None:
    assert display_name(kind, has_hard_links=has_links) == name
