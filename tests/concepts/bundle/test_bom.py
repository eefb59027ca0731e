import json
from pathlib import Path

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from concepts.bundle import read_bundle
from concepts.bundle.bom import bundle_bom
from concepts.digest import sha256

STORED = Path(__file__).with_name("stored.uvr")


def test_a_bundle_is_a_valid_bill_of_materials_with_its_digests():
    bundle, digest = read_bundle(STORED), sha256(STORED.read_bytes())
    bom = bundle_bom(bundle, digest)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(bom)) is None
    about = bom["metadata"]["component"]
    assert (about["name"], about["version"]) == (bundle.name, str(bundle.sequence))
    assert about["hashes"] == [{"alg": "SHA-256", "content": digest}]
    assert {"name": "uvr:bundle-digest", "value": bundle.digest} in about["properties"]
    members = {m.slug: m for variant in bundle.variants for m in variant.members}
    versions = [part for part in bom["components"] if part["type"] == "data"]
    assert [(part["name"], part["version"], part["hashes"][0]["content"]) for part in versions] == [
        (slug, str(member.version), member.content_digest)
        for slug, member in sorted(members.items())
    ]
    models = {part["name"] for part in bom["components"]} - members.keys()
    assert models == {variant.space.model for variant in bundle.variants}
    refs = [part["bom-ref"] for part in bom["components"]]
    assert len({*refs, about["bom-ref"]}) == len(refs) + 1
    assert bom["dependencies"][0] == {"ref": about["bom-ref"], "dependsOn": refs}


def test_the_same_bundle_gives_the_same_text():
    bundle = read_bundle(STORED)
    assert bundle_bom(bundle, "a" * 64) == bundle_bom(bundle, "a" * 64)
    assert (
        bundle_bom(bundle, "a" * 64)["serialNumber"] != bundle_bom(bundle, "b" * 64)["serialNumber"]
    )
