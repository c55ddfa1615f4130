// The page around the view: layers, point size, texts, legend, images and time.

const $ = (id) => document.getElementById(id);
const css = (color) => `rgb(${color.join(",")})`;

function element(tag, attributes = {}, ...children) {
  const node = Object.assign(document.createElement(tag), attributes);
  node.append(...children);
  return node;
}

const SMOOTH = 45; // milliseconds between two drawings that still look like a movement
const SLOW = 0.5; // where fewer of the points can be drawn while moving, texts and hidden lines wait until the end, too

// A browser without a graphics card draws slowly, and four times slower with smooth edges.
function drawsInSoftware() {
  const gl = document.createElement("canvas").getContext("webgl2"), info = gl && gl.getExtension("WEBGL_debug_renderer_info");
  return Boolean(info) && /swiftshader|llvmpipe|software|basic render/i.test(gl.getParameter(info.UNMASKED_RENDERER_WEBGL));
}

function start() {
  const head = JSON.parse($("head").textContent), blocks = [...document.querySelectorAll(".frame")];
  const canvas = $("canvas"), gl = canvas.getContext("webgl2", { alpha: false, antialias: !drawsInSoftware() });
  if (!gl) throw new Error("This browser offers no WebGL2, which the view needs; turn on hardware acceleration or try another browser.");
  const programs = compilePrograms(gl);
  const orbit = new Orbit(head.camera, head.up, head.front);
  const off = new Set(), seen = new Set();
  let frame = null, at = -1, timer = null, pending = false;
  let share = 1, drawnAt = -Infinity, settle = null; // of the points, fewer while moving where drawing is slow

  const changed = () => {
    if (!pending) { pending = true; requestAnimationFrame((now) => draw(now)); }
  };

  function draw(now) {
    pending = false;
    const gap = now - drawnAt;
    if (gap < 1000 || orbit.held) share = Math.min(Math.max(share * Math.min(Math.max(SMOOTH / gap, 0.4), 1.2), 0.03), 1);
    drawnAt = now;
    clearTimeout(settle);
    if (share < 1) settle = setTimeout(finish, 250);
    drawAll(share);
  }

  function finish() {
    if (orbit.held) settle = setTimeout(finish, 250);
    else drawAll(1);
  }

  function drawAll(shownShare) {
    const ratio = Math.min(window.devicePixelRatio || 1, 2);
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    const shot = orbit.shot(width, height);
    const parts = frame.layers.filter((layer) => !off.has(layer.name)).flatMap((layer) => layer.parts);
    drawParts(gl, programs, parts, shot, head.background, Number($("size").value), ratio, shownShare);
    const texts = $("texts").checked && shownShare > SLOW ? parts.filter((part) => part.kind === "labels") : [];
    placeLabels($("labels"), texts, shot.view, width, height);
    document.body.dataset.drawn = Number(document.body.dataset.drawn || 0) + 1;
  }

  function show(index) {
    if (index === at) return;
    if (frame) freeFrame(gl, frame);
    frame = loadFrame(gl, programs, blocks[index]);
    at = index;
    for (const layer of frame.layers) {
      if (!seen.has(layer.name) && !layer.visible) off.add(layer.name);
      seen.add(layer.name);
    }
    makeLabels($("labels"), frame);
    fillPanel(frame, off, changed);
    $("frame").value = index;
    $("number").textContent = `${index + 1} / ${blocks.length}`;
    changed();
  }

  const step = (by) => show((at + by + blocks.length) % blocks.length);
  const play = (on) => {
    clearInterval(timer);
    timer = on ? setInterval(() => step(1), 1000 / head.fps) : null;
    $("play").textContent = on ? "\u23f8" : "\u25b6";
  };
  const reset = () => { orbit.reset(); changed(); };
  const picture = () => {
    drawAll(1);
    canvas.toBlob((blob) => {
      const link = element("a", { href: URL.createObjectURL(blob), download: `${document.title || "geo3d"}.png` });
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    });
  };
  $("panel").open = window.innerWidth > 640;
  $("reset").onclick = reset;
  $("picture").onclick = picture;
  $("size").oninput = $("texts").onchange = changed;
  $("frame").max = blocks.length - 1;
  $("frame").oninput = () => { play(false); show(Number($("frame").value)); };
  $("play").onclick = () => play(timer === null);
  $("time").style.display = blocks.length > 1 ? "flex" : "none";
  const keys = { ArrowRight: () => step(1), ArrowLeft: () => step(-1), " ": () => play(timer === null), r: reset, s: picture };
  window.addEventListener("keydown", (event) => {
    if (event.target.tagName === "INPUT" || event.ctrlKey || event.metaKey || !keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  });
  window.addEventListener("resize", changed);
  canvas.addEventListener("webglcontextlost", () => { $("message").textContent = "The graphics card took the view away; load the page again."; });
  listen(canvas, orbit, changed);
  show(0);
}

function fillPanel(frame, off, changed) {
  document.title = $("title").textContent = frame.title || "";
  if (!document.title) document.title = "geo3d";
  $("layers").replaceChildren(...frame.layers.map((layer) => {
    const box = element("input", { type: "checkbox", checked: !off.has(layer.name) });
    box.dataset.layer = layer.name;
    box.onchange = () => {
      box.checked ? off.delete(layer.name) : off.add(layer.name);
      for (const figure of document.querySelectorAll("figure")) figure.hidden = off.has(figure.dataset.of);
      changed();
    };
    const swatch = element("i", { className: "swatch" });
    swatch.style.background = css(layer.swatch);
    return element("label", { className: "row", title: layer.about }, box, swatch, element("span", { textContent: layer.name }));
  }));
  const has = (kind) => frame.layers.some((layer) => layer.parts.some((part) => part.kind === kind));
  $("texts_row").style.display = has("labels") ? "flex" : "none";
  $("size_row").style.display = has("points") ? "flex" : "none";
  $("legend").replaceChildren(...frame.legend.map(([name, color]) => {
    const swatch = element("i", { className: "swatch" });
    swatch.style.background = css(color);
    return element("div", { className: "row" }, swatch, element("span", { textContent: name }));
  }));
  $("scale").replaceChildren(...(frame.scale ? [scaleBar(frame.scale)] : []));
  const large = document.querySelector("figure.large"); // stays large in the other frames of a sequence
  $("images").replaceChildren(...frame.layers.flatMap((layer) => layer.images.map(({ caption, source }) => {
    const figure = element("figure", { hidden: off.has(layer.name) }, element("img", { src: source, alt: caption || layer.name }));
    if (caption) figure.append(element("figcaption", { textContent: caption }));
    figure.dataset.of = layer.name;
    figure.classList.toggle("large", Boolean(large) && large.dataset.of === layer.name);
    figure.onclick = () => figure.classList.toggle("large");
    return figure;
  })));
}

function scaleBar(scale) {
  const colors = element("div", { className: "colors" });
  colors.style.background = `linear-gradient(to top, ${scale.colors.map(css).join(",")})`;
  const ticks = element("div", { className: "ticks" }, ...scale.ticks.map(([share, text]) => {
    const tick = element("span", { textContent: text });
    tick.style.bottom = `${100 * share}%`;
    return tick;
  }));
  return element("div", {}, element("div", { textContent: scale.text }), element("div", { className: "bar" }, colors, ticks));
}

// The texts of a frame as elements, made once; drawing only moves them.
function makeLabels(parent, frame) {
  const parts = frame.layers.flatMap((layer) => layer.parts).filter((part) => part.kind === "labels");
  for (const part of parts) {
    part.spans = part.texts.map((text, k) => {
      const [r, g, b] = part.colors[k], span = element("span", { textContent: text });
      span.style.cssText = `display:none;background:${css(part.colors[k])};color:${0.3 * r + 0.59 * g + 0.11 * b > 140 ? "#14161c" : "#fff"}`;
      return span;
    });
  }
  parent.replaceChildren(...parts.flatMap((part) => part.spans));
}

// Puts each text above what it names; a text that would cover a nearer one is left out.
function placeLabels(parent, parts, view, width, height) {
  const texts = [], shown = new Map();
  for (const part of parts) {
    part.around.forEach((around, k) => {
      let [left, right, top, depth] = [Infinity, -Infinity, Infinity, 0];
      for (const [x, y, z] of around) {
        const w = view[3] * x + view[7] * y + view[11] * z + view[15];
        if (w <= 0) return;
        const across = (0.5 + (0.5 * (view[0] * x + view[4] * y + view[8] * z + view[12])) / w) * width;
        left = Math.min(left, across);
        right = Math.max(right, across);
        top = Math.min(top, (0.5 - (0.5 * (view[1] * x + view[5] * y + view[9] * z + view[13])) / w) * height);
        depth += w / around.length;
      }
      if (right > 0 && left < width && top > 0 && top < height) {
        texts.push({ span: part.spans[k], half: 3.6 * part.texts[k].length + 5, x: (left + right) / 2, y: top, depth });
      }
    });
  }
  for (const text of texts.sort((a, b) => a.depth - b.depth)) {
    const covered = [...shown.values()].some((near) => Math.abs(near.x - text.x) < near.half + text.half && Math.abs(near.y - text.y) < 18);
    if (!covered) shown.set(text.span, text);
  }
  for (const span of parent.children) {
    const text = shown.get(span), display = text ? "" : "none";
    if (span.style.display !== display) span.style.display = display;
    if (text) span.style.transform = `translate(${text.x.toFixed(1)}px,${(text.y - 4).toFixed(1)}px) translate(-50%,-100%)`;
  }
}

try {
  start();
} catch (error) {
  $("message").textContent = error.message;
  console.error(error);
}
