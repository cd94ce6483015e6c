"""Third-party code is what npm has under the pinned version, byte for byte, with its licence."""

import json

from tests.javascript import CLIENT, install_packages

VENDORED = {"noble-hashes": "@noble/hashes"}
OWN = {"README.md"}


def test_vendored() -> None:
    packages = install_packages()
    pinned = json.loads((CLIENT / "package.json").read_text("utf-8"))["devDependencies"]
    assert {path.name for path in (CLIENT / "vendor").iterdir()} == set(VENDORED)
    for directory, package in VENDORED.items():
        published = packages / package
        assert json.loads((published / "package.json").read_text("utf-8"))["version"] == pinned[package]
        names = {path.name for path in (CLIENT / "vendor" / directory).iterdir()} - OWN
        assert "LICENSE" in names
        for name in names:
            ours = (CLIENT / "vendor" / directory / name).read_bytes()
            assert ours == (published / name).read_bytes(), f"vendor/{directory}/{name} is not {package}'s"
