"""``Bundle``: a release ready for an engine, and the manifest that stands for it.

The manifest is canonical JSON. It lists every other file of a bundle by SHA-256 and size, so that
its own digest, which is the bundle's, and the signatures over it cover everything.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import KW_ONLY, dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from concepts.anchors import AnchorSpace
from concepts.bundle.member import BundleVariant, Member, check_digest, check_name
from concepts.canonical import canonical_json
from concepts.digest import sha256
from concepts.errors import MismatchError
from concepts.instant import is_instant
from concepts.plain import check_count, require_format, require_keys
from concepts.scorer import Scorer
from concepts.signing.envelope import BUNDLE_TYPE, Envelope, Signature, sign

if TYPE_CHECKING:  # It brings cryptography, which only signatures need.
    from concepts.signing.ed25519 import PrivateKey

FORMAT = "uvr-bundle/1"
REGISTRY_ID = re.compile(r"([0-9a-f]{32})?")
SCORERS, SCORER_END = "anchors/", ".safetensors"
HEADER = (
    "format", "registry", "name", "sequence", "previous", "lock", "created", "expires",
    "revocations",
)  # fmt: skip
PLAIN = (
    "slug", "name", "category", "version", "content_digest", "mode", "threshold", "disabled_until",
)  # fmt: skip


@dataclass(frozen=True)
class Bundle:
    """A release, ready for an engine.

    Attributes:
        name: Name of the bundle.
        sequence: Release number, from 1.
        lock_digest: Digest of the locked members; see ``lock_digest``.
        variants: One for each anchor space, sorted by task, model and digest; perhaps none.
        registry: Id of the registry that made it, 32 hex digits, "" for none.
        previous: Digest of the release before, "" for none.
        created: When the release was made, an instant, "" when that is not told.
        expires: From this instant on it is no longer valid; None for never.
        revocations: Content digests of revoked versions, sorted.
        key_lists: Signed key lists that lead to the present one, by version without a gap.
        signatures: Over the manifest, sorted by key id.
        digest: SHA-256 of the manifest, which covers every file but no signature; worked out
            when left empty.
    """

    name: str
    sequence: int
    lock_digest: str
    variants: tuple[BundleVariant, ...]
    _: KW_ONLY
    registry: str = ""
    previous: str = ""
    created: str = ""
    expires: str | None = None
    revocations: tuple[str, ...] = ()
    key_lists: tuple[Envelope, ...] = field(default=(), repr=False)
    signatures: tuple[Signature, ...] = field(default=(), repr=False)
    digest: str = ""

    def __post_init__(self) -> None:
        check_name(self.name)
        check_count("sequence", self.sequence)
        check_digest("lock_digest", self.lock_digest)
        if self.previous != "":
            check_digest("previous", self.previous)
        _check_registry(self.registry)
        _check_times(self.created, self.expires)
        object.__setattr__(self, "variants", tuple(sorted(self.variants, key=_variant_order)))
        object.__setattr__(self, "revocations", tuple(sorted(self.revocations)))
        self._check_variants()
        self._check_revocations()
        object.__setattr__(self, "signatures", self.envelope.signatures)
        digest = sha256(self.manifest())
        if self.digest not in ("", digest):
            raise ValueError("the digest is not that of the bundle; leave it empty")
        object.__setattr__(self, "digest", digest)

    def _check_variants(self) -> None:
        if len({variant.space.digest for variant in self.variants}) != len(self.variants):
            raise ValueError("an anchor space occurs twice in the bundle")
        models = [(v.space.model, v.space.task, v.space.revision) for v in self.variants]
        if len(set(models)) != len(models):
            raise ValueError("two variants are for the same model, task and revision")

    def _check_revocations(self) -> None:
        for digest in self.revocations:
            check_digest("a revocation", digest)
        if len(set(self.revocations)) != len(self.revocations):
            raise ValueError("a revocation occurs twice")
        revoked = set(self.revocations)
        for variant in self.variants:
            for member in variant.members:
                if member.content_digest in revoked:
                    raise ValueError(f"version {member.version} of '{member.slug}' is revoked")

    @property
    def slugs(self) -> list[str]:
        """The concepts of all variants, sorted."""
        return sorted({member.slug for variant in self.variants for member in variant.members})

    @property
    def files(self) -> dict[str, bytes | memoryview]:
        """Every file of the bundle but its envelope, by name."""
        members = (member for variant in self.variants for member in variant.members)
        found = {scorer_file(member): member.scorer.payload for member in members}
        return {**found, **key_list_files(self.key_lists)}

    @property
    def envelope(self) -> Envelope:
        """The manifest and its signatures."""
        return Envelope(BUNDLE_TYPE, self.manifest(), self.signatures)

    def manifest(self) -> bytes:
        """Return the exact bytes that are signed."""
        return self._manifest

    @cached_property
    def _manifest(self) -> bytes:
        return canonical_json(_encode(self))

    def sign(self, *private_keys: PrivateKey) -> Bundle:
        """Return the bundle with a signature of each key added."""
        return self.with_signatures(sign(BUNDLE_TYPE, self.manifest(), *private_keys).signatures)

    def with_signatures(self, signatures: Iterable[Signature]) -> Bundle:
        """Return the bundle with signatures added; a key's older one gives way to the new."""
        merged = {item.key_id: item for item in (*self.signatures, *signatures)}
        return replace(self, signatures=tuple(merged.values()))

    def expired_at(self, at: str) -> bool:
        """Whether it is no longer valid at an instant."""
        return self.expires is not None and at >= self.expires

    def variant_for(self, model: str, task: str, revision: str | None = None) -> BundleVariant:
        """Return the variant for a model and task.

        Args:
            model: Name of the model profile.
            task: "t2i" or "edit".
            revision: Digest of the model's weights, None for any. A variant whose space names
                no revision fits every one.

        Raises:
            MismatchError: Says what the bundle holds and what was asked for.
        """
        same = [v for v in self.variants if (v.space.model, v.space.task) == (model, task)]
        fits = [v for v in same if not revision or v.space.revision in ("", revision)]
        if len(fits) == 1:
            return fits[0]
        wanted = f"model '{model}', task '{task}'"
        if same:
            found = ", ".join(f"'{v.space.revision or 'any'}'" for v in same)
            raise MismatchError(
                f"Release {self.name}@{self.sequence} has anchors for {wanted} of "
                f"revision {found}, not for '{revision or 'any'}'. "
                "Collect anchors on these weights, or name the revision."
            )
        found = ", ".join(sorted(f"'{v.space.model}' {v.space.task}" for v in self.variants))
        raise MismatchError(
            f"Release {self.name}@{self.sequence} has no anchors for {wanted}; "
            f"it has {found or 'no members'}. Collect some, `uvr-registry collect-anchors SLUG "
            f"--model MODEL --task {task}`, and release again."
        )


