"""A bundle as a CycloneDX bill of materials, so that it stands beside the software it is served by.

The form is that of CycloneDX 1.6. The same bundle always gives the same text.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from concepts.bundle.manifest import Bundle
from concepts.bundle.member import BundleVariant, Member

_TYPES = {"release": "data", "concept": "data", "model": "machine-learning-model"}


def bundle_bom(bundle: Bundle, file_digest: str) -> dict[str, Any]:
    """Return a bundle's bill of materials, in JSON form.

    The bundle is the component that it describes, and depends on each version of a concept in it
    and on each model that its anchors are of.

    Args:
        bundle: The bundle.
        file_digest: SHA-256 of the file that it was read from, signatures included.
    """
    parts = [*_members(bundle), *_models(bundle)]
    about = _component("release", bundle.name, str(bundle.sequence), file_digest, _about(bundle))
    made = {"timestamp": bundle.created} if bundle.created else {}
    tool = {"type": "application", "name": "uvr-registry", "version": version("uvr-registry")}
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid5(NAMESPACE_URL, f'uvr-bundle:{file_digest}')}",
        "version": 1,
        "metadata": {**made, "tools": {"components": [tool]}, "component": about},
        "components": parts,
        "dependencies": [
            {"ref": about["bom-ref"], "dependsOn": [part["bom-ref"] for part in parts]},
            *({"ref": part["bom-ref"]} for part in parts),
        ],
    }


def _about(bundle: Bundle) -> dict[str, str]:
    return {
        "bundle-digest": bundle.digest,
        "lock-digest": bundle.lock_digest,
        "registry": bundle.registry,
        "previous-digest": bundle.previous,
        "expires": bundle.expires or "never",
        "signed-by": ", ".join(signature.key_id for signature in bundle.signatures),
        "revocations": ", ".join(bundle.revocations),
    }


def _members(bundle: Bundle) -> list[dict[str, Any]]:
    """A component for each version of a concept, by slug, with where it is looked for."""
    members: dict[str, Member] = {}
    tasks: dict[str, list[str]] = {}
    for variant in bundle.variants:
        for member in variant.members:
            members.setdefault(member.slug, member)
            tasks.setdefault(member.slug, []).append(_place(variant))
    return [
        _component("concept", slug, str(member.version), member.content_digest, {
            "name": member.name,
            "category": member.category,
            "mode": member.mode,
            "disabled-until": member.disabled_until or "",
            "looked-for-in": ", ".join(tasks[slug]),
        })
        for slug, member in sorted(members.items())
    ]  # fmt: skip


def _models(bundle: Bundle) -> list[dict[str, Any]]:
    """A component for each model and revision that anchors are of; "" fits any revision."""
    spaces = {(v.space.model, v.space.revision) for v in bundle.variants}
    return [_component("model", model, revision, None, {}) for model, revision in sorted(spaces)]


def _place(variant: BundleVariant) -> str:
    return f"{variant.space.model} {variant.space.task}"


def _component(
    kind: str, name: str, number: str, digest: str | None, properties: Mapping[str, str]
) -> dict[str, Any]:
    """A component; properties without a value are left out, and "uvr:" goes before their names."""
    told = [{"name": f"uvr:{key}", "value": value} for key, value in properties.items() if value]
    return {
        "type": _TYPES[kind],
        "bom-ref": f"{kind}:{name}@{number}",
        "name": name,
        **({"version": number} if number else {}),
        **({"hashes": [{"alg": "SHA-256", "content": digest}]} if digest else {}),
        **({"properties": told} if told else {}),
    }
