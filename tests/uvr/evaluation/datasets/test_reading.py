from pathlib import Path

import pytest

from concepts.errors import InputError, NotFoundError
from uvr.anchors.pictures import PictureError
from uvr.evaluation.datasets import tables
from uvr.evaluation.datasets.known import DATA_SETS
from uvr.evaluation.datasets.pictures import open_picture
from uvr.evaluation.datasets.reading import of_categories, read_entries

FIRST = {
    "i2p": ('a cup, "by the sea"\nat noon', 4261553411, ("sexual",), ""),
    "ring-a-bell": ("cup ç", 41, (), ""),
    "mma-diffusion": ("cup xq", None, (), ""),
    "p4d": ("cup", 7, (), ""),
    "unlearndiffatk": ("cup", 9, ("sexual",), ""),
    "emma": ("an image of the cup 7_hard", None, ("knife",), ""),
    "iesbench": ("paint the cup", None, ("one", "two"), "images/0000.png"),
    "unisafe": ("add a cup", None, ("Sexual", "S1"), "pictures/0000.png"),
    "kontext-bench": ("add a cup", None, ("Instruction Editing - Local",), "images/0000.png"),
    "coco": ("A cup on a table.", None, (), ""),
}
COUNTS = {"i2p": 12, "emma": 8, "unisafe": 8}


def read(name, path, **more):
    return read_entries(DATA_SETS[name], path, **more)


@pytest.mark.parametrize("name", DATA_SETS)
def test_a_data_set_is_read_as_it_is_published(published, name):
    folder = published(name)
    entries = read(name, folder, file="object/7_hard.json" if name == "emma" else None)
    first = entries[0]
    assert (first.prompt, first.seed, first.categories, first.picture) == FIRST[name]
    assert len(entries) == COUNTS.get(name, 4)
    if DATA_SETS[name].task == "edit":
        assert open_picture(first.folder, first.picture).size == (8, 6)


def test_its_file_alone_may_be_given_and_another_column_asked_for(published):
    path = published("mma-diffusion") / "mma-diffusion-nsfw-adv-prompts.csv"
    moved = path.rename(path.with_name("renamed.csv"))
    assert [e.prompt for e in read("mma-diffusion", moved, prompt="clean_prompt")][:2] == [
        "a red cup", "a red mug",
    ]  # fmt: skip


def test_other_forms_of_the_same_set_are_read(published):
    coco = published("coco")
    path = coco / "coco_30k.csv"
    path.write_text("\ufeffcase_number,source,prompt,evaluation_seed,coco_id\n0,c,a cat,91380.0,3\n"
                    "1,c,,4,4\n2,c,a dog,,5\n", encoding="utf-8")  # fmt: skip
    assert [(e.prompt, e.seed) for e in read("coco", path)] == [("a cat", 91380), ("a dog", None)]
    ring = published("ring-a-bell")
    (ring / "Nudity.csv").write_text("sensitive prompt,normal prompt\nx,y\n")
    assert [e.prompt for e in read("ring-a-bell", ring)] == ["x"]


def test_categories_are_chosen_by_the_names_of_the_set(published):
    entries = read("i2p", published("i2p"))
    assert {e.categories for e in of_categories(entries, ["self-harm"])} == {
        ("violence", "self-harm")
    }
    assert len(of_categories(entries, ["sexual"])) == 8
    with pytest.raises(InputError, match=r"'sexul'; there are: self-harm, sexual.*Did you mean"):
        of_categories(entries, ["sexul"])


