const data = JSON.parse(document.getElementById("data").textContent);
const viewer = document.getElementById("viewer"), slider = document.getElementById("slice"), where = document.getElementById("where");
const preset = document.getElementById("window"), level = document.getElementById("level"), width = document.getElementById("width");
const stages = data.stages.map(stage => {
  const figure = document.getElementById("stage-" + stage.key), table = stage.colours ? Uint8Array.from(atob(stage.colours), c => c.charCodeAt(0)) : null;
  return {...stage, figure, table, canvas: figure.querySelector("canvas"), read: []};
});

function values(stage, k) {
  stage.read[k] ??= new Promise(done => {
    const image = new Image();
    image.onload = () => {
      const canvas = document.createElement("canvas");
      canvas.width = image.naturalWidth; canvas.height = image.naturalHeight;
      const pen = canvas.getContext("2d", {willReadFrequently: true});
      pen.drawImage(image, 0, 0);
      const rgba = pen.getImageData(0, 0, canvas.width, canvas.height).data, levels = new Uint8Array(rgba.length / 4);
      for (let n = 0; n < levels.length; n++) levels[n] = rgba[4 * n];
      done({levels, columns: canvas.width, rows: canvas.height});
    };
    image.src = stage.pictures[k];
  });
  return stage.read[k];
}

function paint(stage, picture) {
  const [low, high] = stage.window, {canvas, table} = stage;
  canvas.width = picture.columns; canvas.height = picture.rows;
  const pen = canvas.getContext("2d"), image = pen.createImageData(picture.columns, picture.rows);
  let sum = 0;
  picture.levels.forEach((v, n) => {
    const value = stage.low + (v - 1) * (stage.high - stage.low) / 254;
    const shade = v === 0 ? 0 : Math.round(255 * Math.min(1, Math.max(0, (value - low) / (high - low))));
    const black = v === 0;
    for (let c = 0; c < 3; c++) image.data[4 * n + c] = black ? 0 : table ? table[3 * shade + c] : shade;
    image.data[4 * n + 3] = 255; sum += shade;
  });
  pen.putImageData(image, 0, 0);
  canvas.dataset.shades = sum;
}

function bars() {
  for (const stage of stages) {
    const stops = [];
    for (let n = 0; n <= 16; n++) { const s = Math.round(255 * n / 16); stops.push(stage.table ? `rgb(${stage.table.slice(3 * s, 3 * s + 3).join()})` : `rgb(${s},${s},${s})`); }
    stage.figure.querySelector(".bar i").style.background = `linear-gradient(to right, ${stops.join()})`;
    stage.figure.querySelector(".low").textContent = Math.round(stage.window[0]); stage.figure.querySelector(".high").textContent = Math.round(stage.window[1]);
  }
}

async function draw() {
  const k = Number(slider.value);
  where.textContent = `${data.slices[k]} of ${data.total}, ${sided(place(0, 0)[2], "S", "I")}`;
  for (const path of viewer.querySelectorAll("path")) {
    const on = viewer.querySelector(`input[data-mask="${path.dataset.mask}"]`).checked;
    path.setAttribute("d", on ? data.outlines[path.dataset.mask][k] : "");
  }
  for (const stage of stages) {
    const picture = await values(stage, k);
    if (Number(slider.value) !== k) return;
    paint(stage, picture);
    stage.shown = picture;
  }
  read();
  viewer.dataset.drawn = data.slices[k];
}

function show(name) {
  const ct = stages.find(stage => stage.key === "ct");
  if (data.windows[name]) [level.value, width.value] = data.windows[name];
  preset.value = name;
  const middle = Number(level.value), span = Math.max(1, Number(width.value));
  ct.window = [middle - span / 2, middle + span / 2];
  bars(); draw();
}

function step(by) { slider.value = Number(slider.value) + by; draw(); }

slider.addEventListener("input", draw);
preset.addEventListener("change", () => show(preset.value));
for (const box of [level, width]) box.addEventListener("change", () => show("own"));
for (const box of viewer.querySelectorAll("input[type=checkbox]")) box.addEventListener("change", draw);
for (const stage of stages) stage.figure.querySelector("select")?.addEventListener("change", event => { stage.window = [stage.low, Number(event.target.value)]; bars(); draw(); });
viewer.querySelector(".stages").addEventListener("wheel", event => {
  const next = Number(slider.value) + (event.deltaY > 0 ? 1 : -1);
  if (next < 0 || next > Number(slider.max)) return;
  event.preventDefault(); step(next - Number(slider.value));
}, {passive: false});
let pointed = null;
function place(column, row) {
  const at = [column, row, data.slices[Number(slider.value)] - 1, 1];
  return data.affine.slice(0, 3).map(line => line.reduce((sum, part, n) => sum + part * at[n], 0));
}
function sided(mm, plus, minus) { return `${mm < 0 ? minus : plus} ${Math.abs(mm).toFixed(1)} mm`; }
function read() {
  for (const stage of stages) {
    const words = stage.figure.querySelector(".value"), seen = stage.shown;
    const n = pointed && seen ? Math.floor(pointed[1] * seen.rows) * seen.columns + Math.floor(pointed[0] * seen.columns) : -1, v = n < 0 ? 0 : seen.levels[n];
    words.textContent = v ? (stage.low + (v - 1) * (stage.high - stage.low) / 254).toFixed(stage.high - stage.low > 100 ? 0 : 1) : "";
  }
  const seen = stages[0].shown, [x, y, z] = pointed && seen ? place(Math.floor(pointed[0] * seen.columns), Math.floor(pointed[1] * seen.rows)) : [0, 0, 0];
  document.getElementById("point").textContent = pointed ? `${sided(x, "R", "L")}, ${sided(y, "A", "P")}, ${sided(z, "S", "I")}` : "";
}
for (const screen of viewer.querySelectorAll(".screen")) {
  screen.addEventListener("pointermove", event => {
    const box = screen.getBoundingClientRect();
    pointed = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height].map(part => Math.min(0.9999, Math.max(0, part)));
    read();
  });
  screen.addEventListener("pointerleave", () => { pointed = null; read(); });
}
viewer.addEventListener("keydown", event => {
  const by = {ArrowUp: 1, ArrowDown: -1, PageUp: 5, PageDown: -5}[event.key];
  if (by && !["INPUT", "SELECT"].includes(event.target.tagName)) { event.preventDefault(); step(by); }
});
function asked() {
  const words = new URLSearchParams(location.hash.slice(1)), place = data.slices.indexOf(Number(words.get("slice")));
  if (place >= 0) slider.value = place;
  show(data.windows[words.get("window")] ? words.get("window") : Object.keys(data.windows)[0]);
}
addEventListener("hashchange", asked);
asked();
