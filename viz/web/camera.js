// A camera on a sphere around a target: drag turns, right drag (or shift, or two fingers) moves, the wheel zooms.

const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
const sum = (...terms) => [0, 1, 2].map((k) => terms.reduce((total, [factor, vector]) => total + factor * vector[k], 0));
const unit = (a) => sum([1 / Math.hypot(...a), a]);

class Orbit {
  // first: azimuth, elevation in radians, target, distance, fov in radians along the shorter side; axes: up, front.
  constructor(first, up, front) {
    this.first = first;
    this.up = up;
    this.front = front;
    this.side = cross(up, front);
    this.reset();
  }

  reset() {
    Object.assign(this, this.first, { held: false, target: [...this.first.target], fitted: false });
  }

  // right, above and backward of the viewer; a view from the top has them, too.
  axes() {
    const outward = sum([Math.cos(this.azimuth), this.front], [Math.sin(this.azimuth), this.side]);
    const right = sum([Math.cos(this.azimuth), this.side], [-Math.sin(this.azimuth), this.front]);
    const backward = sum([Math.cos(this.elevation), outward], [Math.sin(this.elevation), this.up]);
    return { right, backward, above: cross(backward, right) };
  }

  shot(width, height) {
    if (!this.fitted) { // the first view was fitted to a picture of 4:3; a narrower one needs more distance
      this.distance = this.first.distance * (4 / 3) / Math.min(Math.max(width / height, 1), 4 / 3);
      this.fitted = true;
    }
    const { right, above, backward } = this.axes();
    const eye = sum([1, this.target], [this.distance, backward]);
    const near = Math.max(0.01 * this.distance, 1e-5 * this.first.radius);
    const far = Math.max(Math.hypot(...eye) + 1.1 * this.first.radius, 2 * near); // the content lies around zero
    const focal = Math.min(width, height) / Math.tan(this.fov / 2);
    const [x, y] = [focal / width, focal / height];
    const [a, b] = [-(far + near) / (far - near), (-2 * far * near) / (far - near)];
    const rows = [[x, right], [y, above], [a, backward], [-1, backward]];
    const view = new Float32Array(16); // column by column
    rows.forEach(([factor, axis], row) => {
      for (let k = 0; k < 3; k++) view[4 * k + row] = factor * axis[k];
      view[12 + row] = -factor * dot(axis, eye) + (row === 2 ? b : 0);
    });
    const lamp = unit(sum([-0.5, right], [0.75, above], [0.75, backward]));
    return { view, eye, lamp, up: this.up, near, reach: this.first.distance };
  }

  turn(dx, dy) {
    this.azimuth -= 0.006 * dx;
    this.elevation = Math.min(Math.max(this.elevation + 0.006 * dy, -Math.PI / 2), Math.PI / 2);
  }

  move(dx, dy, height) {
    const { right, above } = this.axes();
    const step = (2 * this.distance * Math.tan(this.fov / 2)) / height;
    this.target = sum([1, this.target], [-dx * step, right], [dy * step, above]);
  }

  zoom(factor) {
    this.distance = Math.min(Math.max(this.distance * factor, 1e-4 * this.first.radius), 50 * this.first.radius);
  }
}

function listen(canvas, orbit, changed) {
  const fingers = new Map();
  const spread = () => { const [a, b] = [...fingers.values()]; return Math.hypot(a.x - b.x, a.y - b.y); };
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    canvas.focus();
    fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    orbit.held = true;
  });
  canvas.addEventListener("pointermove", (event) => {
    const last = fingers.get(event.pointerId);
    if (!last) return;
    const before = fingers.size === 2 ? spread() : 0;
    const [dx, dy] = [event.clientX - last.x, event.clientY - last.y];
    fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    if (fingers.size === 2) {
      orbit.zoom(before / Math.max(spread(), 1));
      orbit.move(dx / 2, dy / 2, canvas.clientHeight);
    } else if (event.buttons & 6 || event.shiftKey) {
      orbit.move(dx, dy, canvas.clientHeight);
    } else {
      orbit.turn(dx, dy);
    }
    changed();
  });
  for (const name of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(name, (event) => {
      fingers.delete(event.pointerId);
      orbit.held = fingers.size > 0;
    });
  }
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    orbit.zoom(Math.exp(0.0012 * Math.min(Math.max(event.deltaY * (event.deltaMode ? 30 : 1), -300), 300)));
    changed();
  }, { passive: false });
}
