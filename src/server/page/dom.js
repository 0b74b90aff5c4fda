// Making elements. Text is always text: nothing from the server is read as HTML.

export function byId(id) {
  return document.getElementById(id);
}

export function element(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

export function drawn(name, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

function fill(made, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "style") made.style.cssText = value;
    else made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

// Replaces what is in a place of the page, unless it would look the same: focus and selections stay.
export function replace(id, ...children) {
  const place = byId(id);
  const fresh = element("div", {}, ...children);
  if (place.innerHTML === fresh.innerHTML) return;
  const focused = place.contains(document.activeElement) ? path(place, document.activeElement) : null;
  place.replaceChildren(...fresh.childNodes);
  focused?.reduce((node, index) => node?.childNodes[index], place)?.focus?.();
}

function path(from, node) {
  const steps = [];
  for (let at = node; at !== from; at = at.parentNode) {
    steps.unshift([...at.parentNode.childNodes].indexOf(at));
  }
  return steps;
}
