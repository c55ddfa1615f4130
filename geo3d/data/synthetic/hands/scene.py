"""One generated picture of a hand with its labels: everything drawn, put before a camera, lit and photographed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from geo3d.data.synthetic import rasterizer
from geo3d.data.synthetic.hands import lens, parts
from geo3d.data.synthetic.hands.light import Lighting, draw_lighting
from geo3d.data.synthetic.hands.model import Hand, hand_model
from geo3d.data.synthetic.hands.parts import Part
from geo3d.data.synthetic.hands.pictures import cut, draw_picture, picture_files
from geo3d.data.synthetic.hands.poses import Pose, draw_pose
from geo3d.data.synthetic.hands.skins import layout, procedural_skin, read_skins, skin_tint, vertex_fields
from geo3d.data.synthetic.shading import Surface, ambient_light, shade
from geo3d.geometry.cameras import Camera, pinhole

SIZE = 224
MIDDLE_ROOT = 9  # the keypoint that FreiHAND's scale and root are of
SAMPLES = 2  # along each side of a pixel
AMBIENT_DIRECTIONS = 20


@dataclass(frozen=True, eq=False)
class Materials:
    """Where skins, cloth and backgrounds come from; without folders they are procedural.

    Attributes:
        skins: parts of photographic skins (`read_skins`).
        photographs: picture files.
    """

    skins: Sequence[np.ndarray] = ()
    photographs: Sequence[Path] = ()

    @staticmethod
    def of(skins: Path | None = None, backgrounds: Path | None = None) -> Materials:
        """From folders of anny's skin textures and of photographs."""
        return Materials(read_skins(skins) if skins else (), picture_files(backgrounds) if backgrounds else ())


@dataclass(frozen=True, eq=False)
class HandPicture:
    """A picture and what FreiHAND says about each.

    Attributes:
        image: [224, 224, 3] uint8 RGB.
        quality: of the JPEG file to write.
        K: [3, 3] intrinsics.
        xyz: [21, 3] keypoints, metres, frame of the camera.
        verts: [778, 3] vertices.
        mano: [61] pose (48, the turn of the whole hand first), shape (10), pixel of the root (2), scale (1), of the packaged hand.
        kind: of the pose.
    """

    image: np.ndarray
    quality: int
    K: np.ndarray
    xyz: np.ndarray
    verts: np.ndarray
    mano: np.ndarray
    kind: str

    @property
    def scale(self) -> float:
        """Length of the first bone of the middle finger, metres."""
        return float(np.linalg.norm(self.xyz[MIDDLE_ROOT + 1] - self.xyz[MIDDLE_ROOT]))


@dataclass(eq=False)
class Scene:
    """Parts before a camera, under light, before a background.

    Attributes:
        camera: at the origin, looking along z.
        lighting: in the camera's frame.
        background: [H, W, 3] linear light.
        parts: meshes.
    """

    camera: Camera
    lighting: Lighting
    background: np.ndarray
    parts: list[Part] = field(default_factory=list)

    def render(self) -> tuple[np.ndarray, np.ndarray]:
        """Linear light [H, W, 3] and which part each sample shows [H * 2, W * 2], -1 for the background."""
        vertices, faces, corner_uv, owner = _joined(self.parts)
        normals = rasterizer.vertex_normals(vertices, faces)
        raster = rasterizer.rasterize(vertices, faces, self.camera, samples=SAMPLES)
        textures = rasterizer.Textures.of([part.texture for part in self.parts])
        albedo = rasterizer.sample_textures(raster, corner_uv, owner, textures)
        shown = np.where(raster.face >= 0, owner[raster.face], -1)
        for number, part in enumerate(self.parts):
            if part.tint[1].any():
                mask = shown == number
                albedo[mask] = (albedo[mask] * part.tint[0] + part.tint[1]).clip(0.004, 0.95)
        casters = faces[np.array([part.casts for part in self.parts])[owner]]
        ambient = ambient_light(
            vertices, faces, normals, self.lighting.radiance, directions=AMBIENT_DIRECTIONS, casters=casters
        )
        counts = [len(part.vertices) for part in self.parts]
        surface = Surface(
            np.repeat(np.array([part.wrap for part in self.parts], np.float32), counts, 0),
            np.repeat(np.array([part.gloss for part in self.parts], np.float32), counts, 0),
        )
        light = shade(
            raster, vertices, faces, normals, albedo, self.lighting.suns, ambient=ambient, surface=surface, casters=casters
        )
        covered = (raster.face >= 0)[..., None].astype(np.float32)
        picture = rasterizer.average_samples(light, SAMPLES) + self.background * (
            1 - rasterizer.average_samples(covered, SAMPLES)
        )
        return picture, shown