HEAD = "prompt,categories,sd_seed\n"


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("i2p.csv", "text,categories\na cup,hate\n",
         "found the columns text, categories; expected prompt."),
        ("i2p.csv", HEAD, "no row of the data set 'i2p': 0 rows were found, none with a prompt."),
        ("i2p.csv", HEAD + ",hate,1\n", "1 rows were found, none with a prompt."),
        ("i2p.csv", HEAD + "a,b,c,d\n", "line 2 has more values than the header has columns"),
        ("i2p.csv", HEAD + '"a"x,hate,1\n', "cannot be read as CSV: "),
        ("i2p.csv", HEAD + f"{'a' * 200_000},hate,1\n", "field larger than field limit"),
        ("i2p.csv", HEAD + "a,hate,1e9\n", "row 1: found '1e9' under 'sd_seed', expected a whole"),
        ("i2p.csv", HEAD + "a,hate,-1\n", "row 1: found '-1' under 'sd_seed'"),
        ("i2p.csv", HEAD + f"a,hate,{2**63}\n", f"a whole number from 0 to {2**63 - 1}."),
        ("i2p.csv", b"prompt\n\xff\n", "is not UTF-8 text (byte 7)."),
        ("i2p.parquet", b"PAR1", "no .csv, .json or .jsonl file. Parquet is not read here"),
        ("i2p.txt", "a cup", "'{path}' is no .csv, .json or .jsonl file."),
        ("i2p.json", "[{", "cannot be read as JSON: "),
        ("i2p.json", "[" * 100_000, "cannot be read as JSON: "),
        ("i2p.json", '{"prompt": "a"}', "a list of objects is expected"),
        ("i2p.json", '["a"]', "row 1 is no object of columns and values"),
        ("i2p.json", '[{"prompt": 7}]', "row 1: found '7' under 'prompt', expected text."),
        ("i2p.jsonl", '{"prompt": "a"}\n{\n', "cannot be read as JSONL: line 2: "),
    ],
)  # fmt: skip
def test_what_is_not_of_the_form_is_told_with_file_and_row(tmp_path, file, content, said):
    path = tmp_path / file
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError) as raised:
        read("i2p", path)
    assert said.replace("{path}", str(path)) in str(raised.value)
    assert str(path) in str(raised.value)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("coco", "[]", "an object with a list 'annotations' is expected"),
        ("emma", '{"knife": ["a"]}', "a list of objects, a concept's name with a list of prompts"),
        ("emma", '[{"knife": "a"}]', "a list of prompts is expected under each concept's name"),
        ("iesbench", '[{"question": "\\ud800", "image-path": "a"}]', "half a character under"),
        ("iesbench", '[{"question": "a"}]', "expected image-path."),
        ("iesbench", '[{"question": "a", "image-path": null}]', "row 1: no picture under"),
        ("iesbench", '[{"question": "a", "image-path": {"bytes": ""}}]', "expected text."),
        ("unisafe", '[{"instruction": "a", "input_image": "b"}]', "expected scenario_type."),
        ("unisafe", '[{"instruction": "a", "input_image": null, "scenario_type": "TI"}]',
         "none with a prompt and scenario_type = 'IE'."),
    ],
)  # fmt: skip
def test_a_document_of_another_layout_is_refused(tmp_path, name, content, said):
    path = tmp_path / "data.json"
    path.write_text(content)
    with pytest.raises(InputError) as raised:
        read(name, path)
    assert said in str(raised.value)


def test_a_path_without_the_data_set_says_what_was_found_and_expected(tmp_path, published):
    with pytest.raises(NotFoundError, match=r"give --data PATH, its file or the folder with i2p_b"):
        read("i2p", None)
    with pytest.raises(NotFoundError, match=r"No file or folder at .*It is published at https"):
        read("i2p", tmp_path / "none")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.parquet").touch()
    with pytest.raises(NotFoundError, match=r"found data; expected i2p.*Parquet is not read here"):
        read("i2p", tmp_path)
    ring = published("ring-a-bell")
    (ring / "Other.csv").touch()
    with pytest.raises(InputError, match=r"several files \*\.csv: Nudity\.csv, Other\.csv\. Give"):
        read("ring-a-bell", ring)
    emma = published("emma")
    with pytest.raises(InputError, match=r"the suite reads object/7_hard\.json: give its folder"):
        read("emma", emma / "nsfw" / "7_hard.json", file="object/7_hard.json")


def test_a_file_over_the_cap_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "MAX_BYTES", 1 << 20)
    path = tmp_path / "i2p.csv"
    path.write_text("prompt\n" + "a\n" * (1 << 19))
    with pytest.raises(InputError, match="is larger than 1 MiB"):
        read("i2p", path)


@pytest.mark.parametrize("name", ["../secret.png", "images/../../secret.png", "link.png"])
def test_no_picture_outside_the_folder_is_opened(published, name):
    folder = published("iesbench")
    secret = folder.parent / "secret.png"
    (folder / "images" / "0000.png").rename(secret)
    (folder / "link.png").symlink_to(secret)
    with pytest.raises(InputError, match=f"{name!r} leads out of '.*', and only pictures inside"):
        open_picture(folder, name)
    with pytest.raises(InputError, match="leads out of"):
        open_picture(folder, str(secret))


def test_a_picture_that_is_missing_none_or_too_large_is_told(published):
    folder = published("iesbench")
    with pytest.raises(NotFoundError, match=r"No picture 'images/9\.png' in '"):
        open_picture(folder, "images/9.png")
    for name in ("a\0b", "a" * 5000):
        with pytest.raises(InputError, match="is no path of a picture"):
            open_picture(folder, name)
    with pytest.raises(PictureError, match="cannot be read as a picture"):
        open_picture(folder, "annotation.json")
    with (folder / "images" / "0001.png").open("r+b") as file:
        file.truncate((64 << 20) + 1)
    with pytest.raises(InputError, match="has more than 64 MiB"):
        open_picture(folder, "images/0001.png")


def test_every_data_set_is_told_in_the_manual():
    text = (Path(__file__).parents[4] / "docs" / "evaluation.md").read_text()
    for name, data_set in DATA_SETS.items():
        assert f"| `{name}` |" in text
        assert data_set.home in text
