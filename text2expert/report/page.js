"use strict";
// The page works without this: it only chooses among the questions, and opens what a link leads to.
(() => {
  const form = document.getElementById("choose");
  const all = Array.from(document.querySelectorAll(".question"));
  const texts = new Map();

  function textOf(question) {
    if (!texts.has(question)) texts.set(question, question.textContent.toLowerCase());
    return texts.get(question);
  }

  function choose() {
    const row = form.elements.row.value;
    const who = Number(form.elements.who.value);
    const grade = form.elements.grade.value;
    const words = form.elements.words.value.trim().toLowerCase();
    let shown = 0;
    for (const section of document.querySelectorAll(".row")) {
      let here = 0;
      const other = row && section.dataset.row !== row;
      for (const question of section.querySelectorAll(".question")) {
        const letters = (grade === "d" ? question.dataset.d : question.dataset.g) || "";
        const fits = !other && (!grade || letters[who] === grade) && (!words || textOf(question).includes(words));
        question.hidden = !fits;
        here += fits;
      }
      section.hidden = here === 0;
      shown += here;
    }
    form.querySelector("output").textContent = `${shown} of ${all.length} shown`;
  }

  if (form) {
    form.hidden = false;
    form.addEventListener("input", choose);
    form.addEventListener("submit", (event) => event.preventDefault());
    const expert = Array.from(form.elements.who.options).find((option) => option.text === "expert");
    if (expert) expert.selected = true;
    choose();
  }

  // A table that is wider than its box says so.
  function measure() {
    for (const box of document.querySelectorAll(".scroll")) box.classList.toggle("wider", box.scrollWidth > box.clientWidth + 1);
  }
  addEventListener("resize", measure);
  addEventListener("toggle", measure, true);
  measure();

  function open() {
    let target = document.getElementById(location.hash.slice(1));
    for (; target; target = target.parentElement) {
      if (target instanceof HTMLDetailsElement) target.open = true;
    }
  }
  addEventListener("hashchange", open);
  open();

  // What is folded away for the screen alone is printed; questions and passages as they stand.
  let folded = [];
  addEventListener("beforeprint", () => {
    folded = Array.from(document.querySelectorAll("details.more:not([open])"));
    for (const details of folded) details.open = true;
  });
  addEventListener("afterprint", () => {
    for (const details of folded) details.open = false;
  });
})();
