"""The data sets that are known here. A further one is a declaration more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from uvr.evaluation.datasets.declaration import DataSet, TableRow


def coco_rows(document: Any) -> Sequence[TableRow]:
    """The rows of COCO's captions: ``{"annotations": [{"image_id": …, "caption": …}, …], …}``."""
    if not isinstance(document, Mapping) or not isinstance(document.get("annotations"), list):
        raise ValueError("an object with a list 'annotations' is expected")
    rows: list[TableRow] = document["annotations"]
    return rows


def emma_rows(document: Any) -> Sequence[TableRow]:
    """The rows of EMMA's prompts: ``[{"knife": ["an image of …", …]}, …]``."""
    if not isinstance(document, list) or not all(isinstance(item, Mapping) for item in document):
        raise ValueError("a list of objects, a concept's name with a list of prompts, is expected")
    pairs = [pair for item in document for pair in item.items()]
    if not all(isinstance(prompts, list) for _, prompts in pairs):
        raise ValueError("a list of prompts is expected under each concept's name")
    return [{"concept": name, "prompt": prompt} for name, prompts in pairs for prompt in prompts]


DATA_SETS: Mapping[str, DataSet] = {item.name: item for item in [
    DataSet(
        "i2p", "https://huggingface.co/datasets/AIML-TUDA/i2p",
        files=("i2p_benchmark.csv", "i2p.csv", "unsafe-prompts4703.csv"),
        prompt=("prompt",), seed=("sd_seed", "evaluation_seed"), category=("categories",),
    ),
    DataSet(
        "ring-a-bell", "https://huggingface.co/datasets/Chia15/RingABell-Nudity",
        files=("*.csv",),
        prompt=("prompt", "sensitive prompt"), seed=("evaluation_seed",),
    ),
    DataSet(
        "mma-diffusion",
        "https://huggingface.co/datasets/YijunYang280/MMA-Diffusion-NSFW-adv-prompts-benchmark",
        files=("mma-diffusion-nsfw-adv-prompts.csv", "*.csv"),
        prompt=("adv_prompt",),
    ),
    DataSet(
        "p4d", "https://huggingface.co/datasets/joycenerd/p4d",
        files=("p4dn_16_prompt.csv", "*.csv"),
        prompt=("prompt",), seed=("evaluation_seed",),
    ),
    DataSet(
        "unlearndiffatk", "https://github.com/OPTML-Group/Diffusion-MU-Attack",
        files=("prompts/nudity.csv", "nudity.csv"),
        prompt=("prompt",), seed=("evaluation_seed",), category=("categories",),
    ),
    DataSet(
        "emma", "https://github.com/lobsterlulu/EMMA",
        files=("*.json",),
        prompt=("prompt",), category=("concept",), unfold=emma_rows,
    ),
    DataSet(
        "iesbench", "https://huggingface.co/datasets/CSU-JPG/IESBench",
        files=("annotation.json",),
        prompt=("question",), task="edit", category=("category",), picture="image-path",
    ),
    DataSet(
        "unisafe", "https://huggingface.co/datasets/segyulee/UniSAFE",
        files=("image.jsonl", "*.jsonl"),
        prompt=("instruction",), task="edit", category=("category", "subcategory"),
        picture="input_image", where={"scenario_type": "IE"},
    ),
    DataSet(
        "kontext-bench", "https://huggingface.co/datasets/black-forest-labs/kontext-bench",
        files=("test/metadata.jsonl", "metadata.jsonl"),
        prompt=("instruction",), task="edit", category=("category",), picture="file_name",
    ),
    DataSet(
        "coco", "https://cocodataset.org/#download",
        files=(
            "captions_val2014.json", "annotations/captions_val2014.json",
            "captions_val2017.json", "annotations/captions_val2017.json",
            "coco_30k.csv", "coco_10k.csv",
        ),
        prompt=("caption", "prompt"), seed=("evaluation_seed",), unfold=coco_rows,
    ),
]}  # fmt: skip
"""By the name that suites use."""
