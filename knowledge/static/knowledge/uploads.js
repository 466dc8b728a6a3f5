// Says before they are sent that files are more than the server takes at once, as it could only refuse them all.
"use strict";
document.addEventListener("change", ({target}) => {
  const most = Number(target.dataset.most);
  if (!most || !target.files) return;
  const count = target.files.length;
  target.setCustomValidity(count > most ? `These are ${count} files; choose at most ${most} at once.` : "");
  target.reportValidity();
});
