"""Categories and part labels of ShapeNetPart (Yi et al., SIGGRAPH Asia 2016), and of the categories that only generated data has."""

from __future__ import annotations

OFFICIAL_CATEGORIES = 16  # the first of PARTS, with 50 parts

# Labels count on from category to category, so the official ones are those of ShapeNetPart: 0 to 49.
PARTS: dict[str, tuple[str, ...]] = {
    "Airplane": ("body", "wing", "tail", "engine"),
    "Bag": ("handle", "body"),
    "Cap": ("panels", "peak"),
    "Car": ("roof", "hood", "wheel", "body"),
    "Chair": ("back", "seat", "leg", "arm"),
    "Earphone": ("earphone", "headband", "wire"),
    "Guitar": ("head", "neck", "body"),
    "Knife": ("blade", "handle"),
    "Lamp": ("base", "shade", "canopy", "pole"),
    "Laptop": ("keyboard", "screen"),
    "Motorbike": ("gas tank", "seat", "wheel", "handle", "light", "frame"),
    "Mug": ("handle", "cup"),
    "Pistol": ("barrel", "handle", "trigger"),
    "Rocket": ("body", "fin", "nose"),
    "Skateboard": ("wheel", "deck", "truck"),
    "Table": ("top", "leg", "support"),
    "Bathtub": ("basin", "foot", "tap"),
    "Bottle": ("body", "neck", "cap"),
    "Monitor": ("screen", "stand"),
    "Person": ("head", "torso", "arm", "leg"),
    "Sofa": ("back", "seat", "leg", "arm"),
    "Toilet": ("bowl", "tank", "seat", "foot"),
}

# WordNet offsets of the nouns, which ShapeNet names its folders by
SYNSETS: dict[str, str] = {
    "Airplane": "02691156",
    "Bag": "02773838",
    "Cap": "02954340",
    "Car": "02958343",
    "Chair": "03001627",
    "Earphone": "03261776",
    "Guitar": "03467517",
    "Knife": "03624134",
    "Lamp": "03636649",
    "Laptop": "03642806",
    "Motorbike": "03790512",
    "Mug": "03797390",
    "Pistol": "03948459",
    "Rocket": "04099429",
    "Skateboard": "04225987",
    "Table": "04379243",
    "Bathtub": "02808440",
    "Bottle": "02876657",
    "Monitor": "03211117",
    "Person": "00007846",
    "Sofa": "04256520",
    "Toilet": "04446521",
}

NUM_PARTS = sum(len(parts) for parts in PARTS.values())


def part_range(category: str) -> range:
    """Part labels of a category, by its name in PARTS."""
    first = 0
    for name, parts in PARTS.items():
        if name == category:
            return range(first, first + len(parts))
        first += len(parts)
    raise ValueError(f"category must be one of {', '.join(PARTS)}, got {category!r}")