def scorer_file(member: Member) -> str:
    """Return the name of the file that holds a member's scorer."""
    return f"{SCORERS}{member.scorer.payload_digest}{SCORER_END}"


def key_list_files(key_lists: tuple[Envelope, ...]) -> dict[str, bytes]:
    """Return the files of a chain of key lists, by name.

    Raises:
        ValueError: If their versions leave a gap or go back.
    """
    found: dict[str, bytes] = {}
    last = None
    for envelope in key_lists:
        version = key_list_version(envelope)
        if last is not None and version != last + 1:
            raise ValueError(f"key list {version} comes after key list {last}")
        found[f"keys/{version:04d}.json"] = envelope.to_bytes()
        last = version
    return found


def key_list_version(envelope: Envelope) -> int:
    """Return the version of the key list in an envelope; VerificationError if it holds none."""
    from concepts.signing.keys import read_key_list  # noqa: PLC0415 (it brings cryptography)

    return read_key_list(envelope).version


def read_header(manifest: Any) -> Bundle:
    """Return the bundle of a manifest without its variants; ValueError for what it cannot be."""
    require_keys(manifest, (*HEADER, "variants", "files"))
    require_format(manifest["format"], FORMAT)
    if not isinstance(manifest["revocations"], list):
        raise ValueError("revocations must be a list")
    return Bundle(
        manifest["name"],
        manifest["sequence"],
        manifest["lock"],
        (),
        revocations=tuple(manifest["revocations"]),
        **{name: manifest[name] for name in ("registry", "previous", "created", "expires")},
    )


def read_variant(item: Any, files: Mapping[str, memoryview]) -> BundleVariant:
    """Return a variant of a manifest, whose files were checked; ValueError for another form."""
    require_keys(item, ("space", "members"))
    members = tuple(_read_member(member, files) for member in item["members"])
    return BundleVariant(AnchorSpace.from_dict(item["space"]), members)


def _read_member(item: Any, files: Mapping[str, memoryview]) -> Member:
    require_keys(item, (*PLAIN, "scorer", "file"))
    digest = item["file"].removeprefix(SCORERS).removesuffix(SCORER_END)
    scorer = Scorer.from_payload(item["scorer"], files[item["file"]], digest)
    return Member(scorer=scorer, **{name: item[name] for name in PLAIN})


def _encode(bundle: Bundle) -> dict[str, Any]:
    members = [member for variant in bundle.variants for member in variant.members]
    files = {
        scorer_file(member): _listed(member.scorer.payload_digest, member.scorer.payload)
        for member in members
    }
    for name, data in key_list_files(bundle.key_lists).items():
        files[name] = _listed(sha256(data), data)
    return {
        "format": FORMAT,
        **{name: getattr(bundle, name) for name in HEADER if name not in ("format", "lock")},
        "lock": bundle.lock_digest,
        "variants": [_encode_variant(variant) for variant in bundle.variants],
        "files": files,
    }


def _encode_variant(variant: BundleVariant) -> dict[str, Any]:
    return {
        "space": variant.space.to_dict(),
        "members": [
            {
                **{name: getattr(member, name) for name in PLAIN},
                "scorer": member.scorer.to_dict(),
                "file": scorer_file(member),
            }
            for member in variant.members
        ],
    }


def _listed(digest: str, data: bytes | memoryview) -> dict[str, Any]:
    return {"sha256": digest, "size": len(data)}


def _variant_order(variant: BundleVariant) -> tuple[str, str, str]:
    return (variant.space.task, variant.space.model, variant.space.digest)


def _check_registry(registry: object) -> None:
    if not isinstance(registry, str) or not REGISTRY_ID.fullmatch(registry):
        raise ValueError("registry must be 32 hex digits, or empty")


def _check_times(created: object, expires: object) -> None:
    if created != "" and not is_instant(created):
        raise ValueError(f"created must be an instant, not {created!r}")
    if expires is not None and not is_instant(expires):
        raise ValueError(f"expires must be an instant, not {expires!r}")
    if expires is not None and str(expires) <= str(created):
        raise ValueError("expires must be later than created")
