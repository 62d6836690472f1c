(function () {
  "use strict";
  const SHOWN = {{ rows_shown }};
  const rows = JSON.parse(document.getElementById("rows").textContent);
  const table = document.getElementById("chips");
  const body = table.tBodies[0];
  const filter = document.getElementById("filter");
  const count = document.getElementById("count");
  const percent = (v) => (v === null ? "-" : (100 * v).toFixed(2) + " %");
  const number = (v) => v.toFixed(3);
  const shown = { 3: percent, 4: percent, 5: percent, 6: number, 7: number, 8: percent };
  let sorted = { column: null, descending: false };

  function compare(a, b) {
    const x = a[sorted.column], y = b[sorted.column];
    if (x === null || y === null) return (x === null) - (y === null);
    const order = typeof x === "number" ? x - y : x.localeCompare(y, "en", { numeric: true });
    return sorted.descending ? -order : order;
  }

  function draw() {
    const wanted = filter.value.trim().toLowerCase();
    const found = rows.filter((row) =>
      !wanted || [0, 1, 2, 9].some((c) => row[c].toLowerCase().includes(wanted)));
    if (sorted.column !== null) found.sort(compare);
    body.replaceChildren(...found.slice(0, SHOWN).map((row) => {
      const line = document.createElement("tr");
      row.forEach((value, column) => {
        const cell = document.createElement("td");
        cell.textContent = shown[column] ? shown[column](value) : value;
        if (column === 9) cell.className = value;
        if (column === 10) cell.className = "words";
        line.append(cell);
      });
      return line;
    }));
    count.textContent = found.length > SHOWN
      ? "the first " + SHOWN + " of " + found.length + " rows" : found.length + " rows";
  }

  table.tHead.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    const column = Number(button.dataset.column);
    sorted = { column, descending: sorted.column === column && !sorted.descending };
    for (const heading of table.tHead.rows[0].cells) heading.removeAttribute("aria-sort");
    button.parentElement.setAttribute("aria-sort", sorted.descending ? "descending" : "ascending");
    draw();
  });
  filter.addEventListener("input", draw);
  draw();
})();
