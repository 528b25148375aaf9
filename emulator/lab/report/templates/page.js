// Comfort only: every page works without. Arrow keys walk the ladder, a box filters the index.
document.addEventListener("keydown", (event) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  const here = document.activeElement;
  if (!step || !here || !here.matches(".row > summary")) return;
  const all = [...here.closest(".ladder").querySelectorAll(".row > summary")];
  const next = all[all.indexOf(here) + step];
  if (next) { event.preventDefault(); next.focus(); }
});
for (const box of document.querySelectorAll(".filter")) {
  const rows = [...document.querySelectorAll("[data-search]")];
  const count = document.querySelector("[data-shown]");
  const apply = () => {
    const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      row.hidden = !words.every((word) => row.dataset.search.includes(word));
      shown += !row.hidden;
    }
    if (count) count.textContent = shown;
  };
  box.addEventListener("input", apply);
  apply();
}
