// On a narrow screen tables.css shows each row as a list. Its cells then need the headings of their columns.
document.addEventListener("DOMContentLoaded", () => {
  for (const table of document.querySelectorAll("table.docutils:not(:has(.text-right))")) {
    const headings = [...table.querySelectorAll("thead th")].map((heading) => heading.textContent);
    if (!headings.length) continue;
    table.classList.add("stackable");
    for (const row of table.querySelectorAll("tbody tr")) {
      [...row.cells].forEach((cell, index) => (cell.dataset.heading = headings[index]));
    }
  }
});
