"""From light to a photograph: exposure, white balance, blur, motion, noise."""

from __future__ import annotations

import numpy as np

from geo3d.data.synthetic.rasterizer import encode_srgb


def expose(light: np.ndarray, subject: np.ndarray, color: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Light scaled as a camera would, by what the subject [N, 3] sends and more or less than that; soft or hard in the highlights.

    White balance takes most of the colour [3] of the lamps away.
    """
    level = np.log(subject.mean() + 1e-4) * 0.75  # dark skin comes out darker, but not as much as it is
    target = np.log(0.27) * 0.75 + rng.normal(0, 0.3) - 0.1
    if rng.random() < 0.08:
        target += rng.uniform(0.5, 1.1)  # over-exposed
    gains = color ** -rng.uniform(0.5, 1.0) * np.exp(rng.normal(0, 0.04, 3)) * np.exp(target - level)
    out = light * gains.astype(np.float32)
    if rng.random() < 0.6:  # a shoulder, as phones have
        knee = np.float32(rng.uniform(0.4, 0.8))
        over = np.maximum(out - knee, 0)
        out = np.where(out > knee, knee + (1 - knee) * over / (over + (1 - knee)), out)
    contrast = np.float32(np.exp(rng.normal(0.0, 0.13)))
    pivot = np.float32(0.2)
    result: np.ndarray = pivot * (np.maximum(out, 0) / pivot) ** contrast
    return result


def blur(picture: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur; `sigma` in pixels."""
    import cv2

    return cv2.GaussianBlur(picture, (0, 0), sigma) if sigma > 0.15 else picture


def motion_blur(picture: np.ndarray, length: float, angle: float) -> np.ndarray:
    """Blur along a line of `length` pixels."""
    import cv2

    size = int(np.ceil(length)) | 1
    kernel = np.zeros((size, size), np.float32)
    steps = np.linspace(-length / 2, length / 2, 4 * size)
    columns, rows = (
        np.rint(size // 2 + steps * value).astype(int).clip(0, size - 1) for value in (np.cos(angle), np.sin(angle))
    )
    np.add.at(kernel, (rows, columns), 1)
    return cv2.filter2D(picture, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT)


def photograph(light: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """uint8 picture [H, W, 3] of exposed light: focus, motion, resolution, noise, saturation."""
    import cv2

    size = light.shape[0]
    light = blur(light, max(rng.normal(0.35, 0.3), 0) + (rng.random() < 0.1) * rng.uniform(0, 1.5))
    if rng.random() < 0.13:
        light = motion_blur(light, rng.uniform(2.5, 13), rng.uniform(0, np.pi))
    if rng.random() < 0.3:  # few pixels enlarged
        small = int(size * rng.uniform(0.35, 0.9))
        light = cv2.resize(light, (small, small), interpolation=cv2.INTER_AREA)
    noise = np.float32(rng.gamma(1.2, 0.008))
    shot = rng.normal(0, 1, light.shape).astype(np.float32)
    if rng.random() < 0.5:
        shot = blur(shot, 0.6) * np.float32(1.6)  # as a camera's own noise filter leaves it
    light = light + shot * noise * np.sqrt(np.maximum(light, 0) + np.float32(0.02))
    if light.shape[0] != size:
        light = cv2.resize(light, (size, size), interpolation=int(rng.choice([cv2.INTER_LINEAR, cv2.INTER_CUBIC])))
    gray = light @ np.array([0.3, 0.59, 0.11], np.float32)
    saturation = np.float32(np.clip(rng.normal(0.9, 0.16), 0, 1.25)) if rng.random() > 0.02 else np.float32(0)
    return encode_srgb(gray[..., None] + (light - gray[..., None]) * saturation)


def jpeg(picture: np.ndarray, quality: int) -> bytes:
    """A JPEG file of an RGB picture."""
    import cv2

    _, coded = cv2.imencode(".jpg", np.ascontiguousarray(picture[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, quality])
    return coded.tobytes()
