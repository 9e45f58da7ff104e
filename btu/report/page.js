"use strict";
// The state of the page is its address: #attack=badnets&dataset=demo, and at=SECTION.
const NAMES = ["dataset", "attack", "model", "defense"];
const FIRST = 300; // rows of a long table that are shown at once
const form = document.getElementById("filters");
const data = JSON.parse(document.getElementById("data").textContent);

function cell(text, bold, numeric, title) {
  const td = document.createElement("td");
  td.dataset.title = title;
  if (numeric) td.className = "n";
  const inner = bold ? td.appendChild(document.createElement("b")) : td;
  inner.textContent = text;
  return td;
}

function packedRow(packed, values, titles) {
  const bold = values[values.length - 1];
  const texts = values.slice(0, -1);
  const labels = {};
  NAMES.forEach((name, at) => { labels[name] = [texts[packed.labels[at]]]; });
  let made = null;
  const element = () => {
    if (!made) {
      made = document.createElement("tr");
      texts.forEach((text, at) => made.append(cell(text, bold.includes(at), packed.numeric[at], titles[at])));
    }
    return made;
  };
  return { texts, labels, element };
}

function labelsOf(element) {
  const labels = {};
  for (const name of NAMES) {
    if (element.dataset[name]) labels[name] = JSON.parse(element.dataset[name]);
  }
  return labels;
}

function drawnRow(tr) {
  const texts = [...tr.cells].map((td) => td.textContent);
  return { texts, labels: labelsOf(tr), element: () => tr };
}

// A row without a defense stays when one defense is chosen: it is what that one is compared with.
function matches(labels, chosen) {
  return NAMES.every((name) => {
    const values = labels[name];
    if (!chosen[name] || !values) return true;
    return values.includes(chosen[name]) || (name === "defense" && values.every((v) => v === "none"));
  });
}

class Table {
  constructor(table) {
    this.name = table.id.replace("table-", "");
    this.body = table.tBodies[0];
    this.heads = [...table.tHead.rows[0].cells];
    this.limit = Infinity;
    this.rows = [...this.body.rows].map(drawnRow);
    const packed = data[this.name];
    if (packed) {
      const titles = this.heads.map((th) => th.textContent);
      this.rows = packed.rows.map((values) => packedRow(packed, values, titles));
      this.limit = FIRST;
      this.more = table.closest("section").querySelector(".more");
      this.more.addEventListener("click", () => { this.limit = Infinity; this.show(); });
    }
    this.order = this.rows;
    this.heads.forEach((th, at) => th.addEventListener("click", () => this.sort(th, at)));
  }

  sort(th, at) {
    const down = th.getAttribute("aria-sort") === "ascending";
    this.body.parentElement.classList.add("sorted");
    this.heads.forEach((other) => other.removeAttribute("aria-sort"));
    th.setAttribute("aria-sort", down ? "descending" : "ascending");
    const numeric = th.classList.contains("n");
    const key = (row) => (numeric ? parseFloat(row.texts[at].replace(/,/g, "")) : row.texts[at]);
    const empty = (value) => value === "" || Number.isNaN(value);
    this.order = [...this.rows].sort((one, two) => {
      const [a, b] = [key(one), key(two)];
      if (empty(a) || empty(b)) return empty(a) - empty(b);
      const way = numeric ? a - b : a.localeCompare(b, "en", { numeric: true });
      return down ? -way : way;
    });
    this.show();
  }

  filter(chosen) {
    this.chosen = chosen;
    this.show();
  }

  show() {
    const kept = this.order.filter((row) => matches(row.labels, this.chosen));
    this.kept = kept.length;
    this.body.replaceChildren(...kept.slice(0, this.limit).map((row) => row.element()));
    if (this.more) {
      this.more.hidden = kept.length <= this.limit;
      this.more.textContent = `show all ${kept.length} rows`;
    }
  }
}

const tables = [...document.querySelectorAll("main table")].map((table) => new Table(table));
const complete = tables.find((table) => table.name === "complete");
const figures = [...document.querySelectorAll("figure, article")].map((element) => ({ element, labels: labelsOf(element) }));

function show(chosen) {
  tables.forEach((table) => table.filter(chosen));
  figures.forEach((figure) => { figure.element.hidden = !matches(figure.labels, chosen); });
  document.querySelectorAll("section").forEach((section) => {
    const parts = section.querySelectorAll("table, figure, article");
    const items = [...section.querySelectorAll("tbody tr, figure, article")];
    section.querySelector(".nothing").hidden = !parts.length || items.some((item) => !item.hidden);
  });
  document.getElementById("shown").textContent = `${complete.kept} of ${complete.rows.length} rows`;
}

function state() {
  const hash = location.hash.slice(1);
  return new URLSearchParams(hash.includes("=") ? hash : hash && `at=${hash}`);
}

function fromAddress() {
  const given = state();
  for (const name of NAMES) {
    const menu = form.elements[name];
    menu.value = given.get(name) || "";
    if (menu.selectedIndex < 0) menu.value = "";
  }
  show(chosenValues());
  const section = given.get("at") && document.getElementById(given.get("at"));
  if (section) section.scrollIntoView();
}

function chosenValues() {
  return Object.fromEntries(NAMES.map((name) => [name, form.elements[name].value]));
}

function toAddress(at) {
  const given = new URLSearchParams();
  Object.entries(chosenValues()).forEach(([name, value]) => value && given.set(name, value));
  if (at) given.set("at", at);
  history.replaceState(null, "", given.toString() ? `#${given}` : location.pathname + location.search);
}

form.addEventListener("change", () => { toAddress(""); show(chosenValues()); });
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("reset", () => setTimeout(() => { toAddress(""); show(chosenValues()); }));
document.querySelectorAll("nav a").forEach((link) => link.addEventListener("click", (event) => {
  event.preventDefault();
  const at = link.getAttribute("href").slice(1);
  toAddress(at);
  document.getElementById(at).scrollIntoView();
}));
window.addEventListener("hashchange", fromAddress);
fromAddress();
