"""Point clouds, meshes, voxels and images as samples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from geo3d.data.files.binvox import read_binvox
from geo3d.data.files.geometry import TABLES, Geometry, read_geometry
from geo3d.data.files.orientation import guessed_up
from geo3d.data.images.preprocessing import read_image
from geo3d.tools.viewing.samples import Options, Sample, Samples
from geo3d.viz import Scene
from geo3d.viz.builders import reconstruction_scene
from geo3d.viz.builders.reconstruction import VIEW

MIN_SIZE = 1.5  # pixels of a point in clouds of many
MANY_POINTS = 200_000


def geometry_files(paths: Sequence[Path], names: Sequence[str], options: Options) -> Samples:
    """Files that `read_geometry` reads."""

    def make(index: int) -> Sample:
        path = paths[index]
        columns = options.columns if path.suffix.lower() in TABLES else None
        return geometry_sample(read_geometry(path, columns=columns), options, names[index])

    return Samples("clouds and meshes", tuple(names), make)


def geometry_sample(geometry: Geometry, options: Options, title: str) -> Sample:
    """A cloud or mesh in the colours of its file; else lit where there are normals, else by intensity, else by height."""
    scene = Scene(up=options.up or guessed_up(geometry), title=title)
    points = geometry.points
    if geometry.faces is not None:
        scene.add_mesh(points, geometry.faces, colors=geometry.colors, name="mesh")
        return Sample(scene)
    size = MIN_SIZE if len(points) > MANY_POINTS else None
    if geometry.colors is not None or geometry.normals is not None or geometry.intensity is None:
        scene.add_points(points, colors=geometry.colors, normals=geometry.normals, size=size, name="points")
    else:
        scene.add_points(points, values=geometry.intensity, size=size, name="points")
        low, high = np.percentile(geometry.intensity, (1, 99))
        if low < high:
            scene.add_scale(float(low), float(high), text="intensity")
    return Sample(scene)


def voxel_files(paths: Sequence[Path], names: Sequence[str], options: Options) -> Samples:
    """Files of voxels."""

    def make(index: int) -> Sample:
        scene = reconstruction_scene([], gt=read_binvox(paths[index]).voxels, surface=False, title=names[index])
        return Sample(scene, (VIEW,))

    return Samples("voxels", tuple(names), make)


def image_files(paths: Sequence[Path], names: Sequence[str], options: Options) -> Samples:
    """Images, which have nothing in three dimensions."""

    def make(index: int) -> Sample:
        scene = Scene(title=names[index])
        scene.add_image(read_image(paths[index]), name="image")
        return Sample(scene)

    return Samples("images", tuple(names), make)
