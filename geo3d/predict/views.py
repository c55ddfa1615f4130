"""Voxels of an object from pictures of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from geo3d.data.images.cutouts import cut_out
from geo3d.data.images.folders import ObjectPictures, evenly, find_objects, read_frames
from geo3d.data.images.preprocessing import TEST_BACKGROUND, prepare_views
from geo3d.descriptions import ReconstructionLabels, ViewInput
from geo3d.geometry.voxel_meshes import voxel_mesh
from geo3d.models.lrgt.network import IMAGE_SIZE
from geo3d.predict.base import Predictor
from geo3d.predict.images import Image, upright
from geo3d.zoo.weights import WeightsInfo

Views = Image | ObjectPictures | Sequence[Image]
MAX_VIEWS = 20  # that are used of more pictures: the most of the published evaluation
EVIDENCE = {  # what is said of pictures, by what told the object from the background
    "mask": "cut out by mask",
    "transparency": "cut out by transparency",
    "border": "cut out of a plain background",
    "none": "not cut out: nothing stands out from a background of one colour, so the whole picture is taken; a mask would help",
}


@dataclass(frozen=True, eq=False)
class ReconstructedObject:
    """An object as voxels, in the cube of side 1 about the origin; y is up, and what the training data calls the front is towards +x.

    Attributes:
        occupancy: [D, H, W] float32 in 0..1, indexed z, y, x.
        threshold: a voxel is full from this occupancy on.
        views: [S, S, 3] uint8 R, G, B each, as the network saw them.
        notes: what was assumed or looks wrong, a line each.
    """

    occupancy: np.ndarray
    threshold: float
    views: tuple[np.ndarray, ...]
    notes: tuple[str, ...]

    @property
    def voxels(self) -> np.ndarray:
        """[D, H, W] bool, indexed z, y, x."""
        return self.occupancy >= self.threshold

    def mesh(self) -> tuple[np.ndarray, np.ndarray]:
        """Vertices [V, 3] and faces [F, 3] of the smoothed surface, see `voxel_mesh`; raises ImportError without Open3D."""
        return voxel_mesh(self.occupancy, self.threshold)


class ViewReconstructor(Predictor[Views, ReconstructedObject]):
    """Reconstructs an object from pictures: cut out, framed as in training, and given to an LRGT.

    Args:
        network: an LRGT, or an exported one.
        info: description of its weights.
    """

    def __init__(self, network: nn.Module, info: WeightsInfo):
        super().__init__(network, info)
        self.image_size = int(info.arguments.get("image_size", IMAGE_SIZE))
        self.preprocessing = self.described("preprocessing", ViewInput)
        self.threshold = self.described("labels", ReconstructionLabels).threshold

    def __call__(
        self,
        source: Views,
        masks: Sequence[Image] | None = None,
        threshold: float | None = None,
        max_views: int = MAX_VIEWS,
        is_framed: bool = False,
    ) -> ReconstructedObject:
        """Reconstruct one object.

        Args:
            source: pictures of it, as files or arrays [H, W], [H, W, 3] or [H, W, 4], uint8 or uint16, R, G, B, A, of any sizes; or one
                picture, a folder of pictures, or a video.
            masks: of the pictures, bright or opaque where the object is; what is the object is told by transparency or a plain
                background otherwise (see `cut_out`).
            threshold: a voxel is full from this occupancy on; that of the weights when None.
            max_views: of more pictures so many are used, evenly spaced.
            is_framed: take the pictures as they are, such as renderings of 3D-R2N2, instead of cutting out and framing the object.

        Raises:
            FileNotFoundError: no such file.
            ValueError: no picture, a damaged one, one that shows nothing, masks that do not fit, or a threshold outside 0..1.
        """
        threshold = self.threshold if threshold is None else threshold
        if not 0 <= threshold <= 1:
            raise ValueError(f"threshold must be within 0 and 1, got {threshold:g}")
        if max_views < 1:
            raise ValueError(f"max_views must be 1 or more, got {max_views}")
        images, rows, total, names = _pictures(source, max_views)
        if masks is not None and len(masks) != total:
            raise ValueError(f"expected a mask for each of {total} pictures, got {len(masks)}")
        notes = [] if total <= len(images) else [f"{len(images)} of {total} pictures are used, evenly spaced"]
        if not is_framed:
            chosen = None if masks is None else [masks[row] for row in rows]
            images, told = self._cut_out(images, chosen, names)
            notes += told
        views = prepare_views(
            images,
            self.image_size,
            crop=self.preprocessing.crop if is_framed else None,
            background=TEST_BACKGROUND,
            blend=self.preprocessing.blend,
        )
        with torch.inference_mode():
            occupancy = self.network(views[None].to(self.device))[0].float().cpu().numpy()
        if not (occupancy >= threshold).any():
            notes.append(
                f"no voxel is full: the highest occupancy is {occupancy.max():.2f}, below the threshold of {threshold:g}"
            )
        seen = ((views + 1) * 127.5).round().clamp(0, 255).byte().numpy()[:, ::-1].transpose(0, 2, 3, 1)
        return ReconstructedObject(occupancy, threshold, tuple(np.ascontiguousarray(view) for view in seen), tuple(notes))

    def _cut_out(
        self, images: Sequence[np.ndarray], masks: Sequence[Image] | None, names: Sequence[str]
    ) -> tuple[list[np.ndarray], list[str]]:
        """Pictures of the object in the framing and the resolution of training, and what told it from the background."""
        side = min(self.preprocessing.crop or self.image_size, self.image_size)
        framed, evidence = [], Counter[str]()
        for number, (image, name) in enumerate(zip(images, names, strict=True)):
            mask = None if masks is None else _as_mask(masks[number])
            try:
                cutout = cut_out(image, side, mask)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
            framed.append(cutout.image)
            evidence[cutout.evidence] += 1
        return framed, [f"{_count(count)} {EVIDENCE[kind]}" for kind, count in evidence.items()]


def _count(count: int) -> str:
    return f"{count} {'picture' if count == 1 else 'pictures'}"


def _pictures(source: Views, max_views: int) -> tuple[list[np.ndarray], list[int], int, list[str]]:
    """Pictures that are used, their numbers among all, how many there are, and names for errors."""
    if isinstance(source, str | Path):
        found = find_objects([source])
        if len(found) > 1:
            raise ValueError(
                f"{source}: expected pictures of one object, got folders of {len(found)}; take one after the other"
            )
        source = found[0]
    if isinstance(source, np.ndarray):
        source = [source]
    if isinstance(source, ObjectPictures):
        if source.is_video:
            frames = read_frames(source.files[0], max_views)
            return frames, list(range(len(frames))), len(frames), [f"{source.files[0]}, frame {i}" for i in range(len(frames))]
        source = source.files
    if not len(source):
        raise ValueError("expected at least one picture, got none")
    rows = evenly(len(source), max_views)
    names = [f"picture {row}" if isinstance(source[row], np.ndarray) else str(source[row]) for row in rows]
    images = []
    for row, name in zip(rows, names, strict=True):
        try:
            images.append(upright(source[row]))
        except ValueError as error:
            raise error if name in str(error) else ValueError(f"{name}: {error}") from None
    return images, rows, len(source), names


def _as_mask(source: Image) -> np.ndarray:
    """[H, W] bool: opaque where it has transparency, bright otherwise."""
    mask = source if isinstance(source, np.ndarray) and source.dtype == bool else upright(source)
    if mask.dtype == bool:
        return mask
    if mask.shape[2] == 4 and mask[..., 3].min() < 255:
        return mask[..., 3] > 127
    return mask[..., :3].mean(2) > 127
