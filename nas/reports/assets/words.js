// Terms of the field are explained where they first appear in a section: on hover, on focus, and on a tap.
// The glossary at the end of the page says what they mean, and data-match of an entry how they are written.
const tip = document.getElementById("tip");
const entries = [...document.querySelectorAll("#glossary dt")];
entries.sort((a, b) => b.dataset.match.length - a.dataset.match.length);  // "spike operation" before "spike"
const term = new RegExp(`(?<![\\w-])(?:${entries.map(entry => `(${entry.dataset.match})`).join("|")})(?![\\w-]|\\.\\w)`, "gi");
const plain = "a, button, code, pre, summary, h1, h2, svg, script, option, label, .chart, #glossary, #tip, .path, [data-file]";
let asked = null, hiding = 0;

function termButton(entry, words) {
  const button = document.createElement("button");
  button.type = "button"; button.className = "term"; button.textContent = words; button.dataset.term = entry.id;
  button.setAttribute("aria-expanded", "false");
  return button;
}
function markTerms(section) {
  const seen = new Set(), texts = [], walker = document.createTreeWalker(section, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) if (!walker.currentNode.parentElement.closest(plain)) texts.push(walker.currentNode);
  for (const text of texts) {
    const pieces = [];
    let end = 0;
    for (const match of text.data.matchAll(term)) {
      const entry = entries[match.slice(1).findIndex(group => group !== undefined)];
      if (seen.has(entry)) continue;
      seen.add(entry);
      pieces.push(text.data.slice(end, match.index), termButton(entry, match[0]));
      end = match.index + match[0].length;
    }
    if (pieces.length) text.replaceWith(...pieces, text.data.slice(end));
  }
}
function explain(button) {
  hush();
  asked = button;
  tip.textContent = document.getElementById(button.dataset.term).nextElementSibling.textContent;
  tip.hidden = false;
  place();
  button.setAttribute("aria-expanded", "true");
  button.setAttribute("aria-describedby", "tip");
}
function place() {
  if (!asked) return;
  const at = asked.getBoundingClientRect(), {offsetWidth: width, offsetHeight: height} = tip;
  if (at.bottom < 0 || at.top > innerHeight) return hush();
  const below = at.bottom + 6 + height < innerHeight;
  tip.style.left = `${Math.max(12, Math.min(at.left, document.documentElement.clientWidth - width - 12))}px`;
  tip.style.top = `${below ? at.bottom + 4 : at.top - height - 4}px`;
}
function hush() {
  clearTimeout(hiding);
  tip.hidden = true;
  asked?.setAttribute("aria-expanded", "false");
  asked?.removeAttribute("aria-describedby");
  asked = null;
}
const hushSoon = () => { clearTimeout(hiding); hiding = setTimeout(hush, 200); };

for (const section of document.querySelectorAll("section, .tiles")) markTerms(section);
for (const button of document.querySelectorAll("button.term")) {
  button.onpointerenter = event => { if (event.pointerType === "mouse") explain(button); };
  button.onpointerleave = event => { if (event.pointerType === "mouse") hushSoon(); };
  button.onfocus = button.onclick = () => explain(button);
  button.onblur = hushSoon;
}
tip.onpointerenter = () => clearTimeout(hiding);  // the pointer may rest on the explanation
tip.onpointerleave = hushSoon;
addEventListener("pointerdown", event => { if (!event.target.closest?.("button.term, #tip")) hush(); });
addEventListener("keydown", event => { if (event.key === "Escape") hush(); });
addEventListener("scroll", place, {capture: true, passive: true});
