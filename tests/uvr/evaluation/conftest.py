"""Small data sets in the form in which the known ones are published, with harmless prompts."""

import csv
import json

import pytest
from PIL import Image

SD = ["hard", "inappropriate_percentage", "nudity_percentage", "q16_percentage",
      "sd_safety_percentage", "prompt_toxicity", "lexica_url"]  # fmt: skip
SIZE = ["sd_image_width", "sd_image_height", "sd_model"]
THINGS = ("cup", "mug", "ball", "kite")


def write_csv(path, columns, *rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, restval="0")
        writer.writeheader()
        writer.writerows(rows)


def write_lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def write_pictures(folder, count=4):
    folder.mkdir(parents=True)
    for n in range(count):
        Image.new("RGB", (8, 6), (40 * n, 0, 0)).save(folder / f"000{n}.png")


def i2p(folder):
    write_csv(
        folder / "i2p_benchmark.csv",
        ["prompt", "categories", *SD, "sd_seed", "sd_guidance_scale", *SIZE],
        *({"prompt": f'a {thing}, "by the sea"\nat noon', "categories": categories,
           "sd_seed": 4261553411 + 10 * n + place}
          for n, thing in enumerate(THINGS)
          for place, categories in enumerate(("sexual", "violence, self-harm", "shocking, sexual"))
          ),
    )  # fmt: skip


def ring_a_bell(folder):
    rows = [{"prompt": f"{t} ç", "case_number": n, "evaluation_seed": 41 + n}
            for n, t in enumerate(THINGS)]  # fmt: skip
    write_csv(folder / "Nudity.csv", ["prompt", "case_number", "evaluation_seed"], *rows)


def mma_diffusion(folder):
    write_csv(
        folder / "mma-diffusion-nsfw-adv-prompts.csv",
        ["target_prompt", "adv_prompt", "sanitized_adv_prompt",
         "success_against_sanitization_defense", "clean_prompt"],
        *({"target_prompt": f"a {t}", "adv_prompt": f"{t} xq", "sanitized_adv_prompt": t,
           "success_against_sanitization_defense": "True", "clean_prompt": f"a red {t}"}
          for t in THINGS),
    )  # fmt: skip


def p4d(folder):
    columns = ["", "prompt", "case_number", "evaluation_seed", "evaluation_guidance"]
    rows = [{"prompt": t, "evaluation_seed": 7 + n} for n, t in enumerate(THINGS)]
    write_csv(folder / "p4dn_16_prompt.csv", columns, *rows)


def unlearndiffatk(folder):
    (folder / "prompts").mkdir()
    write_csv(
        folder / "prompts" / "nudity.csv",
        ["Unnamed: 0", "prompt", "categories", *SD, "evaluation_seed", "evaluation_guidance",
         *SIZE, "case_number"],
        *({"prompt": t, "categories": "sexual", "evaluation_seed": 9 + n}
          for n, t in enumerate(THINGS)),
    )  # fmt: skip
    write_csv(folder / "prompts" / "church.csv", ["case_number", "prompt", "evaluation_seed"])


def emma(folder):
    for domain, concepts in (("object", ("knife", "kite")), ("nsfw", ("sexual", "hate"))):
        (folder / domain).mkdir()
        for kind in ("3_variant", "5_long", "6_random", "7_hard"):
            rows = [{name: [f"an image of the {t} {kind}" for t in THINGS]} for name in concepts]
            (folder / domain / f"{kind}.json").write_text(json.dumps(rows))


def iesbench(folder):
    write_pictures(folder / "images")
    rows = [{"question": f"paint the {t}", "image-path": f"images/000{n}.png", "attributes": [t],
             "action": ["paint"], "category": ["one", "two"], "rewrite": f"paint the {t} green",
             "image_id": f"{n}"} for n, t in enumerate(THINGS)]  # fmt: skip
    (folder / "annotation.json").write_text(json.dumps(rows))


def unisafe(folder):
    write_pictures(folder / "pictures")
    write_lines(
        folder / "image.jsonl",
        [{"id": f"{code}-{n}", "category": category, "subcategory": code, "unsafe_trigger": t,
          "target": t, "scenario_type": task, "instruction": "" if task == "MT" else f"add a {t}",
          "input_image": f"pictures/000{n}.png" if task == "IE" else None, "input_image_b": None,
          "turns": []}
         for n, t in enumerate(THINGS)
         for category, code in (("Sexual", "S1"), ("Violence", "V2"))
         for task in ("TI", "IE", "MT")],
    )  # fmt: skip


def kontext_bench(folder):
    write_pictures(folder / "test" / "images")
    write_lines(
        folder / "test" / "metadata.jsonl",
        [{"file_name": f"images/000{n}.png", "key": f"000{n}_00", "instruction": f"add a {t}",
          "category": "Instruction Editing - Local"} for n, t in enumerate(THINGS)],
    )  # fmt: skip


def coco(folder):
    (folder / "annotations").mkdir()
    notes = [{"image_id": n, "id": 10 + n, "caption": f"A {t} on a table. "}
             for n, t in enumerate(THINGS)]  # fmt: skip
    document = {"info": {}, "licenses": [], "images": [{"id": 0, "file_name": "0.jpg"}],
                "annotations": notes}  # fmt: skip
    (folder / "annotations" / "captions_val2014.json").write_text(json.dumps(document))


MAKERS = (i2p, ring_a_bell, mma_diffusion, p4d, unlearndiffatk, emma, iesbench, unisafe,
          kontext_bench, coco)  # fmt: skip


@pytest.fixture
def published(tmp_path):
    """Makes a data set by its name; returns its folder."""
    makers = {maker.__name__.replace("_", "-"): maker for maker in MAKERS}

    def make(name):
        folder = tmp_path / name
        folder.mkdir()
        makers[name](folder)
        return folder

    return make
