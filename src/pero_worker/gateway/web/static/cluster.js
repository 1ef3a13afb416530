// The cluster: pages minute by minute, drawn anew with the page, but at most four times a minute.
"use strict";
document.addEventListener("DOMContentLoaded", () => {
  const place = document.getElementById("rates"), said = document.getElementById("rates-said");
  const number = new Intl.NumberFormat(document.documentElement.lang);
  const PAUSE = 15000, HEIGHT = 180;
  let plot = null, next = 0;
  const colour = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const draw = rates => {
    const sum = values => values.reduce((total, value) => total + value, 0);
    said.textContent = said.dataset.said.replace("{done}", number.format(sum(rates.done))).replace("{failed}", number.format(sum(rates.failed)));
    // Bars on bars: all pages in the colour of failures, those that were done over them.
    const data = [rates.times, rates.done.map((done, place) => done + rates.failed[place]), rates.done];
    if (plot) { plot.setData(data); return; }
    const axis = { stroke: colour("--soft"), grid: { stroke: colour("--rule"), width: 1 }, ticks: { stroke: colour("--rule") } };
    const bars = uPlot.paths.bars({ size: [0.8, 30] });
    plot = new uPlot({
      width: place.clientWidth, height: HEIGHT, cursor: { drag: { x: false, y: false } },
      scales: { y: { range: (_, low, high) => [0, Math.max(high, 5)] } },
      axes: [{ ...axis, values: (_, ticks) => ticks.map(tick => new Date(tick * 1000).toLocaleTimeString(document.documentElement.lang, { hour: "2-digit", minute: "2-digit" })) }, axis],
      series: [
        { label: place.dataset.time, value: (_, value) => value === null ? "–" : new Date(value * 1000).toLocaleTimeString(document.documentElement.lang, { hour: "2-digit", minute: "2-digit" }) },
        { label: place.dataset.failed, stroke: colour("--bad"), fill: colour("--bad"), paths: bars, points: { show: false }, value: (plot, value, series, place) => value === null ? "–" : number.format(plot.data[1][place] - plot.data[2][place]) },
        { label: place.dataset.done, stroke: colour("--busy"), fill: colour("--busy"), paths: bars, points: { show: false }, value: (_, value) => value === null ? "–" : number.format(value) },
      ],
    }, data, place);
    place.dataset.ready = "yes";
  };
  const load = async () => {
    if (Date.now() < next) return;
    next = Date.now() + PAUSE;
    try {
      const reply = await fetch("/web/cluster/rates");
      if (reply.ok) draw(await reply.json());
    } catch { /* the next time */ }
  };
  document.addEventListener("htmx:afterSwap", load);
  window.addEventListener("resize", () => plot?.setSize({ width: place.clientWidth, height: HEIGHT }));
  load();
});