def _joined(pieces: Sequence[Part]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    starts = np.cumsum([0, *(len(part.vertices) for part in pieces)])[:-1]
    vertices = np.concatenate([part.vertices for part in pieces])
    faces = np.concatenate([part.faces + start for part, start in zip(pieces, starts, strict=True)])
    corner_uv = np.concatenate([part.corner_uv for part in pieces])
    return vertices, faces, corner_uv, np.repeat(np.arange(len(pieces)), [len(part.faces) for part in pieces])


def make_picture(seed: int, index: int, materials: Materials) -> HandPicture:
    """The picture of an index: the same for the same seed, index and materials."""
    rng = np.random.default_rng([seed, index])
    pose = draw_pose(rng)
    betas = (rng.normal(0, 0.9, 10)).clip(-2.2, 2.2)
    hand = hand_model().pose(betas, pose.joints, pose.wrist)
    turn = draw_view(rng)
    camera, place = draw_camera(hand, turn, rng)
    scene = Scene(camera, draw_lighting(rng), draw_background(materials, rng))
    scene.parts = [part.moved(turn, place) for part in dressed_hand(hand, pose, materials, rng)]
    scene.parts += _surroundings(hand, turn, place, materials, rng)
    light, owner = scene.render()
    on_skin = rasterizer.average_samples((owner == 0)[..., None].astype(np.float32), SAMPLES)[..., 0] > 0.9
    light = lens.expose(light, light[on_skin] if on_skin.any() else light.reshape(-1, 3), scene.lighting.color, rng)
    image = lens.photograph(light, rng)
    return _labeled(image, int(rng.integers(45, 97)), camera, hand, pose, betas, turn, place)


def _labeled(
    image: np.ndarray,
    quality: int,
    camera: Camera,
    hand: Hand,
    pose: Pose,
    betas: np.ndarray,
    turn: np.ndarray,
    place: np.ndarray,
) -> HandPicture:
    intrinsics = camera.image_from_camera[:, :3]
    xyz, verts = hand.keypoints @ turn.T + place, hand.vertices @ turn.T + place
    root = intrinsics @ xyz[MIDDLE_ROOT]
    scale = np.linalg.norm(xyz[MIDDLE_ROOT + 1] - xyz[MIDDLE_ROOT])
    angles = np.concatenate([Rotation.from_matrix(turn).as_rotvec(), pose.joints.reshape(-1)])
    mano = np.concatenate([angles, betas, root[:2] / root[2], [scale]])
    return HandPicture(image, quality, intrinsics, xyz, verts, mano, pose.kind)


def draw_view(rng: np.random.Generator) -> np.ndarray:
    """[3, 3] rotation from the hand's frame to the camera's: from anywhere, or with the forearm below as on most photographs."""
    if rng.random() < 0.45:
        return Rotation.random(random_state=int(rng.integers(1 << 31))).as_matrix()
    upright = np.array([[0, 0, -1.0], [1, 0, 0], [0, -1, 0]])  # fingers up, back of the hand to the camera
    around = Rotation.from_euler("y", rng.uniform(0, 360), degrees=True)
    tilt = Rotation.from_euler("x", rng.normal(0, 28), degrees=True)
    roll = Rotation.from_euler("z", rng.normal(0, 40), degrees=True)
    matrix: np.ndarray = (roll * tilt * around).as_matrix() @ upright
    return matrix


def draw_camera(hand: Hand, turn: np.ndarray, rng: np.random.Generator) -> tuple[Camera, np.ndarray]:
    """A camera and the place [3] of the hand's frame before it, so that the keypoints fill some or most of the picture."""
    focal = SIZE * np.exp(rng.uniform(np.log(1.0), np.log(4.5)))
    center = SIZE / 2 - 0.5 + rng.normal(0, 8, 2) * (rng.random() < 0.5)
    camera = pinhole([[focal, 0, center[0]], [0, focal, center[1]], [0, 0, 1]], np.eye(4), (SIZE, SIZE))
    points = hand.keypoints @ turn.T
    points = points - (points.max(0) + points.min(0)) / 2
    fill = rng.uniform(0.5, 0.92) if rng.random() < 0.7 else rng.uniform(0.3, 1.08)
    distance = focal * np.ptp(points[:, :2], axis=0).max() / (SIZE * fill)
    distance = max(distance - points[:, 2].min() * 0.3, 0.16)
    free = max(0.03, (1 - fill) / 2) * SIZE
    pixel = SIZE / 2 - 0.5 + rng.uniform(-0.8, 0.8, 2) * free
    middle = np.array([*((pixel - center) * distance / focal), distance])
    moved = points + middle
    uv = moved[:, :2] / moved[:, 2:] * focal + center
    shift = pixel - (uv.max(0) + uv.min(0)) / 2  # perspective moves the middle of the box
    middle[:2] += shift * distance / focal
    raw = hand.keypoints @ turn.T
    return camera, middle - (raw.max(0) + raw.min(0)) / 2


def dressed_hand(hand: Hand, pose: Pose, materials: Materials, rng: np.random.Generator, *, holds: bool = True) -> list[Part]:
    """Parts of a hand in its own frame: skin first, then what it wears and holds."""
    model = hand_model()
    if len(materials.skins) and rng.random() < 0.85:
        texture = materials.skins[int(rng.integers(len(materials.skins)))]
        tint = skin_tint(texture, rng)
    else:
        texture, tint = procedural_skin(rng), (np.ones(3), np.zeros(3))
    gloss = (float(rng.choice([0.02, 0.05, 0.09], p=[0.4, 0.4, 0.2])), rng.uniform(8, 40))
    wrap = tuple(value * rng.uniform(0.6, 1.3) for value in parts.SKIN_WRAP)
    skin = Part(
        relief(hand, rng), model.detail_faces, layout().corner_uv, texture, (wrap[0], wrap[1], wrap[2]), gloss, tint=tint
    )
    out = [skin]
    wears_sleeve = rng.random() < 0.5
    if wears_sleeve:
        out.append(parts.sleeve(hand, cut(_cloth(materials, rng), 96, rng), rng))
    elif rng.random() < 0.22:
        out += parts.watch(hand, rng)
    if rng.random() < 0.15:
        out.append(parts.ring(hand, rng))
    if holds and rng.random() < {"grasp": 0.75, "pinch": 0.4, "relaxed": 0.1, "random": 0.12}.get(pose.kind, 0.0):
        out.append(parts.held_thing(hand, pose.kind, cut(_cloth(materials, rng), 96, rng), rng))
    return out


def _cloth(materials: Materials, rng: np.random.Generator) -> np.ndarray:
    if rng.random() < 0.35:
        color = rng.choice([rng.uniform(0.01, 0.08), rng.uniform(0.3, 0.8)]) * np.exp(rng.normal(0, 0.25, 3))
        return np.broadcast_to(color.clip(0, 0.9).astype(np.float32), (8, 8, 3))
    return draw_picture(materials.photographs, rng)


def relief(hand: Hand, rng: np.random.Generator) -> np.ndarray:
    """[A, 3] vertices of the detailed mesh with tendons and knuckles raised, a millimetre or so."""
    fields = vertex_fields()
    normals = rasterizer.vertex_normals(hand.detail, hand_model().detail_faces)
    height = fields["tendon"] * rng.uniform(0, 0.0016) + fields["knuckle"] * rng.uniform(0, 0.0014)
    raised: np.ndarray = hand.detail + normals * height[:, None]
    return raised


def draw_background(materials: Materials, rng: np.random.Generator, size: int = SIZE) -> np.ndarray:
    """[size, size, 3] linear light: part of a photograph or of a procedural picture, now and then with the colours of skin."""
    picture = cut(draw_picture(materials.photographs if rng.random() < 0.88 else (), rng), size, rng)
    if rng.random() < 0.15:  # the colours of skin and faces
        from geo3d.data.synthetic.hands.noise import smooth_noise
        from geo3d.data.synthetic.hands.skins import procedural_skin

        tone = procedural_skin(rng)[SIZE // 2, SIZE // 2]
        share = (smooth_noise(rng, size, int(rng.integers(1, 5))) > rng.uniform(-1, 0.8))[..., None].astype(np.float32)
        share = lens.blur(share[..., 0], rng.uniform(1, 10))[..., None]
        picture = picture * (1 - share) + tone * (0.5 + picture) * share
    picture = lens.blur(picture, rng.choice([0, rng.uniform(0, 1), rng.uniform(1, 6)]))
    gain = np.exp(rng.normal(0, 0.4) + rng.normal(0, 0.1, 3))
    background: np.ndarray = (picture * gain).astype(np.float32)
    return background


def _surroundings(
    hand: Hand, turn: np.ndarray, place: np.ndarray, materials: Materials, rng: np.random.Generator
) -> list[Part]:
    """A table or wall behind, a second hand, something in front."""
    out = []
    points = hand.vertices @ turn.T + place
    if rng.random() < 0.22:
        out.append(_ground(points, cut(draw_picture(materials.photographs, rng), 192, rng), rng))
    if rng.random() < 0.16:
        out += _second_hand(points, materials, rng)
    if rng.random() < 0.1:
        middle = points[rng.integers(len(points))]
        size = rng.uniform(0.006, 0.02)
        thing = parts.solid(rng, size, size * rng.uniform(1, 6), cut(_cloth(materials, rng), 64, rng))
        nearer = middle * (1 - rng.uniform(0.03, 0.1) / middle[2]) + rng.normal(0, 0.025, 3) * [1, 1, 0]
        out.append(thing.moved(Rotation.random(random_state=int(rng.integers(1 << 31))).as_matrix(), nearer))
    return out


def _ground(points: np.ndarray, texture: np.ndarray, rng: np.random.Generator) -> Part:
    normal = np.array([rng.normal(0, 0.35), rng.normal(-0.35, 0.4), -1.0])
    normal /= np.linalg.norm(normal)
    lowest = points[(points @ normal).argmin()]
    middle = points.mean(0)
    middle = middle - normal * ((middle - lowest) @ normal + rng.gamma(1.5, 0.02))
    return parts.ground(normal, middle, texture, max(0.35, 0.8 * middle[2]))


def _second_hand(points: np.ndarray, materials: Materials, rng: np.random.Generator) -> list[Part]:
    """Another hand, left or right, beside or behind this one, so that it does not cover it."""
    pose = draw_pose(rng)
    hand = hand_model().pose(rng.normal(0, 0.9, 10).clip(-2, 2), pose.joints, pose.wrist)
    turn = draw_view(rng)
    if rng.random() < 0.8:
        turn = turn @ np.diag([-1.0, 1, 1])
    size = np.ptp(points, axis=0)[:2].max()
    aside = rng.normal(0, 1, 2)
    aside = aside / np.linalg.norm(aside) * size * rng.uniform(0.6, 1.1)
    own = hand.vertices @ turn.T
    place = points.mean(0) + [*aside, rng.uniform(0.0, 0.12)] - own.mean(0)
    if (own + place)[:, 2].min() < 0.08:
        return []
    return [part.moved(turn, place) for part in dressed_hand(hand, pose, materials, rng)]
