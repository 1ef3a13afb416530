// On every page: times as people's own clocks show them, and streams that end while nobody looks.
"use strict";
(() => {
  // A browser that speaks the page's language may know which land's habits are wanted: en-GB.
  const language = document.documentElement.lang;
  const times = new Intl.DateTimeFormat(navigator.languages.find(one => one.startsWith(language)) ?? language, { dateStyle: "medium", timeStyle: "short" });
  const tell = root => {
    for (const element of root.querySelectorAll("time[datetime]")) {
      const moment = new Date(element.dateTime);
      if (!Number.isNaN(moment.getTime())) element.textContent = times.format(moment);
    }
  };
  document.addEventListener("DOMContentLoaded", () => tell(document));
  document.addEventListener("htmx:afterSwap", event => tell(event.target));

  // What is pressed must not be exchanged before it is let go: it comes anew a moment later.
  let pressed = false;
  const press = value => () => { pressed = value; };
  document.addEventListener("pointerdown", press(true), true);
  for (const kind of ["pointerup", "pointercancel"]) document.addEventListener(kind, press(false), true);
  document.addEventListener("htmx:beforeSwap", event => {
    if (!pressed || !event.detail.target.matches("[data-live]")) return;
    event.detail.shouldSwap = false;
    setTimeout(() => document.body.dispatchEvent(new CustomEvent("back")), 400);
  });

  // A browser opens six connections to a server: tabs that nobody looks at must not keep them.
  const streams = new Map();
  document.addEventListener("htmx:sseOpen", event => streams.set(event.target, event.detail.source));
  document.addEventListener("visibilitychange", () => {
    for (const [element, source] of streams) {
      if (document.hidden) { source.close(); continue; }
      if (source.readyState !== EventSource.CLOSED || !element.isConnected) continue;
      streams.delete(element);
      const again = element.cloneNode(true);
      element.replaceWith(again);
      htmx.process(again);
      document.body.dispatchEvent(new CustomEvent("back"));
    }
  });
  window.addEventListener("pagehide", () => { for (const source of streams.values()) source.close(); });
})();
