"""The public sets: where they come from, under which licence, and what to check them against."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Archive:
    """A file to download and the entries to take out of it.

    `members` matches the wanted entries whole; its group `path` is where they go below the set's folder. `checksum`
    is `sha256:...` or `md5:...` as published, `max_bytes` bounds what the archive may unpack to.
    """

    url: str
    file: str
    checksum: str
    members: re.Pattern[str]
    max_bytes: int


@dataclass(frozen=True)
class PublicSet:
    """A public set of recordings, unpacked in its authors' layout."""

    name: str
    title: str
    homepage: str
    licence: str
    citation: str
    archives: tuple[Archive, ...]


_MENDELEY = "https://data.mendeley.com/public-files/datasets/468j46mzdv/files"

# The checksums are published ones: FSDD's by TensorFlow Datasets, N-MNIST's by tonic and SpikingJelly; pendigits'
# is quoted alike by several projects that use UCI's archive.
PUBLIC_SETS = {
    one.name: one
    for one in (
        PublicSet(
            "fsdd",
            "Free Spoken Digit Dataset 1.0.9",
            "https://github.com/Jakobovski/free-spoken-digit-dataset",
            "CC BY-SA 4.0",
            "Z. Jackson, C. Souza, J. Flaks, Y. Pan, H. Nicolas, A. Thite, Free Spoken Digit Dataset, Zenodo, 2018. "
            "doi:10.5281/zenodo.1342401",
            (
                Archive(
                    "https://github.com/Jakobovski/free-spoken-digit-dataset/archive/v1.0.9.tar.gz",
                    "fsdd-1.0.9.tar.gz",
                    "sha256:8bc44cde129d505cbbb6b365c09f80c663f2aa77578afc634e6141a2f87100c0",
                    re.compile(r"[^/]+/(?P<path>recordings/[^/]+\.wav)"),
                    200 << 20,
                ),
            ),
        ),
        PublicSet(
            "nmnist",
            "N-MNIST",
            "https://www.garrickorchard.com/datasets/n-mnist",
            "CC BY-SA 4.0",
            "G. Orchard, A. Jayawant, G. Cohen, N. Thakor, Converting Static Image Datasets to Spiking Neuromorphic "
            "Datasets Using Saccades, Frontiers in Neuroscience 9:437, 2015. doi:10.3389/fnins.2015.00437",
            (
                Archive(
                    f"{_MENDELEY}/39c25547-014b-4137-a934-9d29fa53c7a0/file_downloaded",
                    "nmnist-train.zip",
                    "md5:20959b8e626244a1b502305a9e6e2031",
                    re.compile(r"(?P<path>Train/[0-9]/[^/]+\.bin)"),
                    4 << 30,
                ),
                Archive(
                    f"{_MENDELEY}/05a4d654-7e03-4c15-bdfa-9bb2bcbea494/file_downloaded",
                    "nmnist-test.zip",
                    "md5:69ca8762b2fe404d9b9bad1103e97832",
                    re.compile(r"(?P<path>Test/[0-9]/[^/]+\.bin)"),
                    1 << 30,
                ),
            ),
        ),
        PublicSet(
            "pendigits",
            "Pen-Based Recognition of Handwritten Digits",
            "https://archive.ics.uci.edu/dataset/81/pen+based+recognition+of+handwritten+digits",
            "CC BY 4.0",
            "E. Alpaydin, F. Alimoglu, Pen-Based Recognition of Handwritten Digits, UCI Machine Learning Repository, "
            "1996. doi:10.24432/C5MG6K",
            (
                Archive(
                    "https://archive.ics.uci.edu/static/public/81/pen+based+recognition+of+handwritten+digits.zip",
                    "pendigits.zip",
                    "sha256:1e02bea023613c2b11c9492f6f34caf975420455934f3527d270cee9a1f03b64",
                    re.compile(r"(?:[^/]+/)*(?P<path>pendigits-orig\.t(?:ra|es)\.Z)"),
                    50 << 20,
                ),
            ),
        ),
    )
}
