// Paint where a given picture shows its concept, and drop pictures onto the form that keeps them.
// A mask is a list of strokes over what was saved, so that undoing one needs no copy of the pixels.
"use strict";

function masking(form) {
  const width = Number(form.dataset.width);
  const height = Number(form.dataset.height);
  const longer = Math.max(width, height);
  const canvas = form.querySelector("canvas");
  const told = form.querySelector("[data-told]");
  const size = form.querySelector("#size");
  const fields = ["left", "top", "width", "height"].map((name) => form.querySelector(`#box-${name}`));
  const mask = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  const shown = canvas.getContext("2d");
  let saved = null;
  let strokes = [];
  let stroke = null;
  let dirty = false;

  function draw(context, item) {
    context.globalCompositeOperation = item.tool === "eraser" ? "destination-out" : "source-over";
    context.fillStyle = context.strokeStyle = "#fff";
    if (item.tool === "box") {
      const [[x0, y0], [x1, y1]] = [item.points[0], item.points.at(-1)];
      context.fillRect(Math.min(x0, x1), Math.min(y0, y1), Math.abs(x1 - x0), Math.abs(y1 - y0));
      return;
    }
    context.lineWidth = item.size;
    context.lineCap = context.lineJoin = "round";
    const [x, y] = item.points[0];
    context.beginPath();
    context.moveTo(x, y);
    context.lineTo(x + 0.01, y); // A click alone leaves a dot.
    item.points.forEach((point) => context.lineTo(...point));
    context.stroke();
  }

  function replay() {
    mask.globalCompositeOperation = "source-over";
    mask.clearRect(0, 0, width, height);
    const since = strokes.map((item) => item.tool).lastIndexOf("clear");
    if (saved && since < 0) mask.drawImage(saved, 0, 0);
    strokes.slice(since + 1).forEach((item) => draw(mask, item));
    show();
  }

  function show(preview) {
    shown.globalCompositeOperation = "source-over";
    shown.clearRect(0, 0, width, height);
    shown.drawImage(mask.canvas, 0, 0);
    if (preview) draw(shown, preview);
    shown.globalCompositeOperation = "source-in";
    shown.fillStyle = "#ff0080";
    shown.fillRect(0, 0, width, height);
  }

  function tell(what) {
    const pixels = mask.getImageData(0, 0, width, height).data;
    let count = 0;
    for (let place = 3; place < pixels.length; place += 4) count += pixels[place] > 127 ? 1 : 0;
    const share = Math.round((1000 * count) / (width * height)) / 10;
    const text = count ? `${share}% of the picture is masked.` : "Nothing is masked.";
    told.textContent = what ? `${what} ${text}` : text;
    canvas.setAttribute("aria-label", `The mask: ${text}`);
  }

  function add(item, what) {
    strokes.push(item);
    dirty = true;
    replay();
    tell(what);
  }

  function place(event) {
    const frame = canvas.getBoundingClientRect();
    return [
      ((event.clientX - frame.left) * width) / frame.width,
      ((event.clientY - frame.top) * height) / frame.height,
    ];
  }

  // What goes beyond the picture would be cut off without a word.
  function check() {
    [[0, 2], [1, 3]].forEach(([start, along]) => {
      const most = 100 - Number(fields[start].value);
      const over = Number(fields[along].value) > most + 0.1;
      const why = `A box that begins there has at most ${most}%, or it would leave the picture.`;
      fields[along].setCustomValidity(over ? why : "");
    });
  }

  function boxed() {
    check();
    const [left, top, wide, high] = fields.map((field) => Number(field.value) / 100);
    if (fields.some((field) => !field.checkValidity()) || !(wide > 0 && high > 0)) return null;
    return {
      tool: "box",
      points: [[left * width, top * height], [(left + wide) * width, (top + high) * height]],
    };
  }

  function addBox() {
    const item = boxed();
    if (!item) {
      const wrong = fields.find((field) => !field.checkValidity());
      told.textContent = wrong?.validationMessage || "A box needs a width and a height, in percent.";
      wrong?.reportValidity();
      return false;
    }
    add(item, "The box was added.");
    fields.forEach((field) => { field.value = ""; });
    return true;
  }

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || stroke) return;
    canvas.setPointerCapture(event.pointerId);
    const tool = form.querySelector("[name=tool]:checked").value;
    stroke = { tool, size: (Number(size.value) / 100) * longer, points: [place(event)] };
    event.preventDefault();
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!stroke) return;
    const passed = event.getCoalescedEvents ? event.getCoalescedEvents() : [];
    (passed.length ? passed : [event]).forEach((item) => stroke.points.push(place(item)));
    if (stroke.tool === "box") {
      show(stroke);
    } else {
      draw(mask, { ...stroke, points: stroke.points.slice(-passed.length - 2) });
      show();
    }
  });
  for (const end of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(end, () => {
      if (!stroke) return;
      const item = stroke;
      stroke = null;
      add(item);
    });
  }
  size.addEventListener("input", () => { size.nextElementSibling.value = `${size.value}%`; });
  const deeds = {
    undo() { strokes.pop(); replay(); tell("Undone."); },
    clear() { add({ tool: "clear" }, "Cleared."); },
    add: addBox,
  };
  form.querySelectorAll("[data-do]").forEach((button) => {
    button.addEventListener("click", deeds[button.dataset.do]);
  });
  fields.forEach((field) => {
    field.addEventListener("input", () => show(boxed()));
    field.addEventListener("keydown", (event) => {
      if (event.key === "Enter") { event.preventDefault(); addBox(); }
    });
  });
  form.addEventListener("keydown", (event) => {
    if (event.key === "z" && (event.ctrlKey || event.metaKey) && event.target.type !== "number") {
      event.preventDefault();
      deeds.undo();
    }
  });

  const file = form.querySelector("#mask");
  form.addEventListener("submit", (event) => {
    if (event.submitter?.name === "none" || file.files.length) { dirty = false; return; }
    event.preventDefault();
    if (fields.some((field) => field.value) && !addBox()) return;
    const whole = document.createElement("canvas");
    Object.assign(whole, { width, height });
    const context = whole.getContext("2d");
    context.fillStyle = "#000";
    context.fillRect(0, 0, width, height);
    context.drawImage(mask.canvas, 0, 0);
    whole.toBlob((blob) => {
      const given = new DataTransfer();
      given.items.add(new File([blob], "mask.png", { type: "image/png" }));
      file.files = given.files;
      dirty = false;
      form.submit();
    }, "image/png");
  });
  window.addEventListener("beforeunload", (event) => { if (dirty) event.preventDefault(); });

  function begin() {
    Object.assign(canvas, { width, height, hidden: false });
    form.querySelectorAll("[data-js]").forEach((part) => { part.hidden = false; });
    form.querySelector("[data-box]").open = false;
    // As large as the window bears: small pictures could not be painted else.
    canvas.parentElement.style.maxWidth = `calc(80vh * ${width / height})`;
    replay();
    tell();
  }

  if (!form.dataset.mask) { begin(); return; }
  const image = new Image();
  image.addEventListener("load", () => {
    // Black and white become nothing and white.
    const context = new OffscreenCanvas(width, height).getContext("2d");
    context.drawImage(image, 0, 0);
    const pixels = context.getImageData(0, 0, width, height);
    for (let at = 0; at < pixels.data.length; at += 4) pixels.data[at + 3] = pixels.data[at];
    context.putImageData(pixels, 0, 0);
    saved = context.canvas;
    begin();
  });
  image.src = form.dataset.mask;
}

function dropping(form) {
  const input = form.querySelector("input[type=file]");
  const zone = form.querySelector(".drop");
  const limit = form.querySelector("#files-limit");
  const before = limit.textContent;
  form.querySelectorAll("[data-js]").forEach((part) => { part.hidden = false; });
  const over = (event, is) => {
    if (!event.dataTransfer.types.includes("Files")) return;
    event.preventDefault(); // Else the browser would open the picture in place of the page.
    form.closest("details").open = true;
    zone.classList.toggle("over", is);
  };
  document.addEventListener("dragover", (event) => over(event, true));
  document.addEventListener("dragleave", (event) => over(event, false));
  document.addEventListener("drop", (event) => {
    over(event, false);
    if (!event.dataTransfer.files.length || event.target === input) return;
    input.files = event.dataTransfer.files;
    input.dispatchEvent(new Event("change"));
  });
  input.addEventListener("change", () => {
    const count = input.files.length;
    limit.textContent = count ? `${count} chosen. ${before}` : before;
  });
}

document.querySelectorAll("form.masking").forEach(masking);
document.querySelectorAll("form[data-drop]").forEach(dropping);
