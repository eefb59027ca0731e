// Move the line of the page of strictness: pictures cross it, and counts follow. The server reckons
// the intervals; scores and line are compared as engines do, in 32 bits.
"use strict";

function begin(page) {
  const slide = page.querySelector("#slide");
  const number = page.querySelector("#line");
  const saved = page.querySelector("[data-line]");
  const caught = page.querySelector("[data-side=caught]");
  const left = page.querySelector("[data-side=left]");
  const pictures = [...page.querySelectorAll("[data-score]")];
  pictures.sort((one, other) => other.dataset.score - one.dataset.score);

  function move(line) {
    for (const picture of pictures) {
      const matches = Number(picture.dataset.score) >= Math.fround(line);
      const right = matches === (picture.dataset.kind === "must-catch");
      picture.classList.toggle("right", right);
      picture.classList.toggle("wrong", !right);
      (matches ? caught : left).append(picture);
    }
    page.querySelectorAll("[data-count]").forEach(count);
    saved.value = line;
  }

  function count(tile) {
    const kind = tile.dataset.count;
    const hits = caught.querySelectorAll(`[data-kind="${kind}"]`).length;
    const all = pictures.filter((picture) => picture.dataset.kind === kind).length;
    tile.querySelector("[data-hits]").textContent = hits;
    tile.querySelector("[data-span]").textContent = JSON.parse(tile.dataset.spans)[hits];
    const wrong = tile.dataset.good === "yes" ? all - hits : hits;
    tile.classList.toggle("bad", wrong > 0);
    tile.classList.toggle("good", wrong === 0);
    if (tile.dataset.good === "yes") {
      slide.setAttribute("aria-valuetext", `${hits} of ${all} that must be caught are caught`);
    }
  }

  slide.closest(".range").hidden = false;
  slide.addEventListener("input", () => {
    number.value = Number(slide.value).toFixed(4);
    move(Number(number.value));
  });
  number.addEventListener("input", () => {
    if (number.value !== "" && number.checkValidity()) {
      slide.value = number.value;
      move(Number(number.value));
    }
  });
  move(Number(saved.value));
}

document.querySelectorAll("[data-strictness]").forEach(begin);
