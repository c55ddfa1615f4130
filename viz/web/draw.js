// Drawing of the layers with WebGL2: points as discs, meshes lit on both sides, lines as ribbons of constant width.

const LIGHT = `
uniform vec3 eye, lamp, up;
vec3 light(vec3 color, vec3 normal, vec3 place) {
  vec3 toEye = normalize(eye - place), n = normalize(normal);
  if (dot(n, toEye) < 0.0) n = -n;
  float diffuse = clamp((dot(n, lamp) + 0.2) / 1.2, 0.0, 1.0);
  float gloss = pow(clamp(dot(n, normalize(toEye + lamp)), 0.0, 1.0), 30.0);
  return color * (0.50 + 0.16 * (0.5 + 0.5 * dot(n, up)) + 0.50 * diffuse) + 0.08 * gloss;
}`;

const SHADERS = {
  points: [`#version 300 es
    precision highp float;
    uniform mat4 view; uniform vec3 scale, shift; uniform float pointSize, reach; uniform bool lit;
    in vec3 position, color, normal; out vec3 shade; ${LIGHT}
    void main() {
      vec3 place = position * scale + shift;
      gl_Position = view * vec4(place, 1.0);
      float growth = reach > 0.0 ? sqrt(reach / gl_Position.w) : 1.0;
      gl_PointSize = clamp(pointSize * growth, 1.0, 64.0);
      shade = lit ? light(color, normal, place) : color;
    }`, `#version 300 es
    precision mediump float;
    uniform bool square; in vec3 shade; out vec4 pixel;
    void main() {
      vec2 at = gl_PointCoord - 0.5;
      if (!square && dot(at, at) > 0.25) discard;
      pixel = vec4(shade, 1.0);
    }`],
  mesh: [`#version 300 es
    precision highp float;
    uniform mat4 view; uniform vec3 scale, shift;
    in vec3 position, color, normal; out vec3 shade, turned, place;
    void main() {
      place = position * scale + shift; turned = normal; shade = color;
      gl_Position = view * vec4(place, 1.0);
    }`, `#version 300 es
    precision highp float;
    uniform bool lit; uniform float opacity; in vec3 shade, turned, place; out vec4 pixel; ${LIGHT}
    void main() { pixel = vec4(lit ? light(shade, turned, place) : shade, opacity); }`],
  lines: [`#version 300 es
    precision highp float;
    uniform mat4 view; uniform vec3 scale, shift; uniform vec2 viewport; uniform float width, near;
    in vec3 first, second, color; out vec3 shade;
    void main() {
      vec4 a = view * vec4(first * scale + shift, 1.0), b = view * vec4(second * scale + shift, 1.0);
      shade = color;
      if (a.w < near && b.w < near) { gl_Position = vec4(0.0, 0.0, 2.0, 1.0); return; }
      if (a.w < near) a = mix(a, b, (near - a.w) / (b.w - a.w));
      else if (b.w < near) b = mix(b, a, (near - b.w) / (a.w - b.w));
      vec2 along = (b.xy / b.w - a.xy / a.w) * viewport;
      along = length(along) > 1e-6 ? normalize(along) : vec2(1.0, 0.0);
      float side = float(gl_VertexID & 1) * 2.0 - 1.0, end = gl_VertexID < 2 ? -0.6 : 0.6;
      vec4 place = gl_VertexID < 2 ? a : b;
      place.xy += (vec2(-along.y, along.x) * side + along * end) * width / viewport * place.w;
      place.z -= 0.0004 * place.w;
      gl_Position = place;
    }`, `#version 300 es
    precision mediump float;
    uniform float opacity; in vec3 shade; out vec4 pixel;
    void main() { pixel = vec4(shade, opacity); }`],
};

