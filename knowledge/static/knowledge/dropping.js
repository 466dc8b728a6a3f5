// Sends the form [data-drop] with the files that are dropped on it, as if they had been chosen in its field.
"use strict";
{
  const formOf = (event) => event.target.closest?.("[data-drop]");

  for (const kind of ["dragenter", "dragover"]) {
    document.addEventListener(kind, (event) => {
      const form = formOf(event);
      if (!form) return;
      event.preventDefault();
      form.classList.add("over");
    });
  }
  document.addEventListener("dragleave", (event) => formOf(event)?.classList.remove("over"));
  document.addEventListener("drop", (event) => {
    const form = formOf(event);
    if (!form) return;
    event.preventDefault();
    form.classList.remove("over");
    const field = form.querySelector("input[type=file]");
    field.files = event.dataTransfer.files;
    field.dispatchEvent(new Event("change", {bubbles: true})); // uploads.js looks whether they are too many
  });
  document.addEventListener("change", ({target}) => {
    const form = target.closest?.("[data-drop]");
    if (form && target.files?.length) form.requestSubmit();
  });
}
