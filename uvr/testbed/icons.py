"""Build the sprite atlas from open icon sets; needed only to change the world, never to use it.

The icons come from npm: `npm pack @iconify-json/noto @iconify-json/noto-v1
@iconify-json/fluent-emoji-flat @iconify-json/fxemoji`, each unpacked in a folder of its own. Then
`python -m uvr.testbed.icons FOLDER` writes `sprites.png`: one row a style, one column a thing.
"""

import io
import json
import sys
from collections.abc import Mapping
from pathlib import Path

from PIL import Image

from uvr.testbed.scenes import SPRITE_SIZE, STYLES, THINGS

PACKAGES = {
    "noto": "noto", "noto-v1": "noto-v1", "fluent": "fluent-emoji-flat", "fxemoji": "fxemoji",
}  # fmt: skip

# The icon of a thing, where its name differs, and its box in the icon's own units as a share of
# the width: (left, right). A fork is the left half of "fork and knife".
ICONS = {
    "mascot": "fox",
    "smiling face": "slightly-smiling-face",
    "cat": "cat-face",
    "apple": "red-apple",
    "tree": "deciduous-tree",
    "car": "automobile",
    "clock": "alarm-clock",
    "heart": "red-heart",
    "hat": "top-hat",
    "fork": "fork-and-knife",
}
BOXES = {"fork": (0.0, 0.5)}

# Where a set's icon shows another thing (the pistols of noto and fluent squirt water; the crossed
# noto-v1 cutlery cannot be cut apart), the icon comes from the set named here. The held-out
# style's pistol is a drawing that no other style has.
SUBSTITUTES = {
    ("noto", "pistol"): ("noto-v1", "pistol"),
    ("fluent", "pistol"): ("fxemoji", "pistol"),
    ("noto", "water pistol"): ("noto", "water-pistol"),
    ("noto-v1", "water pistol"): ("noto", "water-pistol"),
    ("fluent", "water pistol"): ("fluent", "water-pistol"),
    ("noto-v1", "fork"): ("noto", "fork-and-knife"),
}

FIGURE = """
<g stroke="{line}" stroke-width="2" fill="{skin}">
  <ellipse cx="64" cy="18" rx="12" ry="15"/><rect x="59" y="31" width="10" height="9"/>
  <path d="M44 40 H84 L80 66 L84 80 H44 L48 66 Z" fill="{top}"/>
  <path d="M44 41 L33 62 L28 84" fill="none" stroke="{line}" stroke-width="13"/>
  <path d="M84 41 L95 62 L100 84" fill="none" stroke="{line}" stroke-width="13"/>
  <path d="M44 41 L33 62 L28 84" fill="none" stroke="{sleeve}" stroke-width="9"/>
  <path d="M84 41 L95 62 L100 84" fill="none" stroke="{sleeve}" stroke-width="9"/>
  <circle cx="27" cy="88" r="6"/><circle cx="101" cy="88" r="6"/>
  <path d="M45 80 H63 L61 120 H49 Z M65 80 H83 L79 120 H67 Z" fill="{legs}"/>
</g>
"""
# The held-out style has a figure of its own: arms raised, round joints, legs apart.
HELD_OUT_FIGURE = """
<g stroke="{line}" stroke-width="2" fill="{skin}">
  <path d="M48 46 L24 34 L20 10" fill="none" stroke="{line}" stroke-width="12"/>
  <path d="M80 46 L104 34 L108 10" fill="none" stroke="{line}" stroke-width="12"/>
  <path d="M48 46 L24 34 L20 10" fill="none" stroke="{sleeve}" stroke-width="8"/>
  <path d="M80 46 L104 34 L108 10" fill="none" stroke="{sleeve}" stroke-width="8"/>
  <path d="M56 76 L42 98 L32 122" fill="none" stroke="{line}" stroke-width="14"/>
  <path d="M72 76 L86 98 L96 122" fill="none" stroke="{line}" stroke-width="14"/>
  <path d="M56 76 L42 98 L32 122" fill="none" stroke="{legs}" stroke-width="10"/>
  <path d="M72 76 L86 98 L96 122" fill="none" stroke="{legs}" stroke-width="10"/>
  <ellipse cx="64" cy="50" rx="19" ry="16" fill="{top}"/>
  <ellipse cx="64" cy="72" rx="15" ry="11" fill="{legs}"/>
  <circle cx="64" cy="20" r="14"/>
  <circle cx="20" cy="8" r="7"/><circle cx="108" cy="8" r="7"/>
  <circle cx="24" cy="34" r="6"/><circle cx="104" cy="34" r="6"/>
  <circle cx="42" cy="98" r="7"/><circle cx="86" cy="98" r="7"/>
</g>
"""
FIGURES = {"noto": FIGURE, "noto-v1": FIGURE, "fluent": HELD_OUT_FIGURE}
WOOD, LINE = "#dca869", "#7a4f24"
MANNEQUINS = {
    "bare mannequin": {"top": WOOD, "sleeve": WOOD, "legs": WOOD},
    "dressed mannequin": {"top": "#2f6fd0", "sleeve": "#2f6fd0", "legs": "#3b3f4a"},
}
# The figures are ours; the wood and its outline vary with the style.
WOODS = {"noto": (WOOD, LINE), "noto-v1": ("#d39a5a", "#6b4420"), "fluent": ("#f0cf9c", "#b07f45")}