function compilePrograms(gl) {
  const programs = {};
  for (const [kind, sources] of Object.entries(SHADERS)) {
    const handle = gl.createProgram();
    sources.forEach((source, k) => {
      const shader = gl.createShader(k ? gl.FRAGMENT_SHADER : gl.VERTEX_SHADER);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) throw new Error(`${kind}: ${gl.getShaderInfoLog(shader)}`);
      gl.attachShader(handle, shader);
    });
    gl.linkProgram(handle);
    if (!gl.getProgramParameter(handle, gl.LINK_STATUS)) throw new Error(`${kind}: ${gl.getProgramInfoLog(handle)}`);
    const uniforms = {};
    for (let k = 0; k < gl.getProgramParameter(handle, gl.ACTIVE_UNIFORMS); k++) {
      const name = gl.getActiveUniform(handle, k).name;
      uniforms[name] = gl.getUniformLocation(handle, name);
    }
    programs[kind] = { handle, uniforms };
  }
  return programs;
}

// Draws the parts that are on. `shot` has view, eye, lamp, up, near and reach (the distance of the first view). Points come
// in random order, so that any share of them is a thinner cloud.
function drawParts(gl, programs, parts, shot, background, pointScale, pixelRatio, share) {
  const { drawingBufferWidth: width, drawingBufferHeight: height } = gl;
  gl.viewport(0, 0, width, height);
  gl.clearColor(...background.map((value) => value / 255), 1);
  gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
  gl.enable(gl.DEPTH_TEST);
  gl.blendFunc(gl.SRC_ALPHA, gl.ONE_MINUS_SRC_ALPHA);
  const use = (part) => {
    const { handle, uniforms } = programs[part.kind];
    gl.useProgram(handle);
    gl.bindVertexArray(part.array);
    gl.uniformMatrix4fv(uniforms.view, false, shot.view);
    gl.uniform3fv(uniforms.scale, part.position.scale);
    gl.uniform3fv(uniforms.shift, part.position.shift);
    for (const name of ["eye", "lamp", "up"]) if (uniforms[name]) gl.uniform3fv(uniforms[name], shot[name]);
    if (part.color.one) gl.vertexAttrib3fv(gl.getAttribLocation(handle, "color"), part.color.one.map((value) => value / 255));
    return uniforms;
  };
  const blend = (on) => { (on ? gl.enable : gl.disable).call(gl, gl.BLEND); gl.depthMask(!on); };
  const mesh = (part) => {
    const uniforms = use(part);
    gl.uniform1i(uniforms.lit, part.lit);
    gl.uniform1f(uniforms.opacity, part.opacity);
    gl.drawElements(gl.TRIANGLES, part.faces.count, part.faces.wide ? gl.UNSIGNED_INT : gl.UNSIGNED_SHORT, 0);
  };
  const lines = (part, opacity) => {
    const uniforms = use(part);
    gl.uniform2f(uniforms.viewport, width, height);
    gl.uniform1f(uniforms.width, part.width * pixelRatio);
    gl.uniform1f(uniforms.near, shot.near);
    gl.uniform1f(uniforms.opacity, opacity);
    gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, part.count);
  };
  const of = (kind) => parts.filter((part) => part.kind === kind && part.array);

  blend(false);
  for (const part of of("points")) {
    const uniforms = use(part), fitted = part.grows ? Math.min(width, height) / (900 * pixelRatio) : 1;
    const size = part.size * fitted * pointScale * pixelRatio;
    gl.uniform1f(uniforms.pointSize, size);
    gl.uniform1f(uniforms.reach, part.grows ? shot.reach : 0);
    gl.uniform1i(uniforms.lit, Boolean(part.normal));
    gl.uniform1i(uniforms.square, size < 2.5);
    gl.drawArrays(gl.POINTS, 0, Math.ceil(part.count * (part.count > 5000 ? share : 1)));
  }
  of("mesh").filter((part) => part.opacity === 1).forEach(mesh);
  blend(true);
  of("lines").forEach((part) => lines(part, part.opacity));
  gl.depthFunc(gl.GREATER);
  of("lines").filter((part) => part.hidden > 0 && share > SLOW).forEach((part) => lines(part, part.opacity * part.hidden));
  gl.depthFunc(gl.LEQUAL);
  for (const part of of("mesh").filter((part) => part.opacity < 1)) { // its nearest surface only
    blend(false);
    gl.colorMask(false, false, false, false);
    mesh(part);
    gl.colorMask(true, true, true, true);
    blend(true);
    mesh(part);
  }
  gl.depthFunc(gl.LESS);
  blend(false);
}
