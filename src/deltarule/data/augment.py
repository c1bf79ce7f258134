"""New images from old: shifted, turned, slanted, scaled, bent, cropped, mirrored.

``Augment`` says by how much; ``Augment.apply`` draws and does it, inside a compiled training step.
Whatever is asked for becomes one map from the pixels of the new image to places in the old one,
and one bilinear interpolation reads them there: interpolating once blurs less than doing so for
every part. Outside an image everything is 0, as the background of handwritten digits is.

Sources: Simard, Steinkraus and Platt, "Best Practices for Convolutional Neural Networks Applied to
Visual Document Analysis", ICDAR 2003 (elastic distortion); Ciresan et al., "Deep, Big, Simple
Neural Nets for Handwritten Digit Recognition", Neural Computation 22(12), 2010 (the rest).
This is the one module of ``data`` that computes with JAX.
"""

import math
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from deltarule.choices import choose

PIXELS_AT_ONCE = 2**18  # of images worked on together, so that they stay in the cache


@dataclass(frozen=True)
class Augment:
    """How far an image may be changed; the amounts are drawn anew for every image.

    A row of pixels is 1 unit high, angles are degrees, and all amounts are symmetric about 0.

    Args:
        shift: pixels, up or down and left or right.
        rotation: degrees about the image's centre.
        shear: degrees of slant to the left or right.
        rotate_or_shear: draw for each image which of the two it gets, as Ciresan et al. did.
        scale: share by which height and width grow or shrink, each for itself; below 1.
        elastic_alpha: strength of the elastic distortion; pixels times ``elastic_sigma``.
        elastic_sigma: its smoothness, the standard deviation of a Gaussian in pixels.
        crop: whole pixels; frame the image with so many of background and cut out its size.
        flip: mirror left and right in half of the images; not for digits.

    Raises ``ValueError`` for an amount outside its range. Two equal ones are the same key.

    >>> Augment(rotation=15, scale=0.15).describe()["rotation"]
    15
    >>> images = jnp.zeros((2, 28, 28), jnp.uint8)
    >>> Augment(shift=2).apply(jax.random.key(0), images).shape
    (2, 28, 28)
    """

    shift: float = 0.0
    rotation: float = 0.0
    shear: float = 0.0
    rotate_or_shear: bool = False
    scale: float = 0.0
    elastic_alpha: float = 0.0
    elastic_sigma: float = 0.0
    crop: int = 0
    flip: bool = False

    def __post_init__(self) -> None:
        limits = {"rotation": 180.0, "shear": 80.0, "scale": 0.9}
        for name in ("shift", "rotation", "shear", "scale", "elastic_alpha", "elastic_sigma"):
            _check_number(name, getattr(self, name), limits.get(name, 1000.0))
        if isinstance(self.crop, bool) or not isinstance(self.crop, int) or self.crop < 0:
            raise ValueError(
                f"crop must be a whole number of pixels, at least 0, got {self.crop!r}."
            )
        for name in ("flip", "rotate_or_shear"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} must be True or False, got {getattr(self, name)!r}.")
        if bool(self.elastic_alpha) != bool(self.elastic_sigma):
            raise ValueError(
                "elastic_alpha and elastic_sigma must be given together, got "
                f"{self.elastic_alpha!r} and {self.elastic_sigma!r}; usual are 36 and 6."
            )

    def describe(self) -> dict[str, Any]:
        """Return the amounts as plain data; ``Augment(**description)`` is an equal one."""
        return asdict(self)

    def apply(self, key: jax.Array, x: jax.Array) -> jax.Array:
        """Return the images changed at random, float32 of the shape and range of values of ``x``.

        ``x`` is [n, h, w] or [n, h, w, channels] of numbers, uint8 being the fastest. To be traced
        in a compiled step. The same ``key`` and number of images make the same draws.
        Raises ``ValueError`` for another shape.
        """
        if x.ndim not in (3, 4):
            raise ValueError(
                "augment changes images, [n, h, w] or [n, h, w, channels], got shape "
                f"{x.shape}; reshape rows of pixels first."
            )
        if x.ndim == 3:
            return self.apply(key, x[..., None])[..., 0]
        if self == Augment():
            return x.astype(jnp.float32)
        n = len(x)
        parts = min(n, -(-math.prod(x.shape[:3]) // PIXELS_AT_ONCE))
        if parts <= 1:
            return self._changed(key, x)
        size = -(-n // parts)

        def change(i: jax.Array, y: jax.Array) -> jax.Array:
            part = jax.lax.dynamic_slice_in_dim(x, i * size, size)
            part = self._changed(jax.random.fold_in(key, i), part)
            # Both slices start earlier where the last part would not fit: it is drawn over.
            return jax.lax.dynamic_update_slice_in_dim(y, part, i * size, 0)

        blank = jnp.zeros(x.shape, jnp.float32)
        changed: jax.Array = jax.lax.fori_loop(0, parts, change, blank)
        return changed

    def _changed(self, key: jax.Array, x: jax.Array) -> jax.Array:
        n, h, w, _ = x.shape
        for_map, for_field = jax.random.split(key)
        # A product also because XLA would otherwise work out the sines anew for every pixel.
        grid = np.stack([*np.indices((h, w)).reshape(2, -1), np.ones(h * w)])
        grid = (grid - [[(h - 1) / 2], [(w - 1) / 2], [0]]).astype(np.float32)  # [y x 1, pixels]
        places = jnp.einsum("ijn,jp->inp", self._maps(for_map, n), grid, precision="highest")
        from_y, from_x = places.reshape(2, n, h, w)
        from_y, from_x = from_y + (h - 1) / 2, from_x + (w - 1) / 2
        if self.elastic_alpha:
            alpha, sigma = self.elastic_alpha, self.elastic_sigma
            bent_y, bent_x = elastic_field(for_field, n, (h, w), alpha, sigma)
            from_y, from_x = from_y + bent_y, from_x + bent_x
        return resample(x, from_y, from_x)

    def _maps(self, key: jax.Array, n: int) -> jax.Array:
        """Return the maps [2, 3, n] from (y, x, 1) in the new image to (y, x) in the old one.

        Places are measured from the centre. An image is mirrored and cropped, then turned,
        slanted, scaled and shifted; here is the inverse of that, from the last to the first.
        """
        amounts, coins, crops = jax.random.split(key, 3)
        draws = jax.random.uniform(amounts, (6, n), jnp.float32, -1, 1)
        angle, slant = math.radians(self.rotation) * draws[0], math.radians(self.shear) * draws[1]
        turned, mirrored = jax.random.bernoulli(coins, 0.5, (2, n))
        if self.rotate_or_shear:
            angle, slant = jnp.where(turned, angle, 0), jnp.where(turned, 0, slant)
        tall, wide = 1 / (1 + self.scale * draws[2]), 1 / (1 + self.scale * draws[3])
        cos, sin, slope = jnp.cos(angle), jnp.sin(angle), jnp.tan(slant)
        # y <- tall y and x <- wide x; then x <- x - slope y; then the turn back.
        matrix = jnp.array(
            [[(cos + sin * slope) * tall, -sin * wide], [(sin - cos * slope) * tall, cos * wide]]
        )
        origin = -(matrix * (self.shift * draws[4:])).sum(axis=1)
        if self.crop:
            origin += jax.random.randint(crops, (2, n), -self.crop, self.crop + 1)
        maps = jnp.concatenate([matrix, origin[:, None]], axis=1)
        return maps.at[1].multiply(jnp.where(mirrored, -1.0, 1.0)) if self.flip else maps


def elastic_field(
    key: jax.Array, n: int, size: tuple[int, int], alpha: float, sigma: float
) -> jax.Array:
    """Return ``n`` random displacements of every pixel, y and x: float32 [2, n, h, w], in pixels.

    Noise U(-1, 1) smoothed by a Gaussian of ``sigma`` pixels, times ``alpha``: F = alpha K U K'.
    Its root mean square is alpha / (sqrt(12 pi) sigma) away from the border (from sigma = 1 on)
    and about half that in a corner, because beyond the border there is no noise.
    (Simard et al. 2003, section 2.)
    """
    h, w = size
    # Four bytes of noise from every random word: 256 steps are plenty under a Gaussian, and making
    # the words is what takes long. A last axis of w keeps both products free of transposition.
    words = jax.random.bits(key, (-(-h * 2 * n * w // 4),), jnp.uint32)
    noise = jax.lax.bitcast_convert_type(words, jnp.int8).reshape(-1)[: h * 2 * n * w]
    noise = (noise.astype(jnp.float32) + 0.5) / 128
    field = jnp.asarray(_gaussian(h, sigma) * alpha) @ noise.reshape(h, -1)
    field = field.reshape(-1, w) @ jnp.asarray(_gaussian(w, sigma).T)
    return field.reshape(h, 2, n, w).transpose(1, 2, 0, 3)


def resample(x: jax.Array, from_y: jax.Array, from_x: jax.Array) -> jax.Array:
    """Return each image of ``x`` [n, h, w, c] read at its places, by bilinear interpolation.

    ``from_y`` and ``from_x`` [n, H, W] are row and column of every new pixel's place in the old
    image, (0, 0) being the centre of the first pixel. Beyond the pixels all is 0.
    """
    n, h, w, _ = x.shape
    from_y, from_x = jnp.clip(from_y, -1, h), jnp.clip(from_x, -1, w)
    # The frame of zeros is row and column -1 and h or w; a place on its far edge is a share of 1.
    y, x0 = jnp.minimum(jnp.floor(from_y), h - 1), jnp.minimum(jnp.floor(from_x), w - 1)
    down, right = (from_y - y)[..., None], (from_x - x0)[..., None]
    first = jnp.arange(n, dtype=jnp.int32)[:, None, None] * ((h + 1) * (w + 1))
    index = first + (y.astype(jnp.int32) + 1) * (w + 1) + x0.astype(jnp.int32) + 1
    a, b, c, d = _four_neighbours(x, index)
    above, below = a + right * (b - a), c + right * (d - c)
    return above + down * (below - above)


def _four_neighbours(x: jax.Array, index: jax.Array) -> list[jax.Array]:
    """Return the pixels at ``index`` of the framed images, right of it, below, and below right."""
    h, w, c = x.shape[1:]
    framed = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    corners = [framed[:, i : i + h + 1, j : j + w + 1] for i in (0, 1) for j in (0, 1)]

    def read(table: jax.Array) -> jax.Array:
        return table.reshape(-1, c).at[index].get(mode="promise_in_bounds")

    if x.dtype != jnp.uint8:
        return [read(corner.astype(jnp.float32)) for corner in corners]
    # Reading from anywhere is the slow part: one word holds all four bytes.
    words = [corner.astype(jnp.uint32) << 8 * place for place, corner in enumerate(corners)]
    word = read(words[0] | words[1] | words[2] | words[3])
    # Through int32, for which processors have an instruction.
    return [(word >> 8 * k & 255).astype(jnp.int32).astype(jnp.float32) for k in range(4)]


def _gaussian(n: int, sigma: float) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return the matrix [n, n] that smooths n values; its full rows sum to 1."""
    reach = np.arange(-math.ceil(8 * sigma), math.ceil(8 * sigma) + 1)
    distance = np.arange(n)[:, None] - np.arange(n)
    bell = np.exp(-(distance**2) / (2 * sigma**2))
    return np.asarray(bell / np.exp(-(reach**2) / (2 * sigma**2)).sum(), np.float32)


def _check_number(name: str, value: Any, most: float) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 <= value <= most:
        raise ValueError(f"{name} must be a number from 0 to {most:g}, got {value!r}.")


# Names for the command line. "affine" has the amounts of Ciresan et al. 2010, who turned 1 and 7
# half as far, and a shift, because a convolutional network does not see centred digits alone.
_NAMED: dict[str, Augment] = {
    "shift": Augment(shift=1),
    "affine": Augment(rotation=15, shear=15, rotate_or_shear=True, scale=0.15, shift=2),
    "elastic": Augment(elastic_alpha=36, elastic_sigma=6),
    "crop": Augment(crop=4),
    "flip": Augment(flip=True),
}


def augmentation(text: str) -> Augment:
    """Return the ``Augment`` that names and amounts separated by commas stand for.

    The names are shift, affine, elastic, crop and flip; an amount is NAME=NUMBER, where a name is
    an argument of ``Augment``, and is the last word. Raises ``ValueError`` for any other.

    >>> augmentation("elastic,shift=2")
    ... # doctest: +NORMALIZE_WHITESPACE
    Augment(shift=2, rotation=0.0, shear=0.0, rotate_or_shear=False, scale=0.0, elastic_alpha=36,
            elastic_sigma=6, crop=0, flip=False)
    """
    usual = Augment()
    given: dict[str, Any] = {}
    for word in text.split(","):
        name, equals, value = word.strip().partition("=")
        if equals:
            given[name] = _amount(name, value)
            continue
        named = choose("augment", name, _NAMED).describe()
        given |= {k: v for k, v in named.items() if v != getattr(usual, k)}
    return replace(usual, **given)


def _amount(name: str, value: str) -> Any:
    kind = type(choose("augment", name, {f.name: f.default for f in fields(Augment)}))
    if kind is bool:
        return choose(name, value, {"yes": True, "no": False})
    try:
        number = float(value)
    except ValueError:
        raise ValueError(f"{name} must be a number, got {value!r}.") from None
    return int(number) if number.is_integer() else number
