"""ShapeNet models with their views as samples."""

from __future__ import annotations

from pathlib import Path

from geo3d.data.images.r2n2 import find_r2n2_models, is_r2n2_folder
from geo3d.tools.viewing.samples import Options, Sample, Samples
from geo3d.viz import Scene
from geo3d.viz.builders import reconstruction_scene
from geo3d.viz.builders.reconstruction import VIEW

MAX_VIEWS = 12  # of the 24, so that each can be seen


def open_r2n2(root: Path, options: Options) -> Samples | None:
    """Models in the folders of 3D-R2N2: their views, their voxels, and a surface."""
    if not is_r2n2_folder(root):
        return None
    models = find_r2n2_models(root)
    names = tuple(f"{model.synset}/{model.name}" for model in models)

    def make(index: int) -> Sample:
        views = models[index].read_views(MAX_VIEWS)
        if models[index].voxels is None:
            scene = Scene(up="y", title=names[index])
            for image in views:
                scene.add_image(image)
            return Sample(scene)
        return Sample(reconstruction_scene(views, gt=models[index].read_voxels(), title=names[index]), (VIEW,))

    return Samples("R2N2 models", names, make)
