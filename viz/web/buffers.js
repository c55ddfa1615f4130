// From a frame's block to buffers on the graphics card. A block is a description in JSON and bytes in base64.

const TYPES = { u16: ["UNSIGNED_SHORT", 2], f32: ["FLOAT", 4], u8: ["UNSIGNED_BYTE", 1], i8: ["BYTE", 1] };

function decode(text) {
  const raw = atob(text.trim()), bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  return bytes;
}

// Loads a frame: its layers with, for each part, a vertex array to draw.
function loadFrame(gl, programs, element) {
  const frame = JSON.parse(element.querySelector("[data-part=json]").textContent);
  const bytes = decode(element.querySelector("[data-part=bytes]").textContent);
  frame.buffer = gl.createBuffer();
  gl.bindVertexArray(null);
  gl.bindBuffer(gl.ARRAY_BUFFER, frame.buffer);
  gl.bufferData(gl.ARRAY_BUFFER, bytes, gl.STATIC_DRAW);
  frame.indices = [];
  for (const layer of frame.layers) {
    for (const part of layer.parts) {
      if (part.kind !== "labels") part.array = vertexArray(gl, programs[part.kind], frame, part, bytes);
    }
  }
  return frame;
}

function freeFrame(gl, frame) {
  for (const layer of frame.layers) for (const part of layer.parts) if (part.array) gl.deleteVertexArray(part.array);
  frame.indices.forEach((buffer) => gl.deleteBuffer(buffer));
  gl.deleteBuffer(frame.buffer);
}

function vertexArray(gl, program, frame, part, bytes) {
  const array = gl.createVertexArray();
  gl.bindVertexArray(array);
  gl.bindBuffer(gl.ARRAY_BUFFER, frame.buffer);
  const [type, width] = TYPES[part.position.type];
  const wide = part.position.type === "u16";
  if (part.kind === "lines") {
    for (const end of [0, 1]) {
      const at = gl.getAttribLocation(program.handle, end ? "second" : "first");
      gl.enableVertexAttribArray(at);
      gl.vertexAttribPointer(at, 3, gl[type], wide, 6 * width, part.position.at + 3 * width * end);
      gl.vertexAttribDivisor(at, 1);
    }
  } else {
    bind(gl, program, "position", gl[type], wide, part.position.at);
  }
  if (part.color.at !== undefined) {
    const at = bind(gl, program, "color", gl.UNSIGNED_BYTE, true, part.color.at);
    if (part.kind === "lines") gl.vertexAttribDivisor(at, 1);
  }
  if (part.normal) bind(gl, program, "normal", gl.BYTE, true, part.normal.at);
  if (part.kind === "mesh") {
    const indices = gl.createBuffer();
    frame.indices.push(indices);
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, indices);
    const size = part.faces.wide ? 4 : 2;
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, bytes.subarray(part.faces.at, part.faces.at + part.faces.count * size), gl.STATIC_DRAW);
  }
  gl.bindVertexArray(null);
  return array;
}

function bind(gl, program, name, type, normalized, offset) {
  const at = gl.getAttribLocation(program.handle, name);
  if (at < 0) return at;
  gl.enableVertexAttribArray(at);
  gl.vertexAttribPointer(at, 3, type, normalized, 0, offset);
  return at;
}
