// New job: gathers files and folders, makes the job, uploads three files at a time, and says of each what became of it.
"use strict";
document.addEventListener("DOMContentLoaded", () => {
  const form = document.getElementById("new-job");
  const words = JSON.parse(form.dataset.words);
  const extensions = new Set(JSON.parse(form.dataset.extensions));
  const maxPages = Number(form.dataset.maxPages), maxBytes = Number(form.dataset.maxBytes);
  const byId = id => document.getElementById(id);
  const list = byId("list"), summary = byId("summary"), fault = byId("fault"), send = byId("send");
  const AT_ONCE = 3, TRIES = 3, SHOWN = 300, MAX_REASONS = 200;
  const language = document.documentElement.lang;
  const order = new Intl.Collator(language, { numeric: true });
  const plural = new Intl.PluralRules(language);
  const number = new Intl.NumberFormat(language);
  const megabytes = new Intl.NumberFormat(language, { maximumFractionDigits: 1 });
  let items = [], job = null, sending = false, passedOver = 0;

  const say = (name, values = {}) => {
    let text = words[name];
    if (typeof text !== "string") text = text[plural.select(values.n)] ?? text.other;
    return text.replace(/\{(\w+)\}/g, (_, key) => typeof values[key] === "number" ? number.format(values[key]) : values[key] ?? "");
  };
  const complain = text => { fault.textContent = text; fault.classList.toggle("hidden", !text); };
  const extension = name => (name.match(/\.[^.]+$/)?.[0] ?? "").toLowerCase();

  // -- gathering ----------------------------------------------------------------------------------------------------

  const add = (file, path, fromFolder) => {
    const base = path.split("/").pop();
    if (base.startsWith(".") || base === "Thumbs.db") return;
    if (fromFolder && !extensions.has(extension(base))) { passedOver += 1; return; }
    if (items.some(item => item.path === path && item.file.size === file.size)) return;
    items.push({ file, path, name: "", state: "waiting", sent: 0, reason: "", row: null });
  };

  const entries = reader => new Promise((resolve, reject) => reader.readEntries(resolve, reject));
  const walk = async (entry, fromFolder) => {
    if (entry.isFile) {
      const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
      add(file, entry.fullPath.replace(/^\//, ""), fromFolder);
      return;
    }
    const reader = entry.createReader();
    for (let some = await entries(reader); some.length; some = await entries(reader))
      for (const child of some) await walk(child, true);
  };

  const named = () => {
    items.sort((one, other) => order.compare(one.path, other.path));
    const counts = new Map();
    for (const item of items) {
      const base = item.path.split("/").pop();
      counts.set(base, (counts.get(base) ?? 0) + 1);
    }
    const taken = new Set();
    for (const item of items) {
      const parts = item.path.split("/");
      const wanted = counts.get(parts.at(-1)) === 1 ? parts.at(-1) : parts.join("_");
      let name = wanted.replace(/[\\\p{Cc}\u2028\u2029]/gu, "_"), copy = 1;
      while (taken.has(name)) name = wanted.replace(/(\.[^.]*)?$/, `_${++copy}$1`);
      taken.add(name);
      item.name = name;
    }
    if (items.length > maxPages) complain(say("too_many", { n: maxPages }));
    else complain("");
    draw();
  };

  byId("files").addEventListener("change", event => {
    for (const file of event.target.files) add(file, file.name, false);
    event.target.value = "";
    named();
  });
  byId("folder").addEventListener("change", event => {
    for (const file of event.target.files) add(file, file.webkitRelativePath || file.name, true);
    event.target.value = "";
    named();
  });
  const drop = byId("drop");
  for (const kind of ["dragenter", "dragover"])
    document.addEventListener(kind, event => { event.preventDefault(); if (!sending) drop.classList.add("over"); });
  document.addEventListener("dragleave", event => { if (!event.relatedTarget) drop.classList.remove("over"); });
  document.addEventListener("drop", async event => {
    event.preventDefault();
    drop.classList.remove("over");
    if (sending || job) return;
    const dropped = [...event.dataTransfer.items].map(item => item.webkitGetAsEntry?.()).filter(Boolean);
    const files = [...event.dataTransfer.files];
    if (dropped.length) for (const entry of dropped) await walk(entry, false);
    else for (const file of files) add(file, file.name, false);
    named();
  });

  // -- what is shown ------------------------------------------------------------------------------------------------

  const make = (name, text, className) => {
    const made = document.createElement(name);
    if (text) made.textContent = text;
    if (className) made.className = className;
    return made;
  };
  const draw = () => {
    list.textContent = "";
    for (const item of items.slice(0, SHOWN)) {
      item.row = make("li");
      item.label = make("span", item.name, "name");
      item.size = make("span", say("bytes", { size: megabytes.format(item.file.size / 1e6) }), "figure hint");
      item.told = make("span", "", "told");
      item.bar = make("progress");
      item.bar.max = 1;
      item.bar.setAttribute("aria-label", item.name);
      item.row.append(item.label, item.size, item.told, item.bar);
      if (!job) {
        const button = make("button", "✕", "link");
        button.type = "button";
        button.setAttribute("aria-label", say("remove", { name: item.name }));
        button.addEventListener("click", () => { items = items.filter(other => other !== item); named(); byId("files").focus(); });
        item.row.append(button);
      }
      list.append(item.row);
      show(item);
    }
    if (items.length > SHOWN) list.append(make("li", say("left", { n: items.length - SHOWN }), "hint"));
    sum();
  };
  const show = item => {
    if (!item.row) return;
    item.row.className = item.state;
    item.bar.value = item.state === "ready" ? 1 : item.sent;
    item.bar.classList.toggle("hidden", item.state !== "uploading");
    item.told.textContent = item.state === "failed" ? item.reason : item.state === "waiting" && !job ? "" : say(item.state);
  };
  const sum = () => {
    const ready = items.filter(item => item.state === "ready").length;
    const failed = items.filter(item => item.state === "failed").length;
    const bytes = items.reduce((total, item) => total + item.file.size, 0);
    let text = "";
    if (items.length) text = say("added", { n: items.length, size: megabytes.format(bytes / 1e6) });
    if (passedOver) text += ` ${say("passed_over", { n: passedOver })}`;
    if (job) text = say("of", { done: ready, n: items.length, all: items.length }) + (failed ? ` ${say("refused", { n: failed })}` : "");
    summary.textContent = text;
    const some = items.length > 0 || byId("address").value.trim() !== "";
    send.disabled = sending || job !== null || !some || items.length > maxPages;
  };

  // -- sending ------------------------------------------------------------------------------------------------------

  const reasonOf = (text, status) => {
    try {
      const said = JSON.parse(text);
      return typeof said.details === "string" ? said.details : said.detail;
    } catch { return `HTTP ${status}`; }
  };
  const put = item => new Promise(resolve => {
    const request = new XMLHttpRequest();
    const body = new FormData();
    body.append("file", item.file, "scan");
    request.open("PUT", `/v1/jobs/${job}/images/${encodeURIComponent(item.name)}/files/image`);
    request.upload.addEventListener("progress", event => {
      item.sent = event.lengthComputable ? event.loaded / event.total : 0;
      show(item);
    });
    request.addEventListener("load", () => resolve({ status: request.status, text: request.responseText }));
    request.addEventListener("error", () => resolve({ status: 0, text: "" }));
    request.send(body);
  });
  const upload = async item => {
    item.state = "uploading";
    show(item);
    if (item.file.size > maxBytes) { item.state = "failed"; item.reason = say("failed"); }
    for (let attempt = 1; item.state === "uploading"; attempt += 1) {
      const reply = await put(item);
      if (reply.status === 200 || reply.status === 201) item.state = "ready";
      else if ((reply.status === 0 || reply.status === 429 || reply.status >= 500) && attempt < TRIES)
        await new Promise(resolve => setTimeout(resolve, 1000 * attempt * attempt));
      else { item.state = "failed"; item.reason = reply.status ? reasonOf(reply.text, reply.status) : say("away"); }
    }
    show(item);
    sum();
  };
  const uploadAll = async () => {
    sending = true;
    sum();
    const waiting = items.filter(item => item.state !== "ready");
    for (const item of waiting) { item.state = "waiting"; show(item); }
    await Promise.all(Array.from({ length: AT_ONCE }, async () => {
      for (let item = waiting.shift(); item; item = waiting.shift()) await upload(item);
    }));
    sending = false;
    const failed = items.filter(item => item.state === "failed").length;
    if (!failed) { location.assign(`/web/jobs/${job}`); return; }
    complain(failed === items.length ? say("all_failed") : say("refused", { n: failed }));
    byId("again").classList.remove("hidden");
    byId("without").classList.toggle("hidden", failed === items.length);
    byId("again").focus();
    sum();
  };

  form.addEventListener("submit", async event => {
    event.preventDefault();
    if (sending || job) return;
    const address = byId("address").value.trim();
    if (!items.length && !address) { complain(say("no_files")); return; }
    if (items.length && address) { complain(say("both")); return; }
    sending = true;
    sum();
    complain("");
    const definition = address
      ? { document: { [byId("kind").value]: address } }
      : { images: items.map((item, place) => ({ name: item.name, order: place + 1 })) };
    const name = byId("name").value.trim();
    const engine = form.querySelector("[name=engine]:checked");
    const formats = [...form.querySelectorAll("[name=format]:checked")].map(box => box.value);
    if (name) definition.name = name;
    if (engine) definition.engine_name = engine.value;
    if (formats.length) definition.formats = formats;
    let reply, text = "";
    try {
      reply = await fetch("/v1/jobs", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(definition) });
      text = await reply.text();
    } catch { /* told below */ }
    if (!reply?.ok) {
      sending = false;
      const said = reply ? JSON.parse(text || "{}") : {};
      complain(said.details?.[0]?.msg ?? said.detail ?? say("away"));
      sum();
      return;
    }
    job = JSON.parse(text).data.id;
    if (address) { sending = false; location.assign(`/web/jobs/${job}`); return; }
    send.classList.add("hidden");
    form.querySelectorAll("fieldset, #name").forEach(part => { part.disabled = true; });
    draw();
    await uploadAll();
  });
  byId("again").addEventListener("click", () => {
    byId("again").classList.add("hidden");
    byId("without").classList.add("hidden");
    complain("");
    uploadAll();
  });
  byId("without").addEventListener("click", async () => {
    const reasons = new URLSearchParams();
    for (const item of items.filter(one => one.state === "failed").slice(0, MAX_REASONS)) reasons.set(item.name, item.reason.slice(0, 200));
    const reply = await fetch(`/web/jobs/${job}/start`, { method: "POST", headers: { Accept: "application/json" }, body: reasons });
    if (reply.ok) location.assign(`/web/jobs/${job}`);
    else complain(say("away"));
  });
  byId("address").addEventListener("input", sum);
  window.addEventListener("beforeunload", event => { if (sending) event.preventDefault(); });
});
