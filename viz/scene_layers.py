"""The layers of a scene: what is added to it, and what explains it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

import numpy as np

from geo3d.viz.boxes import boxes_layer
from geo3d.viz.colors import as_colors, by_label
from geo3d.viz.content import SceneContent
from geo3d.viz.frames import camera_layer, image_layer
from geo3d.viz.handle import Handle
from geo3d.viz.layers import Layer
from geo3d.viz.lines import lines_layer, skeleton_layer
from geo3d.viz.pictures import Scale
from geo3d.viz.surfaces import mesh_layer, points_layer
from geo3d.viz.voxels import voxels_layer


class SceneLayers(SceneContent):
    """Adds layers, legend and color scale; `Scene` draws them."""

    def add_points(
        self,
        points: Any,
        *,
        colors: Any = None,
        labels: Any = None,
        values: Any = None,
        limits: tuple[float, float] | None = None,
        colormap: str = "viridis",
        normals: Any = None,
        size: float | None = None,
        name: str | None = None,
    ) -> Handle:
        """Adds points.

        Args:
            points: [N, 3] array or tensor, N > 0, finite.
            colors: one colour for all ("steelblue", "#4682b4", three numbers), "height", "distance" (from the origin), or
                [N, 3] uint8 or floats in 0..1.
            labels: [N] integers; each gets a colour of the palette.
            values: [N] numbers, such as intensities, shown on a colour scale. At most one of colors, labels, values; without
                any, points with normals are plain and others are coloured by height.
            limits: (low, high) values at the ends of the colour scale; the first and 99th percentile when None.
            colormap: of values, height and distance, a name that matplotlib knows.
            normals: [N, 3]; the points are lit.
            size: width of a point in pixels of the picture; by default as large as the points are apart.
        """
        looks = {"colors": colors, "labels": labels, "values": values, "limits": limits, "colormap": colormap}
        return self._add("points", points_layer, name, points=points, **looks, normals=normals, size=size, up=self.up)

    def add_mesh(
        self,
        vertices: Any,
        faces: Any,
        *,
        colors: Any = None,
        labels: Any = None,
        values: Any = None,
        limits: tuple[float, float] | None = None,
        colormap: str = "viridis",
        opacity: float = 1.0,
        name: str | None = None,
    ) -> Handle:
        """Adds a triangle mesh; it is lit on both sides, so the order of a face's corners does not matter.

        Args:
            vertices: [V, 3] array or tensor, finite.
            faces: [F, 3] integer rows of `vertices`, F > 0.
            colors, labels, values, limits, colormap: of the vertices, as in `add_points`.
            opacity: 0..1; what is behind a mesh below 1 shines through.
        """
        looks = {"colors": colors, "labels": labels, "values": values, "limits": limits, "colormap": colormap}
        return self._add("mesh", mesh_layer, name, vertices=vertices, faces=faces, **looks, opacity=opacity, up=self.up)

    def add_boxes(
        self,
        boxes: Any,
        *,
        labels: Any = None,
        scores: Any = None,
        names: Sequence[str] | None = None,
        texts: Sequence[str] | None = None,
        colors: Any = None,
        width: float = 2.5,
        fill: float = 0.0,
        hidden: float = 0.35,
        heading: bool = True,
        name: str | None = None,
    ) -> Handle:
        """Adds oriented boxes; an arrowhead on the roof of each points where it heads.

        Args:
            boxes: [K, 7 or more], K >= 0: x y z of the centre, dx dy dz in metres, yaw in radians counter-clockwise from +x
                about +z; further columns, such as velocities, are not drawn.
            labels: [K] integers: the colour of each box, unless `colors` is given, and its row of `names`.
            scores: [K] numbers, written above the boxes.
            names: of the classes, written above the boxes.
            texts: K lines to write instead of name and score; "" for none.
            colors: one colour or [K, 3].
            width: of the edges in pixels.
            fill: opacity of the faces, 0..1.
            hidden: opacity of edges where something is in front, 0..1.
            heading: whether to draw the arrowhead.
        """
        given = {"colors": colors, "labels": labels, "scores": scores, "names": names, "texts": texts}
        looks = {"width": width, "fill": fill, "hidden": hidden, "heading": heading}
        return self._add("boxes", boxes_layer, name, boxes=boxes, **given, **looks)

    def add_voxels(
        self,
        voxels: Any,
        *,
        size: Any = 1.0,
        origin: Any = (0.0, 0.0, 0.0),
        order: str = "zyx",
        threshold: float = 0.5,
        colors: Any = None,
        labels: Any = None,
        values: Any = None,
        limits: tuple[float, float] | None = None,
        colormap: str = "viridis",
        opacity: float = 1.0,
        edges: bool = True,
        name: str | None = None,
    ) -> Handle:
        """Adds voxels; only faces between full and empty voxels are drawn. Nothing is drawn when all are empty.

        Args:
            voxels: a grid [D, H, W], bool or numbers, or integer coordinates [V, 3] of the full voxels.
            size: of a voxel, one number or one for x, y, z.
            origin: [3], the lowest corner of voxel (0, 0, 0).
            order: the axes of the grid or of the columns: "zyx", as geo3d keeps voxels, or "xyz".
            threshold: a voxel is full where a grid of numbers is larger.
            colors: one colour, "height", "distance", or one for each full voxel.
            labels, values: a grid like `voxels`, or [V] for coordinates.
            limits, colormap: as in `add_points`.
            opacity: 0..1.
            edges: whether to draw the voxels' edges.
        """
        looks = {"colors": colors, "labels": labels, "values": values, "limits": limits, "colormap": colormap}
        place = {"size": size, "origin": origin, "order": order, "threshold": threshold}
        return self._add(
            "voxels", voxels_layer, name, voxels=voxels, **place, **looks, opacity=opacity, edges=edges, up=self.up
        )

    def add_skeleton(
        self,
        joints: Any,
        bones: Any,
        *,
        colors: Any = None,
        width: float = 5.0,
        joint_size: float = 9.0,
        hidden: float = 0.6,
        texts: Sequence[str] | None = None,
        name: str | None = None,
    ) -> Handle:
        """Adds joints and the bones between them.

        Args:
            joints: [J, 3], J > 0; rows with NaN are absent, and so are their bones.
            bones: [B, 2] integer rows of `joints`, parent first; a bone has the colour of its second joint.
            colors: one colour or [J, 3].
            width: of the bones in pixels.
            joint_size: of the joints in pixels.
            hidden: opacity of bones where something is in front, 0..1, such as the body they are in.
            texts: J lines to write at the joints.
        """
        looks = {"colors": colors, "width": width, "joint_size": joint_size, "hidden": hidden, "texts": texts}
        return self._add("skeleton", skeleton_layer, name, joints=joints, bones=bones, **looks)

    def add_lines(
        self,
        lines: Any,
        *,
        colors: Any = None,
        width: float = 2.0,
        hidden: float = 0.25,
        closed: bool = False,
        name: str | None = None,
    ) -> Handle:
        """Adds lines.

        Args:
            lines: segments [L, 2, 3], or one polyline [N, 3] with N > 1.
            colors: one colour, or one for each segment.
            width: in pixels.
            hidden: opacity where something is in front, 0..1.
            closed: whether a polyline ends where it began.
        """
        return self._add("lines", lines_layer, name, lines=lines, colors=colors, width=width, hidden=hidden, closed=closed)

    def add_camera(
        self,
        intrinsics: Any,
        *,
        image_size: tuple[int, int] | None = None,
        camera_from_world: Any = None,
        image: Any = None,
        depth: float = 1.0,
        colors: Any = None,
        width: float = 2.0,
        text: str | None = None,
        name: str | None = None,
    ) -> Handle:
        """Adds a camera as a frustum, with its image hung into it if there is one; a tip marks the image's upper side.

        Args:
            intrinsics: [3, 3] pinhole matrix in pixels.
            image_size: (width, height) in pixels; that of the image when None.
            camera_from_world: [4, 4] or [3, 4] motion from the scene's frame to the camera's (x right, y down, z forward);
                the identity when None.
            image: as in `add_image`.
            depth: how far before the camera the frustum ends, in the scene's unit.
            colors: one colour.
            width: of the lines in pixels.
            text: a line to write at the camera.
        """
        pose = {"image_size": image_size, "camera_from_world": camera_from_world, "image": image, "depth": depth}
        return self._add("camera", camera_layer, name, intrinsics=intrinsics, **pose, colors=colors, width=width, text=text)

    def add_image(
        self,
        image: Any,
        *,
        caption: str | None = None,
        intrinsics: Any = None,
        camera_from_world: Any = None,
        overlay: Sequence[Handle | str] = (),
        opacity: float = 1.0,
        name: str | None = None,
    ) -> Handle:
        """Adds an image, shown beside the 3D view, if asked with layers of the scene drawn into it.

        Args:
            image: [H, W], [H, W, 1], [H, W, 3] or [H, W, 4], RGB, uint8 or floats in 0..1.
            caption: a line above it.
            intrinsics: [3, 3] pinhole matrix in pixels of the camera that took it; for `overlay`.
            camera_from_world: as in `add_camera`.
            overlay: handles or names of the layers to draw into the image.
            opacity: of their points and surfaces in the image, 0..1.
        """
        looks = {"caption": caption, "overlay": tuple(overlay), "opacity": opacity}
        pose = {"intrinsics": intrinsics, "camera_from_world": camera_from_world}
        return self._add("image", image_layer, name, image=image, **pose, **looks)

    def add_legend(self, names: Sequence[str], colors: Any = None) -> None:
        """Lists names beside the picture.

        Args:
            names: what the colours mean.
            colors: [len(names), 3], as in `add_points`; the palette from its start when None.

        Raises:
            ValueError: no names, or colours that do not fit them.
        """
        if not names:
            raise ValueError("names must not be empty")
        rgb = by_label(np.arange(len(names))) if colors is None else as_colors(colors, len(names))
        self.legend |= {str(name): (int(r), int(g), int(b)) for name, (r, g, b) in zip(names, rgb, strict=True)}

    def add_scale(self, low: float, high: float, *, text: str = "", colormap: str = "viridis") -> None:
        """Shows a colour scale beside the picture, such as that of `values`.

        Args:
            low, high: values at its ends, the `limits` of the layer.
            text: what is measured, with its unit.
            colormap: as in `add_points`.

        Raises:
            ValueError: low not below high.
        """
        if not low < high:
            raise ValueError(f"low must be below high, got {low} and {high}")
        self.scale = Scale(float(low), float(high), text, colormap)

    def _add(self, kind: str, build: Callable[..., Layer], name: str | None, **arguments: Any) -> Handle:
        layer = build(**arguments)
        if name is None:
            name = next(free for number in count(1) if (free := f"{kind}_{number}") not in self.layers)
        elif name in self.layers:
            raise ValueError(f"name must be new in the scene, got {name!r} again")
        self.layers[name] = layer
        return Handle(name, self, build, arguments)
