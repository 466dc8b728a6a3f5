// Puts the line that splits a text where the cursor is in it, at the button [data-split], which names the field.
"use strict";
document.addEventListener("click", ({target}) => {
  const field = target.dataset?.split && document.getElementById(target.dataset.split);
  if (!field) return;
  const before = field.value.slice(0, field.selectionStart).trimEnd();
  const after = field.value.slice(field.selectionEnd).trimStart();
  field.value = `${before}\n${target.dataset.line}\n${after}`;
  field.focus();
  field.setSelectionRange(field.value.length - after.length, field.value.length - after.length);
});