def figure_svg(thing: str, style: str) -> str:
    """A jointed wooden figure, bare or dressed, as an SVG document."""
    skin, line = WOODS[style]
    parts = {k: (skin if v == WOOD else v) for k, v in MANNEQUINS[thing].items()}
    body = FIGURES[style].format(skin=skin, line=line, **parts)
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 128 128">{body}</svg>'


def icon_svg(sets: Mapping[str, dict], thing: str, style: str) -> str:  # type: ignore[type-arg]
    """The SVG document of `thing` in `style`, cut to its box."""
    if thing in MANNEQUINS:
        return figure_svg(thing, style)
    name = ICONS.get(thing, thing.replace(" ", "-"))
    source, name = SUBSTITUTES.get((style, thing), (style, name))
    icons = sets[source]
    size = icons["width"]
    left, right = (share * size for share in BOXES.get(thing, (0.0, 1.0)))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="{left} 0 {right - left} {size}">{icons["icons"][name]["body"]}</svg>'
    )


def render(svg: str) -> Image.Image:
    """`svg` drawn into a centred, SPRITE_SIZE square RGBA picture."""
    import resvg_py  # noqa: PLC0415 (a training-time dependency)

    png = resvg_py.svg_to_bytes(svg_string=svg, height=SPRITE_SIZE * 4)
    icon = Image.open(io.BytesIO(bytes(png))).convert("RGBA")
    icon = icon.crop(icon.getchannel("A").getbbox())
    scale = SPRITE_SIZE / max(icon.size)
    icon = icon.resize((max(1, round(icon.width * scale)), max(1, round(icon.height * scale))))
    sprite = Image.new("RGBA", (SPRITE_SIZE, SPRITE_SIZE))
    sprite.paste(icon, ((SPRITE_SIZE - icon.width) // 2, (SPRITE_SIZE - icon.height) // 2))
    return sprite


def build_atlas(folder: Path) -> Image.Image:
    """The atlas of every style and thing, from the unpacked npm packages in `folder`."""
    sets = {}
    for style, package in PACKAGES.items():
        (file,) = folder.glob(f"iconify-json-{package}-[0-9]*/package/icons.json")
        sets[style] = json.loads(file.read_text())
    atlas = Image.new("RGBA", (SPRITE_SIZE * len(THINGS), SPRITE_SIZE * len(STYLES)))
    for row, style in enumerate(STYLES):
        for column, thing in enumerate(THINGS):
            sprite = render(icon_svg(sets, thing, style))
            atlas.paste(sprite, (column * SPRITE_SIZE, row * SPRITE_SIZE))
    return atlas


if __name__ == "__main__":
    build_atlas(Path(sys.argv[1])).save(Path(__file__).with_name("sprites.png"), optimize=True)
