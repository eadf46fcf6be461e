// The page: one time for all maps and charts, and the choice between light and dark.

const data = JSON.parse(document.getElementById("data").textContent);
const root = document.documentElement;
const slider = document.getElementById("time");
const now = document.getElementById("now");
const play = document.getElementById("play");
const system = matchMedia("(prefers-color-scheme: dark)");

const charts = data.charts.map((chart) => new Chart(document.getElementById(`chart-${chart.id}`), chart, data.runs));
const maps = await Promise.all(data.runs.map(async (run, n) => {
  const Kind = run.field.kind === "particles" ? ParticleMap : FieldMap;
  return new Kind(document.querySelector(`.map[data-run="${n}"]`), run, await unpacked(run.field.bytes));
}));

function dark() {
  return root.dataset.style === "dark" || (root.dataset.style === "auto" && system.matches);
}

function paint() {
  const table = colourTable(data.colours[dark() ? "dark" : "light"]);
  for (const map of maps) map.draw(table);
}

function show() {
  const t = data.times[slider.valueAsNumber];
  now.textContent = `t = ${short(t)}`;
  slider.setAttribute("aria-valuetext", now.textContent);
  for (const part of [...maps, ...charts]) part.show(t);
}

let ticking = null;

function stop() {
  clearInterval(ticking);
  ticking = null;
  play.textContent = "▶";
  play.setAttribute("aria-label", "play");
}

function start() {
  if (slider.value === slider.max) slider.value = 0;
  play.textContent = "❚❚";
  play.setAttribute("aria-label", "pause");
  ticking = setInterval(() => {
    slider.stepUp();
    show();
    if (slider.value === slider.max) stop();
  }, 120);
}

slider.max = data.times.length - 1;
slider.value = slider.max;
slider.addEventListener("input", () => {
  stop();
  show();
});
play.addEventListener("click", () => (ticking ? stop() : start()));
document.getElementById("style").addEventListener("click", () => {
  root.dataset.style = dark() ? "light" : "dark";
  paint();
});
system.addEventListener("change", paint);
show();
paint();
root.dataset.ready = "yes";
