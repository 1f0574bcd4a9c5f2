// The table of networks sorts by column and filters by axis and text; what does not match is faint in the chart, too.
// Rows of the front stand in the page; others are made when they are to be seen, a hundred at a time.
const table = document.querySelector("table.front"), pageOfRows = 100;
if (table && networks.trial.length) (() => {
  const body = table.tBodies[0], rowOf = new Map();
  for (const row of body.rows) rowOf.set(Number(row.dataset.trial), row);
  const at = id => document.getElementById(id);
  const controls = at("filters"), scope = at("scope"), text = at("text"), count = at("count"), more = at("more");
  const clear = at("clear"), selects = [...controls.querySelectorAll("select[data-axis]")];
  const place = new Map(networks.trial.map((trial, i) => [trial, i]));
  const words = networks.trial.map((trial, i) => `${trial} ${networks.network[i]} ${networks.description[i]}`.toLowerCase());
  let column = "energy", descending = false, length = pageOfRows, parts = [], chosen = [];

  function matches(i) {
    const trial = networks.trial[i];
    return chosen.every(([axis, choice]) => colours[axis].of[trial] === choice) && parts.every(part => words[i].includes(part));
  }
  function read() {
    parts = text.value.toLowerCase().split(/\s+/).filter(Boolean);
    chosen = selects.filter(select => select.value !== "").map(select => [select.dataset.axis, Number(select.value)]);
    passes = parts.length || chosen.length ? trial => matches(place.get(trial)) : null;
    clear.hidden = !passes;
  }
  function compare(a, b) {
    const x = networks[column][a], y = networks[column][b];
    const order = typeof x === "string" ? x.localeCompare(y, "en", {numeric: true}) : (x ?? -Infinity) - (y ?? -Infinity);
    return (descending ? -order : order) || networks.trial[a] - networks.trial[b];
  }
  function show() {
    const inScope = networks.trial.map((_, i) => i).filter(i => scope.value === "all" || networks.on_front[i]);
    const shown = inScope.filter(matches).sort(compare);
    body.replaceChildren(...shown.slice(0, length).map(rowAt));
    more.hidden = shown.length <= length;
    const faint = passes ? "; in the chart the others are faint" : "";
    count.textContent = `${shown.length.toLocaleString("en")} of ${inScope.length.toLocaleString("en")} networks${faint}.`;
    for (const th of table.tHead.rows[0].cells) {
      if (th.dataset.sort === column) th.setAttribute("aria-sort", descending ? "descending" : "ascending");
      else th.removeAttribute("aria-sort");
    }
  }
  function rowAt(i) {
    const trial = networks.trial[i];
    if (!rowOf.has(trial)) rowOf.set(trial, made(i));
    return rowOf.get(trial);
  }
  function made(i) {
    const row = document.createElement("tr");
    for (const th of table.tHead.rows[0].cells) {
      const cell = row.insertCell(), value = networks[th.dataset.sort][i];
      cell.textContent = value === null ? "" : written[th.dataset.sort](value, i);
      if (th.dataset.sort !== "network") continue;
      cell.className = "words";
      cell.appendChild(document.createElement("small")).textContent = networks.description[i];
    }
    return row;
  }
  const percent = share => `${(100 * share).toFixed(1)} %`;
  const digits = value => Math.abs(value) >= 100 ? Math.round(value).toLocaleString("en") : String(Number(value.toPrecision(3)));
  const prefixes = [[1e9, "G"], [1e6, "M"], [1e3, "k"], [1, ""]];
  function short(value) {
    const [factor, prefix] = prefixes.find(([least]) => value >= least) ?? [1, ""];
    return `${Number((value / factor).toPrecision(3))} ${prefix}`.trim();
  }
  const written = {
    trial: String, network: String, parameters: value => value.toLocaleString("en"), spike_operations: short,
    report_val: percent, search_val: percent, balanced: percent, energy: value => `${digits(value)} ${networks.unit}`,
    low: (value, i) => `${percent(value)} to ${percent(networks.high[i])}`,
  };
  function sortButton(th) {
    const button = document.createElement("button");
    button.type = "button"; button.className = "sort";
    button.setAttribute("aria-label", `Sort by ${th.textContent.trim()}`);
    button.onclick = () => {
      descending = column === th.dataset.sort && !descending;
      column = th.dataset.sort;
      show();
    };
    th.append(" ", button);
  }
  function filter() { read(); length = pageOfRows; show(); paint(); }
  let waiting = 0;
  text.oninput = () => { clearTimeout(waiting); waiting = setTimeout(filter, 150); };
  for (const select of selects) select.onchange = filter;
  scope.onchange = () => { length = pageOfRows; show(); };
  more.onclick = () => { length += pageOfRows; show(); };
  clear.onclick = () => { text.value = ""; for (const select of selects) select.value = ""; filter(); text.focus(); };
  for (const th of table.tHead.rows[0].cells) sortButton(th);
  controls.hidden = false;
  read();
  show();
})();
