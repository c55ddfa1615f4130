"""A scene or a sequence as one HTML file with its own WebGL2 viewer: it opens in any browser without a network."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from geo3d.viz import pictures
from geo3d.viz.camera import View, as_view, orbit_around
from geo3d.viz.colors import by_value
from geo3d.viz.compose import image_with_overlay
from geo3d.viz.content import SceneContent
from geo3d.viz.drawing import frame_layers, visible_content
from geo3d.viz.layers import Layer, Lines, Mesh, Picture, Points
from geo3d.viz.packing import Block

FITTED_TO = (1200, 900)  # the size of the view for which the page's first camera is placed
MAX_IMAGE_SIDE = 1280  # pixels along the longer side of an image in the page
TEMPLATES = ("style.css", "buffers.js", "draw.js", "camera.js", "panel.js")


def write_page(
    path: Path, scenes: Iterable[SceneContent], view: str | View, fps: float, content: np.ndarray | None = None
) -> Path:
    """Writes the page; the scenes are taken one after another, and none is kept.

    Args:
        path: .html.
        scenes: at least one; the first gives up axis, background and camera.
        view: where the page begins.
        fps: scenes per second when they are played.
        content: [N, 3] points that must be in the first view, instead of the first scene's.

    Raises:
        ValueError: no scenes, or an empty first one.
    """
    rest = iter(scenes)
    first = next(rest, None)
    if first is None:
        raise ValueError(f"{path}: expected at least one scene, got none")
    first.check_content()
    head, origin, sizes = _head(first, as_view(view), fps, content)
    before, after = _page().split("<!--frames-->")
    with open(path, "w", encoding="utf-8") as file:
        file.write(before.replace("/*head*/", _json(head)))
        scene: SceneContent | None = first
        while scene is not None:
            _write_frame(file, scene, origin, sizes)
            scene = next(rest, None)
        file.write(after)
    return path


def _page() -> str:
    """The page with its style and scripts put in."""
    folder = resources.files("geo3d.viz") / "web"
    page = (folder / "page.html").read_text(encoding="utf-8")
    for name in TEMPLATES:
        page = page.replace(f"/*{name}*/", (folder / name).read_text(encoding="utf-8"))
    return page


def _head(
    scene: SceneContent, view: View, fps: float, content: np.ndarray | None
) -> tuple[dict[str, Any], np.ndarray, dict[str, float]]:
    """What all frames share, the origin that is subtracted from them, and the size of each layer's points in pixels."""
    layers = list(scene.layers.values())
    camera, origin, sizes = frame_layers(layers, scene.up, view, FITTED_TO, 1, content)
    around = visible_content(layers) if content is None else content
    orbit = orbit_around(camera, scene.up, around - origin)
    shown = [name for name, layer in scene.layers.items() if layer.visible for part in layer.parts if isinstance(part, Points)]
    head = {
        "fps": fps,
        "background": list(scene.background),
        "up": orbit.up.tolist(),
        "front": orbit.front.tolist(),
        "camera": {
            "azimuth": np.radians(view.azimuth_deg),
            "elevation": np.radians(view.elevation_deg),
            "fov": np.radians(view.fov_deg),
            "target": orbit.target.tolist(),
            "distance": orbit.distance,
            "radius": orbit.radius,
        },
    }
    return head, origin, dict(zip(shown, sizes, strict=True))


def _write_frame(file: Any, scene: SceneContent, origin: np.ndarray, sizes: dict[str, float]) -> None:
    """One scene as a hidden element: its description, and its bytes in base64."""
    block = Block(origin)
    frame = {
        "title": scene.title,
        "legend": [[name, list(color)] for name, color in scene.legend.items()],
        "scale": None if scene.scale is None else _scale(scene.scale),
        "layers": [
            {
                "name": name,
                "visible": layer.visible,
                "swatch": _swatch(layer),
                "about": _about(layer),
                "parts": [block.add(part, sizes.get(name, 2.5)) for part in layer.parts if not isinstance(part, Picture)],
                "images": [_image(scene, part) for part in layer.parts if isinstance(part, Picture)],
            }
            for name, layer in scene.layers.items()
        ],
    }
    file.write('<div class="frame" hidden><script data-part="json" type="application/json">')
    file.write(_json(frame))
    file.write('</script><script data-part="bytes" type="text/plain">')
    file.write(base64.b64encode(block.bytes()).decode("ascii"))
    file.write("</script></div>\n")


def _json(value: Any) -> str:
    """JSON that may stand in a script element."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _scale(scale: pictures.Scale) -> dict[str, Any]:
    span = scale.high - scale.low
    return {
        "text": scale.text,
        "colors": by_value(np.linspace(0, 1, 17), low=0, high=1, colormap=scale.colormap).tolist(),
        "ticks": [[(value - scale.low) / span, text] for value, text in pictures.scale_ticks(scale)],
    }


def _image(scene: SceneContent, image: Picture) -> dict[str, Any]:
    """An image of the page, with its overlay drawn into it, as a data URL."""
    from PIL import Image

    height, width = image.pixels.shape[:2]
    shrink = min(1.0, MAX_IMAGE_SIDE / max(width, height))
    pixels = image_with_overlay(scene, image, (max(1, round(width * shrink)), max(1, round(height * shrink))))
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, format="JPEG", quality=88)
    return {"caption": image.caption, "source": "data:image/jpeg;base64," + base64.b64encode(data.getvalue()).decode("ascii")}


def _swatch(layer: Layer) -> list[int]:
    """The mean colour of a layer."""
    colors = [part.pixels.reshape(-1, 3) if isinstance(part, Picture) else part.colors for part in layer.parts]
    return next(([int(value) for value in rows.mean(axis=0)] for rows in colors if len(rows)), [200, 200, 205])


def _about(layer: Layer) -> str:
    """What a layer consists of, in a few words."""
    counts = [
        *(f"{len(part.positions):,} points" for part in layer.parts if isinstance(part, Points)),
        *(f"{len(part.faces):,} triangles" for part in layer.parts if isinstance(part, Mesh)),
        *(f"{len(part.segments):,} lines" for part in layer.parts if isinstance(part, Lines)),
        *("{1} x {0} pixels".format(*part.pixels.shape) for part in layer.parts if isinstance(part, Picture)),
    ]
    return f"{layer.kind}: {', '.join(counts) or 'empty'}"
